"""How windows move over an image: along which axis, and how much memory that takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["HELD_BYTES", "PLANES_AT_ONCE", "PLANES_BETWEEN", "Passage", "best_passage", "plan_passage", "whole_bytes"]

WORTH_ANOTHER_AXIS = 1.25
"""Another axis than the first, whose planes are contiguous, is chosen if the first takes this many times its memory."""

HELD_BYTES = 4
"""Bytes of one logit of a window that is kept: float32, as a network gives them on a CPU; under autocast half of that."""

PLANES_AT_ONCE = 16
"""Least number of planes that become labels together: threads share them."""

PLANES_TOGETHER = 32
"""Largest number of planes that leave the sums together."""

PLANES_BETWEEN = 2
"""A resized plane lies between two planes of logits, so the last two stay until the next ones come."""


@dataclass(frozen=True)
class Passage:
    """The way of the windows over one image. Planes lie across the axis `along`, and places are positions of a window on it."""

    along: int
    """The axis along which windows move from plane to plane, 0 to 2."""
    extent: int
    """Planes of a window."""
    starts: tuple[int, ...]
    """First planes of the windows, ascending."""
    shape: tuple[int, int, int]
    """(X, Y, Z) of the image, padded to at least one window."""
    patch: tuple[int, int, int]
    """(X, Y, Z) of a window; (1, Y, Z) for a 2D network."""
    windows: tuple[int, int, int]
    """Number of windows along each axis."""

    @property
    def plane(self) -> int:
        """Voxels in a plane."""
        return math.prod(self.shape) // self.shape[self.along]

    @property
    def largest_step(self) -> int:
        """Largest number of planes that are complete at the same time."""
        return max(b - a for a, b in zip(self.starts, (*self.starts[1:], self.starts[-1] + self.extent), strict=True))

    @property
    def overlap(self) -> bool:
        """Whether windows from several places cover one plane."""
        return any(b - a < self.extent for a, b in zip(self.starts, self.starts[1:], strict=False))

    @property
    def in_order(self) -> bool:
        """Whether every voxel gets its windows in nnU-Net's order as they come; there, the last axis runs fastest."""
        return not self.overlap or math.prod(self.windows[: self.along]) == 1

    @property
    def held(self) -> int:
        """Largest number of logits of windows that are kept, for each head and fold."""
        if self.in_order:
            return 0
        left = [
            sum(max(0, before + self.extent - following) for before in self.starts[: place + 1])
            for place, following in enumerate(self.starts[1:])
        ]
        # While the windows of one place come, those of the place before leave.
        together = math.prod(self.windows) // len(self.starts) + math.prod(self.windows[self.along + 1 :])
        return max(left) * together * math.prod(self.patch) // self.extent

    def step(self, folds: int) -> int:
        """Largest number of planes that leave the sums together."""
        return min(self.largest_step, PLANES_TOGETHER) if self.sums(folds) == folds else self.largest_step

    def waiting(self, folds: int) -> int:
        """Largest number of planes that are complete and not yet labels."""
        return self.step(folds) + PLANES_AT_ONCE + PLANES_BETWEEN

    def sums(self, folds: int) -> int:
        """Number of sums that are kept. As in nnU-Net, folds are averaged after the division by the weights."""
        return folds if self.overlap else 1

    @property
    def length(self) -> int:
        """Planes of the sums: those of a window, or, if windows are kept, only as many as are complete at the same time."""
        return self.extent if self.in_order else self.largest_step

    def bytes(self, heads: int, folds: int) -> int:
        """Bytes of all that is kept, with sums in half precision and what the search for infinite values takes."""
        sums = self.length * self.plane * (heads * self.sums(folds) + 1) * 2 + self.held * heads * folds * HELD_BYTES
        return sums + self.plane * heads * (2 * self.waiting(folds) + 3 * self.step(folds))


def plan_passage(shape: Sequence[int], patch_size: Sequence[int], tile_step_size: float) -> Passage:
    """Choose the way of nnU-Net's windows.

    shape: (X, Y, Z) of the preprocessed image. patch_size: 2D or 3D.
    """
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    return best_passage(shape, patch_size, lambda size, patch: compute_steps_for_sliding_window(size, patch, tile_step_size))


def best_passage(shape: Sequence[int], patch_size: Sequence[int], steps: Callable[[Any, Any], list[list[int]]]) -> Passage:
    """Choose the axis that takes the least memory, or the first axis if that takes hardly more.

    shape: (X, Y, Z) of the image. patch_size: 2D or 3D. steps: gives the first voxels of the windows along each axis, from the
    sizes of the image, which is padded to at least one window, and of a window.
    """
    flat = len(patch_size) < 3
    x, y, z = ([1] if flat else []) + [int(n) for n in patch_size]
    padded = [max(int(n), p) for n, p in zip(shape, (x, y, z), strict=True)]
    size = (padded[0], padded[1], padded[2])
    if flat:  # every window of a 2D network is one plane
        across = steps(size[1:], (y, z))
        return Passage(0, 1, tuple(range(size[0])), size, (1, y, z), (size[0], len(across[0]), len(across[1])))
    starts = steps(size, (x, y, z))
    windows = (len(starts[0]), len(starts[1]), len(starts[2]))
    passages = [
        Passage(axis, (x, y, z)[axis], tuple(dict.fromkeys(starts[axis])), size, (x, y, z), windows)
        for axis in range(3)
        # Steps of less than a voxel repeat windows, and repeated windows could not be told apart.
        if all(len(set(starts[before])) == len(starts[before]) for before in range(axis))
    ]
    least = min(passages, key=lambda passage: passage.bytes(heads=2, folds=1))
    worth = WORTH_ANOTHER_AXIS * least.bytes(heads=2, folds=1) < passages[0].bytes(heads=2, folds=1)
    return least if worth else passages[0]


def whole_bytes(shape: Sequence[int], heads: int, folds: int) -> int:
    """Return the bytes of logits that nnU-Net's own predictor keeps: of the image, of earlier folds, and for its search for
    infinite values."""
    return math.prod(shape) * (heads * (2 + 3 + 2 * (folds > 1)) + 2)
