"""The part of an image that is not zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _core

__all__ = ["bounding_box", "fill_holes", "mark_outside", "nonzero_box", "nonzero_mask"]

Mask = npt.NDArray[np.bool_]
"""3D."""

Image = npt.NDArray[np.float32]
"""4D of shape CXYZ."""


def bounding_box(mask: Mask) -> list[list[int]]:
    """[lower, upper) of what is true, for each axis; of everything where nothing is."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append([int(used[0]), int(used[-1]) + 1] if used.size else [0, mask.shape[axis]])
    return box


def fill_holes(mask: Mask) -> Mask:
    """The mask, and what lies in it without a way to the border, as SciPy's `binary_fill_holes` does."""
    if mask.all():
        return mask
    filled = np.array(mask, order="C").view(np.uint8)
    _core.fill_holes(filled)
    return filled.view(np.bool_)


def nonzero_box(image: Image, threads: int) -> list[list[int]]:
    """[lower, upper) of the voxels that are not zero in some channel, for each axis; of everything where all is zero."""
    lower, upper = _core.nonzero_box(image, threads=threads)
    return [[int(first), int(last)] for first, last in zip(lower, upper, strict=True)]


def nonzero_mask(image: Image, threads: int) -> npt.NDArray[np.uint8] | None:
    """The voxels that are not zero in some channel and holes between them, 1 in an array of shape XYZ; None for all of them."""
    mask: npt.NDArray[np.uint8] | None = _core.nonzero_mask(image, threads=threads)
    return mask


def mark_outside(segmentation: npt.NDArray[Any], inside: npt.NDArray[np.uint8] | None) -> npt.NDArray[Any]:
    """A copy of a segmentation of shape 1XYZ, in C order, that is -1 where it was 0 outside of a mask of shape XYZ."""
    marked = np.array(segmentation, order="C")
    if inside is not None:
        marked[(marked == 0) & (inside == 0)] = -1
    return marked
