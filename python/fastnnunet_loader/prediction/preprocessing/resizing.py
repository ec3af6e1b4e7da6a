"""Which of a plan's resampling functions have a native counterpart, and with which arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nnunetv2.preprocessing.resampling import default_resampling

from ..originals.stand_ins import AsKnown

__all__ = ["Resizing", "function_name", "native_resizing"]

_TO_SHAPE = default_resampling.resample_data_or_seg_to_shape
_known = AsKnown(_TO_SHAPE)


@dataclass(frozen=True)
class Resizing:
    """The arguments of nnU-Net's `resample_data_or_seg_to_shape` that a plan gives."""

    is_seg: bool = False
    order: int = 3
    order_z: int = 0
    force_separate_z: bool | None = False
    separate_z_anisotropy_threshold: float = default_resampling.ANISO_THRESHOLD

    def axis(self, current_spacing: Sequence[float], new_spacing: Sequence[float]) -> int | None:
        """The axis of thick slices, which is resized on its own; None where there is none."""
        separate, axis = default_resampling.determine_do_sep_z_and_axis(
            self.force_separate_z, current_spacing, new_spacing, self.separate_z_anisotropy_threshold
        )
        return int(axis) if separate else None


def native_resizing(function: Callable[..., Any]) -> Resizing | None:
    """The arguments of a plan's resampling function (`configuration_manager.resampling_fn_...`) if it is native, else None."""
    if not isinstance(function, partial) or function.func is not _TO_SHAPE or function.args or not _known:
        return None
    try:
        resizing = Resizing(**function.keywords)
    except TypeError:
        return None
    if resizing.is_seg:
        native = resizing.order in (0, 1) and resizing.order_z == 0
    else:
        native = resizing.order in (0, 1, 3) and resizing.order_z in (0, 1, 3)
    return resizing if native else None


def function_name(function: Callable[..., Any]) -> str:
    """A resampling function with its arguments, as a plan has them, and what of it is not nnU-Net's."""
    if isinstance(function, partial):
        given = ", ".join(f"{name}={value!r}" for name, value in function.keywords.items())
        changed = f"; {', '.join(_known.changes)}" if function.func is _TO_SHAPE and not _known else ""
        return f"{function_name(function.func)}({given}){changed}"
    return getattr(function, "__name__", repr(function))
