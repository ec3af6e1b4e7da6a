"""CutOffOutliersTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, numbers, scalar

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function())

    return {
        "percentile_lower": scalar(t.percentile_lower, draw, name="percentile_lower"),
        "percentile_upper": scalar(t.percentile_upper, draw, name="percentile_upper"),
        "p_synchronize_channels": bool(t.p_synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
        "p_retain_std": float(t.p_retain_std),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    pairs = p["percentiles"]
    return {
        "apply_channel": [float(pair is not None) for pair in pairs],
        "lower": [0.0 if pair is None else float(pair[0]) for pair in pairs],
        "upper": [0.0 if pair is None else float(pair[1]) for pair in pairs],
        "retain_std": numbers(p["retain_std"]),
    }


NATIVE = (
    NativeTransform(
        name="CutOffOutliersTransform",
        attributes="percentile_lower percentile_upper p_synchronize_channels p_per_channel p_retain_std",
        compile=_compile,
        replay=_replay,
    ),
)
