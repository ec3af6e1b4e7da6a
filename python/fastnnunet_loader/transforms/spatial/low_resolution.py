"""SimulateLowResolutionTransform."""

from __future__ import annotations

from typing import Any

from ...errors import NotSupportedError
from ..mapping import Attributes, NativeTransform, Parameters, as_list, meta, numbers, scalar

__all__ = ["NATIVE"]


_UPMODES = {1: "linear", 2: "bilinear", 3: "trilinear"}  # what batchgeneratorsv2 sets


def _compile(t: Any) -> Attributes:
    if t.upmodes != _UPMODES:
        raise NotSupportedError(f"'upmodes' is {t.upmodes!r}")

    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function(image=meta(shape), channel=channel, dim=axis))

    return {
        "scale": scalar(t.scale, draw, name="scale"),
        "synchronize_channels": bool(t.synchronize_channels),
        "synchronize_axes": bool(t.synchronize_axes),
        "ignore_axes": None if t.ignore_axes is None else numbers(as_list(t.ignore_axes)),
        "allowed_channels": None if t.allowed_channels is None else numbers(t.allowed_channels),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {
        "apply_to_channel": numbers(p["apply_to_channel"]),
        "scales": [float(s) for row in p["scales"] for s in row],
    }


NATIVE = (
    NativeTransform(
        name="SimulateLowResolutionTransform",
        attributes="scale synchronize_channels synchronize_axes ignore_axes allowed_channels p_per_channel upmodes",
        compile=_compile,
        replay=_replay,
    ),
)
