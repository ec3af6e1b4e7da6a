"""ContrastTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, of_image_and_channel, replay_multipliers, scalar

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "contrast_range": scalar(t.contrast_range, of_image_and_channel, name="contrast_range"),
        "preserve_range": bool(t.preserve_range),
        "synchronize_channels": bool(t.synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
    }


NATIVE = (
    NativeTransform(
        name="ContrastTransform",
        attributes="contrast_range preserve_range synchronize_channels p_per_channel",
        compile=_compile,
        replay=replay_multipliers,
    ),
)
