"""An image turned, cropped, normalised and resized, as nnU-Net's DefaultPreprocessor does: without nnU-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .cropping import mark_outside, nonzero_box, nonzero_mask
from .normalization import NativeScheme
from .resampling import resample
from .shapes import Resizing, new_shape

__all__ = ["Steps", "Way"]

Image = npt.NDArray[np.float32]
"""4D of shape CXYZ."""


@dataclass(frozen=True)
class Way:
    """How an array is resized."""

    native: Resizing | None
    """None to call `function`."""
    function: Callable[..., Any] | None = None
    """nnU-Net's `resampling_fn_...` of a plan, which knows what to do with NaN; None to resize natively in any case."""

    def run(
        self,
        array: npt.NDArray[Any],
        shape: list[int],
        spacing: Sequence[float],
        target: Sequence[float],
        threads: int,
        finite: bool = True,
    ) -> npt.NDArray[Any]:
        """Return an array (C, X, Y, Z) with other sizes. finite: whether all of it is known to be."""
        odd = self.function is not None and not finite and not np.isfinite(array.sum(dtype=np.float64))
        if self.native is None or odd:
            assert self.function is not None
            return np.asarray(self.function(array, shape, spacing, target))
        if list(array.shape[1:]) == shape:
            return array
        return resample(
            array,
            shape,
            self.native.order,
            is_seg=self.native.is_seg,
            axis=self.native.axis(spacing, target),
            order_z=self.native.order_z,
            threads=threads,
        )


@dataclass(frozen=True)
class Steps:
    """What is done to an image and its segmentation."""

    forward: tuple[int, ...]
    """The axes of the image in the order that they are to have."""
    spacing: tuple[float, ...] | None
    """In mm, in that order; two for a 2D network, which takes the slices as they are; None to keep it."""
    schemes: Sequence[NativeScheme]
    """One for each channel."""
    image: Way
    labels: Way
    say: Callable[[str], None]
    crops: bool = True
    """To the nonzero region."""
    marks: bool = True
    """Whether labels are -1 where they are 0 outside of the nonzero region."""

    def target(self, spacing: Sequence[float]) -> list[float]:
        """The spacing of the result, for one in the order that it is to have."""
        if self.spacing is None:
            return list(spacing)
        return [*spacing[: 3 - len(self.spacing)], *self.spacing]

    def run(
        self,
        image: Image,
        segmentation: npt.NDArray[Any] | None,
        properties: dict[str, Any],
        odd: dict[int, str],
        threads: int,
    ) -> tuple[Image, npt.NDArray[Any] | None]:
        """Turn, crop, normalise and resize an image, and with it a segmentation of shape 1XYZ, of the same size.

        properties: of the reader; completed. odd: channels that are not finite, and what to say of them. `image` may change.
        """
        if image.shape[0] > len(self.schemes):
            raise ValueError(f"expected {len(self.schemes)} channels, as the plans have, got {image.shape[0]}")
        forward = self.forward
        order = (0, *(axis + 1 for axis in forward))
        spacing = [float(properties["spacing"][axis]) for axis in forward]
        # Before the axes change places: then voxels lie as they are read.
        box = nonzero_box(image, threads) if self.crops else [[0, size] for size in image.shape[1:]]
        box = [box[axis] for axis in forward]
        inside = (slice(None), *(slice(lower, upper) for lower, upper in box))
        image = image.transpose(order)
        properties["shape_before_cropping"] = image.shape[1:]
        properties["bbox_used_for_cropping"] = box
        image = np.ascontiguousarray(image[inside])
        properties["shape_after_cropping_and_before_resampling"] = image.shape[1:]
        if segmentation is not None:
            segmentation = segmentation.transpose(order)[inside]

        target = self.target(spacing)
        shape = new_shape(image.shape[1:], spacing, target)
        region = self._with_outside(image, segmentation if self.marks else None, threads)
        for channel, scheme in zip(image, self.schemes, strict=False):
            scheme.run(channel, None if region is None else region[0], threads)
        if self.marks:
            segmentation = region
        del region
        # A scheme that clips to what the training has seen makes infinity finite.
        left = [said for channel, said in odd.items() if not np.isfinite(image[channel].sum(dtype=np.float64))]
        for said in left:
            self.say(f"warning: {said}")
        finite = all(scheme.is_nnunets for scheme in self.schemes) and not left
        image = self.image.run(image, shape, spacing, target, threads, finite)
        if segmentation is not None:
            segmentation = self.labels.run(segmentation, shape, spacing, target, threads)
        return image, segmentation

    def _with_outside(self, image: Image, segmentation: npt.NDArray[Any] | None, threads: int) -> npt.NDArray[Any] | None:
        """A segmentation of shape 1XYZ that is -1 outside of the nonzero region; None where nothing looks at it.

        Holes of the region are filled. Outside of its bounding box all is zero, so that filling after the crop is the same.
        """
        if segmentation is None and not any(scheme.sees_mask for scheme in self.schemes):
            return None
        if segmentation is None:
            segmentation = np.zeros((1, *image.shape[1:]), np.int8)
        return mark_outside(segmentation, nonzero_mask(image, threads))
