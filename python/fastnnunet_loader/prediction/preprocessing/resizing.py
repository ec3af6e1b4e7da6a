"""Which of a plan's resampling functions have a native counterpart, and with which arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nnunetv2.preprocessing.resampling import default_resampling

from ..originals.stand_ins import AsKnown
from .shapes import Resizing

__all__ = ["Resizing", "function_name", "native_resizing"]

_TO_SHAPE = default_resampling.resample_data_or_seg_to_shape
_known = AsKnown(_TO_SHAPE)


def native_resizing(function: Callable[..., Any]) -> Resizing | None:
    """The arguments of a plan's resampling function (`configuration_manager.resampling_fn_...`) if it is native, else None."""
    if not isinstance(function, partial) or function.func is not _TO_SHAPE or function.args or not _known:
        return None
    threshold = {"separate_z_anisotropy_threshold": default_resampling.ANISO_THRESHOLD}
    try:
        resizing = Resizing(**{**threshold, **function.keywords})
    except TypeError:
        return None
    return resizing if resizing.native else None


def function_name(function: Callable[..., Any]) -> str:
    """A resampling function with its arguments, as a plan has them, and what of it is not nnU-Net's."""
    if isinstance(function, partial):
        given = ", ".join(f"{name}={value!r}" for name, value in function.keywords.items())
        changed = f"; {', '.join(_known.changes)}" if function.func is _TO_SHAPE and not _known else ""
        return f"{function_name(function.func)}({given}){changed}"
    return getattr(function, "__name__", repr(function))
