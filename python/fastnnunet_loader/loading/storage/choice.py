"""Whole files or blocks: what is requested of cases at an address. The rule is arithmetic, and this is its only place.

A copy of a case has S bytes, and n samples read it before it is removed from the cache or the loader ends. A sample needs b
bytes of it. Blocks are requested where n * b < S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...settings import in_units
from .partial import REQUEST

__all__ = ["Choice", "Volume", "choose", "requests_alone", "samples_of_a_copy"]


@dataclass(frozen=True)
class Volume:
    """A `.b2nd` file."""

    bytes: int
    shape: Sequence[int]
    """(C, X, Y, Z)."""
    chunk: Sequence[int]
    """(X, Y, Z), as `block`."""
    block: Sequence[int]

    def needed(self, patch: Sequence[int]) -> float:
        """Return how many bytes of the file a patch of (X, Y, Z) voxels needs at an arbitrary place, requests counted as bytes.

        The blocks that it touches have their share of the file. Each chunk that it touches takes two requests, for its table
        and for its blocks, and the file one more for its beginning and its end.
        """
        share, chunks = 1.0, float(self.shape[0])
        for size, chunk, block, wanted in zip(self.shape[1:], self.chunk, self.block, patch, strict=True):
            share *= _touched(size, block, wanted) / math.ceil(size / block)
            chunks *= _touched(size, chunk, wanted)
        return share * self.bytes + (2 * chunks + 1) * REQUEST


def _touched(size: int, tile: int, wanted: int) -> float:
    """Return how many tiles `wanted` of `size` voxels along an axis touch on average."""
    return min(math.ceil(size / tile), (min(wanted, size) - 1) / tile + 1)


@dataclass(frozen=True)
class Choice:
    """What is requested, and why."""

    blocks: bool
    reason: str


def samples_of_a_copy(cases: int, size: float, cache: int, samples: int | None = None) -> float:
    """Return how many samples read a copy of a case on average, before it is removed for another one or none comes any more.

    cases: of the loader. size: bytes of all of them. cache: bytes of the cache. samples: to come; None if nobody knows.

    Cases are drawn at random, so a sample finds its case in the cache with the probability cache / size, and all samples
    together need cases * (1 - (1 - 1 / cases) ** samples) cases.
    """
    held = math.inf if size <= cache else 1 / (1 - cache / size)
    if not samples or not cases:
        return held
    return min(held, samples / (cases * (1 - (1 - 1 / cases) ** samples)))


def requests_alone(files: float) -> float:
    """Return what a sample needs at least of so many files, whatever they are: the requests, counted as bytes."""
    return 3 * REQUEST * files


def choose(case_bytes: float, case_needed: float, samples: float) -> Choice:
    """Choose for all cases of a loader.

    case_bytes: of the `.b2nd` files of a case. case_needed: of them, what a sample needs. samples: of a copy.
    """
    told = f"a sample needs about {in_units(case_needed)} of the {in_units(case_bytes)} of a case"
    read = f"a copy of it would be read by about {samples:.1f} samples"
    return Choice(samples * case_needed < case_bytes, f"{told}, and {read}")
