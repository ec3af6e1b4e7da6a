"""Where windows lie in a volume, and how much their voxels weigh: nnU-Net's rules, without nnU-Net."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch

from .given import check_step, sizes_of, voxels_of

__all__ = ["Grid", "gaussian_weights", "grid", "padding_of", "steps_of"]

_TRUNCATE = 4.0  # standard deviations on each side of a Gaussian, as in SciPy


def steps_of(shape: Sequence[int], patch_size: Sequence[int], step: float) -> list[list[int]]:
    """Return the first voxels of the windows along each axis, evenly spread from end to end.

    It is nnU-Net's `compute_steps_for_sliding_window`: neighbours are at most `step` patches apart. The image is at least as
    large as a patch.
    """
    starts = []
    for size, patch in zip(shape, patch_size, strict=True):
        count = math.ceil((size - patch) / (patch * step)) + 1
        apart = (size - patch) / (count - 1) if count > 1 else 0.0
        starts.append([int(np.round(apart * number)) for number in range(count)])
    return starts


def padding_of(shape: Sequence[int], patch_size: Sequence[int]) -> list[tuple[int, int]]:
    """Return the voxels before and behind each axis that make an image as large as a patch: the image stays in the middle."""
    missing = [max(0, patch - size) for size, patch in zip(shape, patch_size, strict=True)]
    return [(n // 2, n - n // 2) for n in missing]


def gaussian_weights(patch_size: Sequence[int]) -> torch.Tensor:
    """Return the weights of a window's voxels, (*patch) in half precision: 10 in the middle, never 0.

    They are those of nnU-Net's `compute_gaussian` with its predictor's arguments: a Gaussian of an eighth of the patch.
    """
    weights = np.ones(())
    for axis, size in enumerate(patch_size):
        sigma = size / 8
        reach = int(_TRUNCATE * sigma + 0.5)
        x = np.arange(-reach, reach + 1)
        bell = np.exp(-0.5 / (sigma * sigma) * x**2)
        bell = bell / bell.sum()
        line = np.zeros(size)
        places = np.arange(size) - size // 2
        inside = abs(places) <= reach
        line[inside] = bell[places[inside] + reach]
        weights = weights[..., None] * line.reshape((1,) * axis + (-1,))
    weights = weights / (weights.max() / 10)
    half = torch.from_numpy(weights).to(torch.half)
    half[half == 0] = half[half > 0].min()
    return half


class Grid(Sequence[Any]):
    """Patches of an image in order, the last axis fastest, or only their places. `grid` makes it."""

    def __init__(self, shape: Sequence[int], patch_size: Sequence[int], step: float, image: torch.Tensor | None) -> None:
        padding = padding_of(shape, patch_size)
        padded = [max(size, patch) for size, patch in zip(shape, patch_size, strict=True)]
        self.patch_size = tuple(patch_size)
        self.shape = tuple(shape)
        self._image = image
        before = [low for low, _ in padding]
        self.starts: list[tuple[int, ...]] = [
            tuple(at - low for at, low in zip(place, before, strict=True))
            for place in itertools.product(*steps_of(padded, patch_size, step))
        ]

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, number: int) -> Any: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Any]: ...
    def __getitem__(self, number: int | slice) -> Any:
        """Return the patch (C, *patch_size) and its first voxel, or without an image the first voxel alone."""
        if isinstance(number, slice):
            return [self[at] for at in range(len(self))[number]]
        start = self.starts[number]
        if self._image is None:
            return start
        inside: list[slice] = []
        outside: list[int] = []
        for at, extent, size in zip(start, self.patch_size, self.shape, strict=True):
            inside.append(slice(max(at, 0), min(at + extent, size)))
            outside[:0] = [max(-at, 0), max(at + extent - size, 0)]  # torch begins with the last axis
        patch = self._image[(slice(None), *inside)]
        return (torch.nn.functional.pad(patch, outside) if any(outside) else patch), start


def grid(image_or_shape: Any, patch_size: Sequence[int], step: float = 0.5) -> Grid:
    """Cut a volume into patches that cover it, each with its place, always the same: for validations of one's own.

    The places are those of `fl.predict_volume`, and so of nnU-Net's sliding window: evenly spread from end to end.

    Args:
        image_or_shape: (C, X, Y, Z) or (C, X, Y), an array or a tensor, or the shape alone, (X, Y, Z) or (X, Y).
        patch_size: in voxels, for each axis.
        step: largest distance of neighbours, as a part of the patch size: above 0, at most 1. 1 lets no more overlap than it
            must; MONAI's `overlap` is 1 - step.

    Returns:
        A sequence of (patch, start), which torch's DataLoader takes as a data set. patch: a view (C, *patch_size) of the image
        as a tensor. start: the patch's first voxel in the image. Along an axis that is shorter than the patch, the image lies
        in the middle of zeros, and the start is 0 or negative. Of a shape, a sequence of starts.

    Raises:
        ValueError: the sizes or the step are not as above.
    """
    patch = sizes_of("patch_size", patch_size)
    check_step(step)
    shape = getattr(image_or_shape, "shape", None)
    image = None
    if shape is not None and len(shape) > 1:
        image = voxels_of(image_or_shape, "image_or_shape")
        shape = shape[1:]
    else:
        shape = image_or_shape
    sizes = sizes_of("image_or_shape", shape)
    if len(sizes) != len(patch):
        raise ValueError(f"[patch_size] expected {len(sizes)} sizes, as the image has, got {patch}")
    return Grid(sizes, patch, step, image)
