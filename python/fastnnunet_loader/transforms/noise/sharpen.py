"""SharpeningTransform."""

from __future__ import annotations

from typing import Any

from ... import _core
from ..mapping import Attributes, NativeTransform, Parameters, interval, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    # A whole number would be taken for a pair.
    if isinstance(t.strength, float):
        strength = _core.Scalar.constant(t.strength)
    else:
        strength = _core.Scalar.range(*interval(t.strength, name="strength"))
    return {
        "strength": strength,
        "p_same_for_each_channel": float(t.p_same_for_each_channel),
        "p_per_channel": float(t.p_per_channel),
        "p_clamp_intensities": float(t.p_clamp_intensities),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {
        "apply_channel": numbers(p["apply_channel"]),
        "strengths": numbers(p["strengths"]),
        "clamp_intensities": numbers(p["clamp_intensities"]),
    }


NATIVE = (
    NativeTransform(
        name="SharpeningTransform",
        attributes="strength p_same_for_each_channel p_per_channel p_clamp_intensities",
        compile=_compile,
        replay=_replay,
    ),
)
