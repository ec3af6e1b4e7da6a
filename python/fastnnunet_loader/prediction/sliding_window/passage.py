"""How windows pass over an image: along which axis planes leave, and how much is kept meanwhile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HELD_BYTES", "PLANES_AT_ONCE", "PLANES_BETWEEN", "Passage", "plan_passage", "whole_bytes"]

WORTH_ANOTHER_AXIS = 1.25
"""How many times less has to be kept along another axis than along the first, whose planes lie in one piece of memory."""

HELD_BYTES = 4
"""Of a logit of a window that is held: what the network gives, float32 on a CPU, half of that under autocast."""

PLANES_AT_ONCE = 16
"""Decided together at least: threads share the planes."""

PLANES_TOGETHER = 32
"""Leave the sums together at most."""

PLANES_BETWEEN = 2
"""That a resized plane lies between, and so stay until the next ones come."""


@dataclass(frozen=True)
class Passage:
    """How windows pass over an image."""

    along: int
    """The axis that planes are across, 0 to 2."""
    extent: int
    """Of a window along this axis, in planes."""
    starts: tuple[int, ...]
    """Of the windows along this axis."""
    shape: tuple[int, int, int]
    """Of the image, padded to a window at least."""
    patch: tuple[int, int, int]
    """Of a window; (1, Y, Z) for a 2D network."""
    windows: tuple[int, int, int]
    """How many there are along each axis."""

    @property
    def plane(self) -> int:
        """Voxels of a plane."""
        return math.prod(self.shape) // self.shape[self.along]

    @property
    def largest_step(self) -> int:
        """Planes that are complete at once at most."""
        return max(b - a for a, b in zip(self.starts, (*self.starts[1:], self.starts[-1] + self.extent), strict=True))

    @property
    def overlap(self) -> bool:
        """Whether a plane gets windows of several starts."""
        return any(b - a < self.extent for a, b in zip(self.starts, self.starts[1:], strict=False))

    @property
    def in_order(self) -> bool:
        """Whether every voxel gets its windows in nnU-Net's order as they come. nnU-Net's last axis runs fastest."""
        return not self.overlap or math.prod(self.windows[: self.along]) == 1

    @property
    def held(self) -> int:
        """Numbers of windows, at most, that are held for each head and fold."""
        if self.in_order:
            return 0
        left = [
            sum(max(0, before + self.extent - following) for before in self.starts[: place + 1])
            for place, following in enumerate(self.starts[1:])
        ]
        # As the windows of one place come, those of the place before leave.
        together = math.prod(self.windows) // len(self.starts) + math.prod(self.windows[self.along + 1 :])
        return max(left) * together * math.prod(self.patch) // self.extent

    def step(self, folds: int) -> int:
        """Planes, at most, that leave the sums together."""
        return min(self.largest_step, PLANES_TOGETHER) if self.sums(folds) == folds else self.largest_step

    def waiting(self, folds: int) -> int:
        """Planes, at most, that are complete and not yet decided."""
        return self.step(folds) + PLANES_AT_ONCE + PLANES_BETWEEN

    def sums(self, folds: int) -> int:
        """How many sums are kept: folds are averaged after the division, as nnU-Net does."""
        return folds if self.overlap else 1

    @property
    def length(self) -> int:
        """Of the sums, in planes: a window's, or no more than are complete at once where windows are held."""
        return self.extent if self.in_order else self.largest_step

    def bytes(self, heads: int, folds: int) -> int:
        """Of all that is kept, sums in half precision, with what looking for infinity takes."""
        sums = self.length * self.plane * (heads * self.sums(folds) + 1) * 2 + self.held * heads * folds * HELD_BYTES
        return sums + self.plane * heads * (2 * self.waiting(folds) + 3 * self.step(folds))


def plan_passage(shape: Sequence[int], patch_size: Sequence[int], tile_step_size: float) -> Passage:
    """Choose the axis along which the least has to be kept; the first one where that is hardly more.

    shape: (X, Y, Z) of the preprocessed image. patch_size: 2D or 3D.
    """
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    flat = len(patch_size) < 3
    x, y, z = ([1] if flat else []) + [int(n) for n in patch_size]
    padded = [max(int(n), p) for n, p in zip(shape, (x, y, z), strict=True)]
    size = (padded[0], padded[1], padded[2])
    if flat:  # its windows lie in single planes already
        across = compute_steps_for_sliding_window(size[1:], (y, z), tile_step_size)
        return Passage(0, 1, tuple(range(size[0])), size, (1, y, z), (size[0], len(across[0]), len(across[1])))
    starts = compute_steps_for_sliding_window(size, (x, y, z), tile_step_size)
    windows = (len(starts[0]), len(starts[1]), len(starts[2]))
    passages = [
        Passage(axis, (x, y, z)[axis], tuple(dict.fromkeys(starts[axis])), size, (x, y, z), windows)
        for axis in range(3)
        # Steps of less than a voxel repeat windows, which could not be told apart.
        if all(len(set(starts[before])) == len(starts[before]) for before in range(axis))
    ]
    least = min(passages, key=lambda passage: passage.bytes(heads=2, folds=1))
    worth = WORTH_ANOTHER_AXIS * least.bytes(heads=2, folds=1) < passages[0].bytes(heads=2, folds=1)
    return least if worth else passages[0]


def whole_bytes(shape: Sequence[int], heads: int, folds: int) -> int:
    """What nnU-Net's own predictor keeps of logits: of the image, of all folds before, and looking for infinity in them."""
    return math.prod(shape) * (heads * (2 + 3 + 2 * (folds > 1)) + 2)
