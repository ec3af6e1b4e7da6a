"""Statistics in files for machines: JSON lines, and OpenMetrics text for a node exporter."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .model import LoaderStats

__all__ = ["append_json", "openmetrics", "replace_text"]

# Name without prefix: field of LoaderStats, type, unit, help.
_METRICS: dict[str, tuple[str, str, str, str]] = {
    "batches": ("batches", "counter", "", "Batches handed out."),
    "samples": ("samples", "counter", "", "Samples made, those ahead of the consumer included."),
    "waited_seconds": ("waited", "counter", "seconds", "Time that the training waited for batches."),
    "running_seconds": ("running", "counter", "seconds", "Time since the first batch was asked for."),
    "read_bytes": ("bytes_read", "counter", "bytes", "Bytes read from files, compressed where the files are."),
    "cache_hits": ("cache_hits", "counter", "", "Blocks that were found decompressed."),
    "cache_misses": ("cache_misses", "counter", "", "Blocks that had to be decompressed."),
    "python_calls": ("python_calls", "counter", "", "Calls of transforms and scalars that are not native, of this process."),
    "cache_bytes": ("cache_bytes", "gauge", "bytes", "Decompressed blocks that are kept."),
    "ready_batches": ("ready_batches", "gauge", "", "Batches that wait for the training."),
    "prefetch_batches": ("prefetch", "gauge", "", "Batches that are made ahead now."),
    "prefetch_limit_batches": ("prefetch_limit", "gauge", "", "Batches that are made ahead at the most."),
    "batches_in_use": ("batches_in_use", "gauge", "", "Batches being made, ready, or referred to by tensors."),
    "threads": ("threads", "gauge", "", "Threads that make samples."),
    "used_bytes": ("memory_used", "gauge", "bytes", "Memory that the loader has in use."),
    "budget_bytes": ("memory_budget", "gauge", "bytes", "Memory budget of the loader."),
    "process_memory_bytes": ("process_memory", "gauge", "bytes", "Resident memory of the process."),
    "memory_limit_bytes": ("memory_limit", "gauge", "bytes", "Memory of the container, or of the machine."),
    "memory_available_bytes": ("memory_available", "gauge", "bytes", "Memory that can still be taken."),
    "python_share": ("python_share", "gauge", "", "Share of the samples' thread time in transforms that are not native."),
    "skipped_cases": ("skipped_cases", "gauge", "", "Cases that are gone on without."),
}


def append_json(file: Path, entry: dict[str, Any]) -> None:
    """One line. It appears whole, also where several processes write.

    Raises:
        OSError: the file cannot be written.
    """
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"time": time.time(), **entry}, allow_nan=False) + "\n")


def replace_text(file: Path, text: str) -> None:
    """The whole file at once: a reader sees the old or the new one.

    Raises:
        OSError: the file cannot be written.
    """
    # Not the file's own ending: a node exporter takes every *.prom in the folder.
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _labels(labels: dict[str, str]) -> str:
    escaped = {k: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for k, v in labels.items()}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"


def _family(name: str, kind: str, unit: str, text: str) -> Iterator[str]:
    yield f"# TYPE fastnnunet_{name} {kind}"
    if unit:
        yield f"# UNIT fastnnunet_{name} {unit}"
    yield f"# HELP fastnnunet_{name} {text}"


def _lines(loaders: dict[str, LoaderStats], labels: dict[str, str]) -> Iterator[str]:
    own = {name: {"loader": name, **labels} for name in loaders}
    for metric, (field, kind, unit, text) in _METRICS.items():
        yield from _family(metric, kind, unit, text)
        for name, stats in loaders.items():
            yield f"fastnnunet_{metric}{'_total' if kind == 'counter' else ''}{_labels(own[name])} {getattr(stats, field)}"
    yield from _family("stage_seconds", "summary", "seconds", "Thread time of one sample, by stage.")
    for name, stats in loaders.items():
        for number, stage in enumerate(stats.stages):
            # Several transforms may have one name.
            place = {**own[name], "stage": stage.name, "number": str(number)}
            yield f"fastnnunet_stage_seconds{_labels({**place, 'quantile': '0.5'})} {stage.median}"
            yield f"fastnnunet_stage_seconds{_labels({**place, 'quantile': '0.99'})} {stage.p99}"
            yield f"fastnnunet_stage_seconds_sum{_labels(place)} {stage.total}"
            yield f"fastnnunet_stage_seconds_count{_labels(place)} {stage.count}"
    gpu = next((stats.gpu for stats in loaders.values() if stats.gpu is not None), None)
    if gpu is not None:
        where = _labels({**labels, "gpu": gpu.name})
        if gpu.utilization is not None:
            yield from _family("gpu_utilization", "gauge", "", "Share of the last moments in which the GPU computed.")
            yield f"fastnnunet_gpu_utilization{where} {gpu.utilization}"
        for metric, value in {"used": gpu.memory_used, "total": gpu.memory_total}.items():
            yield from _family(f"gpu_memory_{metric}_bytes", "gauge", "bytes", f"Memory of the GPU, {metric}.")
            yield f"fastnnunet_gpu_memory_{metric}_bytes{where} {value}"
    yield "# EOF"


def openmetrics(loaders: dict[str, LoaderStats], labels: dict[str, str]) -> str:
    """OpenMetrics text of the loaders by name; `labels` are on every value."""
    return "\n".join(_lines(loaders, labels)) + "\n"
