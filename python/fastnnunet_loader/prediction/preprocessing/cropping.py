"""The part of an image that is not zero."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["bounding_box", "fill_holes"]

Mask = npt.NDArray[np.bool_]
"""3D."""


def bounding_box(mask: Mask) -> list[list[int]]:
    """[lower, upper) of what is true, for each axis; of everything where nothing is."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append([int(used[0]), int(used[-1]) + 1] if used.size else [0, mask.shape[axis]])
    return box


def fill_holes(mask: Mask) -> Mask:
    """The mask, and what lies in it without a way to the border, as SciPy's `binary_fill_holes` does; a third of its time."""
    from scipy.ndimage import label

    if mask.all():
        return mask
    parts, count = label(~mask)
    hole = np.ones(count + 1, bool)
    hole[0] = False  # the mask itself
    for axis in range(3):
        for side in (0, -1):
            hole[parts.take(side, axis)] = False
    return mask | hole[parts] if hole.any() else mask
