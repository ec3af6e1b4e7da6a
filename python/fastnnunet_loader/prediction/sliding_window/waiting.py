"""Planes whose logits are complete, until there are enough of them to decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from .passage import PLANES_AT_ONCE, PLANES_BETWEEN, Passage

__all__ = ["Planes", "Waiting"]


class Planes(Protocol):
    """Turns logits into labels, plane by plane."""

    def add(self, logits: torch.Tensor, first: int) -> int:
        """Take planes (C, X, Y, Z) in half precision on the CPU, from plane `first` on; return the first still needed."""


class Waiting:
    """Planes on the CPU whose logits are complete and which are not yet labels."""

    def __init__(self, passage: Passage, heads: int, folds: int, unpad: Sequence[slice], planes: Planes) -> None:
        shape = list(passage.shape)
        shape[passage.along] = passage.waiting(folds)
        self._along = passage.along + 1
        self._buffer = torch.empty((heads, *shape), dtype=torch.half)
        lower, upper, _ = unpad[passage.along].indices(passage.shape[passage.along])
        self._lower, self._upper = lower, upper
        across = [slice(None), *unpad]
        across[self._along] = slice(None)
        self._across = tuple(across)
        self._planes = planes
        self._first = 0  # plane of the padded image that the buffer begins with
        self._count = 0

    def place(self, count: int) -> torch.Tensor:
        """Return where to write the next planes."""
        return self._buffer.narrow(self._along, self._count, count)

    def put(self, count: int, *, last: bool) -> None:
        """Note that planes were written, and pass them on if there are enough."""
        self._count += count
        if self._count < PLANES_AT_ONCE + PLANES_BETWEEN and not last:
            return
        begin = max(self._first, self._lower)
        end = min(self._first + self._count, self._upper)
        needed = begin
        if end > begin:
            logits = self._buffer.narrow(self._along, begin - self._first, end - begin)[self._across]
            needed = self._planes.add(logits, begin - self._lower) + self._lower
        kept = max(0, self._first + self._count - max(needed, self._first))
        if kept:  # at most two planes, or too few to begin
            rest = self._buffer.narrow(self._along, self._count - kept, kept).clone()
            self._buffer.narrow(self._along, 0, kept).copy_(rest)
        self._first += self._count - kept
        self._count = kept
