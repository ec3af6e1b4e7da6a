"""InvertImageTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "p_invert_image": float(t.p_invert_image),
        "p_synchronize_channels": float(t.p_synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {"apply": bool(p["apply"]), "apply_to_channel": numbers(p["apply_to_channel"])}


NATIVE = (
    NativeTransform(
        name="InvertImageTransform",
        attributes="p_invert_image p_synchronize_channels p_per_channel",
        compile=_compile,
        replay=_replay,
    ),
)
