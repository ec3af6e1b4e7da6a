"""Sizes after resizing, and thick slices, by nnU-Net's rules: without nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ANISOTROPY", "Resizing", "new_shape", "thick_axis"]

ANISOTROPY = 3.0
"""Slices are thick if the largest spacing is more than this many times the smallest: nnU-Net's ANISO_THRESHOLD."""


def new_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> list[int]:
    """Return the size along each axis after resizing to another spacing in mm, as nnU-Net's `compute_new_shape` does."""
    return [round(float(old) / float(new) * int(size)) for old, new, size in zip(spacing, target, shape, strict=True)]


def thick_axis(
    force: bool | None, spacing: Sequence[float], target: Sequence[float], threshold: float = ANISOTROPY
) -> int | None:
    """Return the axis of thick slices, which is resized on its own; None if there is none.

    As nnU-Net's `determine_do_sep_z_and_axis`. force: None looks whether one of the spacings is anisotropic.
    """
    if force is False:
        return None
    of = spacing if force or max(spacing) / min(spacing) > threshold else target
    if not force and max(of) / min(of) <= threshold:
        return None
    thick = [axis for axis, size in enumerate(of) if max(of) / size == 1]
    return thick[0] if len(thick) == 1 else None


@dataclass(frozen=True)
class Resizing:
    """The arguments of nnU-Net's `resample_data_or_seg_to_shape` that a plan gives."""

    is_seg: bool = False
    order: int = 3
    order_z: int = 0
    force_separate_z: bool | None = False
    separate_z_anisotropy_threshold: float = ANISOTROPY

    @property
    def native(self) -> bool:
        """Whether it has a native counterpart."""
        if self.is_seg:
            return self.order in (0, 1) and self.order_z == 0
        return self.order in (0, 1, 3) and self.order_z in (0, 1, 3)

    def axis(self, current_spacing: Sequence[float], new_spacing: Sequence[float]) -> int | None:
        """The axis of thick slices, which is resized on its own; None where there is none."""
        return thick_axis(self.force_separate_z, current_spacing, new_spacing, self.separate_z_anisotropy_threshold)
