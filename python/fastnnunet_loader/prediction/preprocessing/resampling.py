"""Images and segmentations in another size, as nnU-Net's preprocessing makes them, from threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ... import _core
from ...system import available_cores, threads_of

__all__ = ["resample"]

T = TypeVar("T", bound=np.generic)


def resample(
    array: npt.NDArray[T],
    new_shape: Sequence[int],
    order: int = 3,
    *,
    is_seg: bool = False,
    axis: int | None = None,
    order_z: int = 0,
    threads: int | None = None,
) -> npt.NDArray[T]:
    """Resize every channel of an image or a segmentation, as nnU-Net's `resample_data_or_seg` does.

    Args:
        array: (C, X, Y, Z). float32; labels of int8, uint8, int16, uint16, int32, int64 or float32 where `is_seg`.
        new_shape: the three sizes that X, Y and Z are to have.
        order: 0 (nearest), 1 (linear) or 3 (cubic spline, cut to the range of the image). Of a segmentation 0 or 1: the
            label with the most interpolated weight wins, among equals the nearest voxel's.
        is_seg: labels instead of intensities.
        axis: 0, 1 or 2, the axis of thick slices: each slice is resized on its own, then this axis. None treats all three
            alike. nnU-Net's `determine_do_sep_z_and_axis` tells which it would be.
        order_z: of that axis; for a segmentation 0.
        threads: that work on it; None for every core, at most 8. The result does not depend on it.

    Returns:
        (C, *new_shape) of the array's dtype.

    Raises:
        ValueError: a shape, an order or the axis is not one of the above.
        TypeError: the dtype is not one of the above.
    """
    sizes = three_sizes("resample", new_shape)
    chosen = threads_of(available_cores(), beside=0) if threads is None else threads
    resized: npt.NDArray[Any] = _core.resample(
        np.asarray(array),
        sizes,
        order=order,
        is_seg=is_seg,
        axis=given_axis("resample", axis),
        order_z=order_z,
        threads=chosen,
    )
    return resized


def three_sizes(place: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Return a shape of three axes, whatever integers it is made of. Raises ValueError for anything else."""
    sizes = tuple(int(size) for size in shape)
    if len(sizes) != 3:
        raise ValueError(f"[{place}] expected a shape of three sizes, got {sizes}")
    return sizes


def given_axis(place: str, axis: int | None) -> int:
    """Return the axis as the core has it, -1 for none. Raises ValueError where it is not one of three."""
    if axis is not None and axis not in (0, 1, 2):
        raise ValueError(f"[{place}] expected axis None, 0, 1 or 2, got {axis}")
    return -1 if axis is None else int(axis)
