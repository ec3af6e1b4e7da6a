"""BrightnessAdditiveTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "mu": float(t.mu),
        "sigma": float(t.sigma),
        "synchronize_channels": bool(t.synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {"apply_to_channel": numbers(p["apply_to_channel"]), "shift": numbers(p["shift"])}


NATIVE = (
    NativeTransform(
        name="BrightnessAdditiveTransform",
        attributes="mu sigma synchronize_channels p_per_channel",
        compile=_compile,
        replay=_replay,
    ),
)
