"""The statistics of one loader, as plain values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .. import _core
from ..system import memory

__all__ = ["GpuStats", "LoaderStats", "StageStats"]


@dataclass(frozen=True)
class StageStats:
    """A part of the way of a sample: its thread time over all samples, in seconds. Quantiles are within 6 %."""

    name: str
    """Of these: "sampling" (choosing the patch, opening files, class locations, drawing parameters), "reading" (voxels out of
    files), each transform under its name, in order, and "writing" (what is not yet where the batch wants it)."""
    native: bool
    count: int
    total: float
    median: float
    p99: float


@dataclass(frozen=True)
class GpuStats:
    """The GPU that the training computes on, as its driver tells. Memory is in bytes, and that of all processes."""

    name: str
    utilization: float | None  # share of the last moments in which it computed; None where the driver does not tell
    memory_used: int
    memory_total: int


@dataclass(frozen=True)
class LoaderStats:
    """What a loader has done so far. Times are in seconds, memory is in bytes."""

    batches: int  # handed out
    samples: int  # made, those ahead of the consumer included
    running: float  # since the first batch was asked for
    samples_per_second: float  # handed out, since then
    waited: float  # by the consumer, for batches
    wait_median: float  # of one batch
    wait_p99: float
    first_batch: float  # from the first request to the first batch
    sample_time: float  # thread time of one sample, on average
    sample_median: float
    sample_p99: float
    sampling_time: float  # of that: choosing the patch, opening files, drawing parameters
    stages: tuple[StageStats, ...]
    bytes_read: int
    cache_bytes: int  # decompressed blocks that are kept
    cache_hits: int  # blocks that were there
    cache_misses: int
    ready_batches: int
    batch_bytes: int
    batches_in_use: int  # being made, ready, or referred to by tensors
    workspace_bytes: int
    location_bytes: int  # class locations that are kept
    location_reads: int
    open_files: int
    open_file_bytes: int  # that open files keep: indexes of chunks, buffers
    memory_used: int  # by the loader: batches, workspaces, class locations, open files, kept blocks
    memory_budget: int  # of the loader
    process_memory: int  # of the whole process, resident
    memory_limit: int  # of the container, or the machine
    memory_available: int  # of that, what can still be taken
    gpu: GpuStats | None
    threads: int
    prefetch: int  # batches that are made ahead now
    prefetch_limit: int  # and at the most
    python_fallbacks: tuple[str, ...]  # transforms that are not native
    python_share: float  # of the samples' thread time that they took, waiting for Python's lock included
    python_calls: int  # of this process: transforms and scalars that are not native
    skipped_cases: int

    @property
    def cache_hit_share(self) -> float:
        """Of the blocks that were asked for, those that were there; 0 where none was asked for."""
        return self.cache_hits / max(self.cache_hits + self.cache_misses, 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings, as for JSON."""
        return dataclasses.asdict(self)


def loader_stats(core: _core.Loader, batch_size: int, python_fallbacks: tuple[str, ...], gpu: GpuStats | None) -> LoaderStats:
    """The statistics of a loader of the core."""
    s = core.statistics()
    stages = tuple(
        StageStats(stage.name, stage.native, stage.time.count, stage.time.total, stage.time.median, stage.time.p99)
        for stage in s.stages
    )
    samples, thread_time = max(s.sample.count, 1), s.sample.total
    machine = memory()
    return LoaderStats(
        batches=s.batches,
        samples=s.samples,
        running=s.running_seconds,
        samples_per_second=s.batches * batch_size / s.running_seconds if s.running_seconds > 0 else 0.0,
        waited=s.waited_seconds,
        wait_median=s.wait.median,
        wait_p99=s.wait.p99,
        first_batch=s.first_batch_seconds,
        sample_time=thread_time / samples,
        sample_median=s.sample.median,
        sample_p99=s.sample.p99,
        sampling_time=stages[0].total / samples,
        stages=stages,
        bytes_read=s.bytes_read,
        cache_bytes=s.cache_bytes,
        cache_hits=s.cache_hits,
        cache_misses=s.cache_misses,
        ready_batches=s.ready_batches,
        batch_bytes=s.batch_bytes,
        batches_in_use=s.batches_in_use,
        workspace_bytes=s.workspace_bytes,
        location_bytes=s.location_bytes,
        location_reads=s.location_reads,
        open_files=s.open_files,
        open_file_bytes=s.open_file_bytes,
        memory_used=s.batches_in_use * s.batch_bytes + s.workspace_bytes + s.location_bytes + s.open_file_bytes + s.cache_bytes,
        memory_budget=s.memory_budget,
        process_memory=_core.resident_memory(),
        memory_limit=machine.limit,
        memory_available=machine.available,
        gpu=gpu,
        threads=s.threads,
        prefetch=s.prefetch,
        prefetch_limit=s.prefetch_limit,
        python_fallbacks=python_fallbacks,
        python_share=sum(stage.total for stage in stages if not stage.native) / thread_time if thread_time > 0 else 0.0,
        python_calls=_core.python_calls(),
        skipped_cases=len(core.bad_cases()),
    )
