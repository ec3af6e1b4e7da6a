"""GammaTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, numbers, of_image_and_channel, scalar

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "gamma": scalar(t.gamma, of_image_and_channel, name="gamma"),
        "p_invert_image": float(t.p_invert_image),
        "synchronize_channels": bool(t.synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
        "p_retain_stats": float(t.p_retain_stats),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {
        "apply_to_channel": numbers(p["apply_to_channel"]),
        "retain_stats": numbers(p["retain_stats"]),
        "invert_image": numbers(p["invert_image"]),
        "gamma": numbers(p["gamma"]),
    }


NATIVE = (
    NativeTransform(
        name="GammaTransform",
        attributes="gamma p_invert_image synchronize_channels p_per_channel p_retain_stats",
        compile=_compile,
        replay=_replay,
    ),
)
