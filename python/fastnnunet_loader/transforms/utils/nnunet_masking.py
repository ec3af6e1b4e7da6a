"""MaskImageTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, no_parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "apply_to_channels": numbers(t.apply_to_channels),
        "channel_idx_in_seg": float(t.channel_idx_in_seg),
        "set_outside_to": float(t.set_outside_to),
    }


NATIVE = (
    NativeTransform(
        name="MaskImageTransform",
        attributes="apply_to_channels channel_idx_in_seg set_outside_to",
        compile=_compile,
        replay=no_parameters,
    ),
)
