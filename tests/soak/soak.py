"""Takes batches of nnU-Net's default augmentation and watches the process meanwhile."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import Source

__all__ = ["Soaked", "soak"]


@dataclass(frozen=True)
class Soaked:
    """What was seen. Memory is resident, in bytes."""

    batches: int
    seconds: float
    first_memory: int  # after a tenth of the batches
    last_memory: int
    slope: float  # bytes per batch, a line through all that was measured after the first tenth
    handles: tuple[int, int]  # least and most, after the first tenth
    threads: tuple[int, int]
    samples: int
    waited: float  # seconds
    most_in_use: int  # batches in memory
    prefetch: int

    def faults(self) -> list[str]:
        """What is not as it must be."""
        # A leak of one page for each batch would be 4096; a line through noise is far below it.
        grown = self.slope * self.batches
        found = []
        if grown > 8 << 20:
            found.append(f"memory grows by {self.slope:.0f} bytes per batch, {grown / 2**20:.1f} MiB in all")
        found += [
            f"{what} changed from {few} to {many}"
            for what, (few, many) in (("handles", self.handles), ("threads", self.threads))
            if few != many
        ]
        if not 2 * self.batches <= self.samples <= 2 * (self.batches + self.prefetch + 1):
            found.append(f"{self.samples} samples for {self.batches} batches of two")
        if self.most_in_use > self.prefetch + 2:
            found.append(f"{self.most_in_use} batches in memory with a prefetch of {self.prefetch}")
        if not 0 <= self.waited <= self.seconds:
            found.append(f"waited {self.waited:.1f} s of {self.seconds:.1f} s")
        return found


def soak(source: Source, batches: int, points: int = 100) -> Soaked:
    """Take that many batches of two on two threads, and measure at so many points."""
    every = max(1, batches // points)
    seen: list[tuple[int, int, int, int, int]] = []
    begin = time.monotonic()
    with fl.DataLoader.from_nnunet(source.train, threads=2, seed=1) as loader:
        for batch in range(1, batches + 1):
            next(loader)
            if batch % every == 0:
                seen.append((batch, _memory(), _count("fd"), _count("task"), loader.stats().batches_in_use))
        stats = loader.stats()
    seconds = time.monotonic() - begin
    kept = np.array(seen[len(seen) // 10 :], dtype=np.int64)
    return Soaked(
        batches=batches,
        seconds=seconds,
        first_memory=int(kept[0, 1]),
        last_memory=int(kept[-1, 1]),
        slope=float(np.polyfit(kept[:, 0], kept[:, 1], 1)[0]),
        handles=(int(kept[:, 2].min()), int(kept[:, 2].max())),
        threads=(int(kept[:, 3].min()), int(kept[:, 3].max())),
        samples=stats.samples,
        waited=stats.waited,
        most_in_use=int(kept[:, 4].max()),
        prefetch=stats.prefetch_limit,
    )


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def _count(what: str) -> int:
    return len(os.listdir(f"/proc/self/{what}"))  # noqa: PTH208  one call, no objects
