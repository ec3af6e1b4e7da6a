"""GaussianNoiseTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, chosen_channels, meta, numbers, scalar

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function(meta(shape)))

    return {
        "noise_variance": scalar(t.noise_variance, draw, name="noise_variance"),
        "p_per_channel": float(t.p_per_channel),
        "synchronize_channels": bool(t.synchronize_channels),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    channels = chosen_channels(p["apply_mask"])
    sigmas = p["sigmas"]
    values = numbers(sigmas) if isinstance(sigmas, (list, tuple)) else [float(sigmas or 0)] * len(channels)
    return {"apply_to_channel": channels, "sigmas": values}


NATIVE = (
    NativeTransform(
        name="GaussianNoiseTransform",
        attributes="noise_variance p_per_channel synchronize_channels",
        compile=_compile,
        replay=_replay,
    ),
)
