"""Statistics in files for machines: JSON lines, and Prometheus' text format for the textfile collector of its node exporter."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..loading.statistics import LoaderStats
from .places import older

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["MOST_BYTES", "append_json", "write_metrics"]

MOST_BYTES = 64 * 2**20
"""Of a file of JSON lines. When it has as many, it takes the place of FILE.1, and a new one is begun."""

# Name without prefix: field of LoaderStats, type, help.
_METRICS: dict[str, tuple[str, str, str]] = {
    "batches": ("batches", "counter", "Batches handed out."),
    "samples": ("samples", "counter", "Samples made, those ahead of the consumer included."),
    "waited_seconds": ("waited", "counter", "Time that the training waited for batches."),
    "running_seconds": ("running", "counter", "Time since the first batch was asked for."),
    "read_bytes": ("bytes_read", "counter", "Bytes read from files, compressed where the files are."),
    "cache_hits": ("cache_hits", "counter", "Blocks that were found decompressed."),
    "cache_misses": ("cache_misses", "counter", "Blocks that had to be decompressed."),
    "python_calls": ("python_calls", "counter", "Calls of transforms and scalars that are not native, of this process."),
    "cache_bytes": ("cache_bytes", "gauge", "Decompressed blocks that are kept."),
    "ready_batches": ("ready_batches", "gauge", "Batches that wait for the training."),
    "prefetch_batches": ("prefetch", "gauge", "Batches that are made ahead now."),
    "prefetch_limit_batches": ("prefetch_limit", "gauge", "Batches that are made ahead at the most."),
    "batches_in_use": ("batches_in_use", "gauge", "Batches being made, ready, or referred to by tensors."),
    "threads": ("threads", "gauge", "Threads that make samples."),
    "used_bytes": ("memory_used", "gauge", "Memory that the loader has in use."),
    "budget_bytes": ("memory_budget", "gauge", "Memory budget of the loader."),
    "process_memory_bytes": ("process_memory", "gauge", "Resident memory of the process."),
    "memory_limit_bytes": ("memory_limit", "gauge", "Memory that this process may use."),
    "memory_available_bytes": ("memory_available", "gauge", "Memory that can still be taken."),
    "python_share": ("python_share", "gauge", "Share of the samples' thread time in transforms that are not native."),
    "skipped_cases": ("skipped_cases", "gauge", "Cases that are gone on without."),
}


_appending = threading.Lock()


def append_json(file: Path, entry: Mapping[str, Any]) -> None:
    """One line. It appears whole, also where several processes write. Numbers that are not finite become null.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(_finite({"time": time.time(), **entry}), allow_nan=False) + "\n"
    with _appending:  # of two threads that find the file full, one begins another
        _append(file, text)


def _append(file: Path, text: str) -> None:
    with file.open("ab", buffering=0) as stream:
        full = stream.tell() + len(text) > MOST_BYTES and stream.tell() > 0
        if not full:
            stream.write(text.encode())
    if full:
        file.replace(older(file))
        with file.open("ab", buffering=0) as stream:
            stream.write(text.encode())


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def write_metrics(file: Path, loaders: Mapping[str, LoaderStats], labels: Mapping[str, str]) -> None:
    """The whole file at once, as Prometheus' node exporter reads it: a reader sees the old or the new one.

    Raises:
        OSError: the file cannot be written.
        ModuleNotFoundError: prometheus_client is not installed.
    """
    from prometheus_client import write_to_textfile

    write_to_textfile(str(file), _Collected(loaders, labels))


class _Collected:
    """What prometheus_client asks for metrics."""

    def __init__(self, loaders: Mapping[str, LoaderStats], labels: Mapping[str, str]) -> None:
        self._loaders = loaders
        self._labels = dict(labels)

    def collect(self) -> Iterator[Metric]:
        """Every metric, of all loaders."""
        from prometheus_client.core import Metric

        own = {name: {"loader": name, **self._labels} for name in self._loaders}
        for name, (field, kind, text) in _METRICS.items():
            metric = Metric(f"fastnnunet_{name}", text, kind)
            for loader, stats in self._loaders.items():
                metric.add_sample(metric.name + ("_total" if kind == "counter" else ""), own[loader], getattr(stats, field))
            yield metric
        stages = Metric("fastnnunet_stage_seconds", "Thread time of one sample, by stage.", "summary")
        for loader, stats in self._loaders.items():
            for number, stage in enumerate(stats.stages):
                place = {**own[loader], "stage": stage.name, "number": str(number)}  # several transforms may have one name
                stages.add_sample(stages.name, {**place, "quantile": "0.5"}, stage.median)
                stages.add_sample(stages.name, {**place, "quantile": "0.99"}, stage.p99)
                stages.add_sample(f"{stages.name}_sum", place, stage.total)
                stages.add_sample(f"{stages.name}_count", place, stage.count)
        yield stages
        gpu = next((stats.gpu for stats in self._loaders.values() if stats.gpu is not None), None)
        if gpu is None:
            return
        values = {
            "utilization": (gpu.utilization, "Share of the last moments in which the GPU computed."),
            "memory_used_bytes": (gpu.memory_used, "Memory of the GPU, used."),
            "memory_total_bytes": (gpu.memory_total, "Memory of the GPU, total."),
        }
        for name, (value, text) in values.items():
            if value is not None:
                metric = Metric(f"fastnnunet_gpu_{name}", text, "gauge")
                metric.add_sample(metric.name, {**self._labels, "gpu": gpu.name}, value)
                yield metric
