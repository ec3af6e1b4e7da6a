"""What limits a training: its loader, or the work that it does with each batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..loading.statistics import LoaderStats

__all__ = ["Bottleneck", "bottleneck_of"]

NOTHING = 0.02
"""A share of waiting that no training notices."""


@dataclass(frozen=True)
class Bottleneck:
    """Of a time in which batches were handed out."""

    waited: float
    """Share of the time in which the training waited for a batch."""
    cached_rate: float
    """Batches per second if every batch had been there, as one that is used again and again: those of the training alone."""
    threads_needed: int
    """Threads that make batches at that rate, by the thread time that samples took."""
    threads: int
    """That the loader has."""

    @property
    def bound_by_loader(self) -> bool:
        """Whether the training would be faster with another loader."""
        return self.waited > NOTHING

    def __str__(self) -> str:
        if not self.bound_by_loader:
            return f"bound by the training, {min(self.threads_needed, self.threads)} of {self.threads} threads would do"
        faster = 1 / (1 - self.waited)
        gained = f"{faster:.2f} times as fast" if faster < 10 else "10 times as fast and more"
        if self.threads_needed <= self.threads:  # waits that have other reasons: a slow disk, a first batch, an uneven load
            return f"bound by the loader, without waiting {gained}; its {self.threads} threads would do for an even load"
        takes = f"{self.threads_needed} threads instead of {self.threads}"
        return f"bound by the loader, without waiting {gained}, which takes {takes}"


def bottleneck_of(now: LoaderStats, before: LoaderStats | None, batch_size: int) -> Bottleneck | None:
    """Return the bottleneck in the time since `before` (None: since the first batch was asked for).

    batch_size: samples of a batch. Returns None if no batch was handed out, or if nobody did anything with one.
    """
    batches = now.batches - (before.batches if before else 0)
    samples = now.samples - (before.samples if before else 0)
    seconds = now.running - (before.running if before else 0.0)
    used = seconds - now.waited + (before.waited if before else 0.0)
    if batches <= 0 or samples <= 0 or used <= 1e-3 * seconds:
        return None
    thread_time = now.sample_time * now.samples - (before.sample_time * before.samples if before else 0.0)
    rate = batches / used
    # A millionth less: quotients that are whole but for their rounding.
    needed = max(1, math.ceil(rate * batch_size * thread_time / samples - 1e-6))
    return Bottleneck(max(0.0, 1 - used / seconds), rate, needed, now.threads)
