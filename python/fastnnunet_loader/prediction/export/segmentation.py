"""From a network's logits to the segmentation of the image: resize, choose labels, undo the crop, transpose; in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ... import _core
from ...system import available_cores, threads_of
from ..preprocessing.resampling import given_axis, three_sizes

if TYPE_CHECKING:
    import torch

__all__ = ["SegmentationStream", "logits_to_segmentation"]

_NAME = "logits_to_segmentation"


def logits_to_segmentation(
    logits: npt.NDArray[Any] | torch.Tensor,
    new_shape: Sequence[int],
    *,
    axis: int | None = None,
    regions_class_order: Sequence[int] | None = None,
    bbox: Sequence[Sequence[int]] | None = None,
    shape: Sequence[int] | None = None,
    transpose_backward: Sequence[int] | None = None,
    probabilities: npt.NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]:
    """Convert logits to the image's segmentation, as nnU-Net's
    `convert_predicted_logits_to_segmentation_with_correct_shape` does with the plans' default resampling.

    Beside the result it needs memory for a few planes per thread, whatever the number of classes.

    Args:
        logits: (C, X, Y, Z), float32 or float16, an array or a CPU tensor. Views are accepted; they are copied if Z is not
            contiguous. float16 values are compared in float16, as nnU-Net does.
        new_shape: shape to which the logits are resized: properties['shape_after_cropping_and_before_resampling'].
        axis: 0, 1 or 2, the axis of thick slices, along which the nearest slice is taken; None for none. nnU-Net chooses it
            with `determine_do_sep_z_and_axis`.
        regions_class_order: label of each channel if the channels are regions; None if they are classes.
        bbox: properties['bbox_used_for_cropping'], [lower, upper) for each axis; None if the image was not cropped.
        shape: properties['shape_before_cropping']; None if the image was not cropped.
        transpose_backward: the plans' order of axes; None to keep the order.
        probabilities: (C, *shape of the result), float32, for example from `np.lib.format.open_memmap`. It is filled plane by
            plane with the softmax (for regions the sigmoid), and outside of `bbox` with background.
        threads: number of threads; None for one per core, at most 8. The result does not depend on it.

    Returns:
        Labels, 3D: uint8, or uint16 if there are labels from 255 on. With `transpose_backward` a transposed view, as from
        nnU-Net.

    Raises:
        ValueError: the shapes, axis, box, labels or order of axes do not fit together.
        TypeError: the dtype is none of these, or the tensor is not on the CPU.
    """
    backward = _backward(transpose_backward)
    segmentation = _core.logits_to_segmentation(
        _as_array(logits),
        probabilities=_as_the_network_has_them(probabilities, backward),
        threads=threads_of(available_cores(), beside=0) if threads is None else threads,
        **_where(new_shape, axis, regions_class_order, bbox, shape),
    )
    return segmentation.transpose(backward)


class SegmentationStream:
    """`logits_to_segmentation` in slabs, so that the logits of the whole image are never in memory at once.

    Planes arrive in order along one axis. Labels are decided as soon as the planes on both of their sides are there. The
    arguments behind `along`, and the errors, are those of `logits_to_segmentation`.

    Args:
        channels: number of channels of the logits.
        logits_shape: (X, Y, Z) of all logits together.
        along: 0, 1 or 2, the axis of the planes.
    """

    def __init__(
        self,
        channels: int,
        logits_shape: Sequence[int],
        along: int,
        new_shape: Sequence[int],
        *,
        axis: int | None = None,
        regions_class_order: Sequence[int] | None = None,
        bbox: Sequence[Sequence[int]] | None = None,
        shape: Sequence[int] | None = None,
        transpose_backward: Sequence[int] | None = None,
        probabilities: npt.NDArray[np.float32] | None = None,
        threads: int | None = None,
    ) -> None:
        self._backward = _backward(transpose_backward)
        self._stream = _core.SegmentationStream(
            channels=channels,
            shape=three_sizes(_NAME, logits_shape),
            along=along,
            probabilities=_as_the_network_has_them(probabilities, self._backward),
            threads=threads_of(available_cores(), beside=0) if threads is None else threads,
            **_where(new_shape, axis, regions_class_order, bbox, shape),
        )

    def add(self, logits: npt.NDArray[Any] | torch.Tensor, first: int) -> int:
        """Add planes (C, X, Y, Z), the first of which has the number `first`, and decide every label that they allow.

        Returns the number of the first plane that is still needed: the next call must contain it and all after it.
        """
        return self._stream.add(_as_array(logits), first)

    def result(self) -> npt.NDArray[Any]:
        """Return the labels as `logits_to_segmentation` does. Raises ValueError while planes are missing."""
        if not self._stream.complete:
            raise ValueError(f"[{_NAME}] expected all planes of the logits, got a part of them")
        return self._stream.segmentation.transpose(self._backward)


def _where(
    new_shape: Sequence[int],
    axis: int | None,
    regions_class_order: Sequence[int] | None,
    bbox: Sequence[Sequence[int]] | None,
    shape: Sequence[int] | None,
) -> dict[str, Any]:
    sizes = three_sizes(_NAME, new_shape)
    image_shape = sizes if shape is None else three_sizes(_NAME, shape)
    lower, upper = _box(bbox, sizes)
    if tuple(b - a for a, b in zip(lower, upper, strict=True)) != sizes:
        raise ValueError(f"[{_NAME}] expected a bbox of the new shape {sizes}, got {bbox}")
    regions = [] if regions_class_order is None else [int(label) for label in regions_class_order]
    if regions_class_order is not None and not regions:
        raise ValueError(f"[{_NAME}] expected labels in regions_class_order, got none")
    return {
        "new_shape": sizes,
        "axis": given_axis(_NAME, axis),
        "regions": regions,
        "offset": lower,
        "image_shape": image_shape,
    }


def _backward(transpose_backward: Sequence[int] | None) -> tuple[int, ...]:
    backward = (0, 1, 2) if transpose_backward is None else tuple(int(a) for a in transpose_backward)
    if sorted(backward) != [0, 1, 2]:
        raise ValueError(f"[{_NAME}] expected transpose_backward to be an order of 0, 1 and 2, got {backward}")
    return backward


def _as_the_network_has_them(
    probabilities: npt.NDArray[np.float32] | None, backward: Sequence[int]
) -> npt.NDArray[np.float32] | None:
    """Transpose probabilities to the network's order of axes, which the core uses."""
    if probabilities is None:
        return None
    if not isinstance(probabilities, np.ndarray) or probabilities.ndim != 4:
        raise ValueError(f"[{_NAME}] expected probabilities to be an array (C, X, Y, Z)")
    return probabilities.transpose(0, *(int(a) + 1 for a in np.argsort(backward)))


def _box(bbox: Sequence[Sequence[int]] | None, sizes: tuple[int, int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if bbox is None:
        return (0, 0, 0), sizes
    if np.shape(bbox) != (3, 2):
        raise ValueError(f"[{_NAME}] expected a bbox of three [lower, upper), got {bbox}")
    return tuple(int(side[0]) for side in bbox), tuple(int(side[1]) for side in bbox)


def _as_array(logits: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[Any]:
    if not isinstance(logits, np.ndarray):
        import torch

        if not isinstance(logits, torch.Tensor):
            raise TypeError(f"[{_NAME}] expected logits as an array or a tensor, got {type(logits).__name__}")
        if logits.device.type != "cpu":
            raise TypeError(f"[{_NAME}] expected logits on the CPU, got {logits.device}")
        if logits.dtype not in (torch.float32, torch.float16):
            raise TypeError(f"[{_NAME}] expected logits of float32 or float16, got {logits.dtype}")
        logits = logits.detach().numpy()
    if logits.ndim == 4 and (logits.strides[3] != logits.itemsize or any(s % logits.itemsize for s in logits.strides)):
        return np.ascontiguousarray(logits)
    return logits
