"""GaussianBlurTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, chosen_channels, scalar

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    # `benchmark` chooses between two convolutions that give the same.
    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        if t.synchronize_channels and not t.synchronize_axes and axis is not None:
            return float(function(shape[axis + 1]))
        return float(function(shape, dim=None if axis is None else axis + 1))

    return {
        "blur_sigma": scalar(t.blur_sigma, draw, name="blur_sigma"),
        "synchronize_channels": bool(t.synchronize_channels),
        "synchronize_axes": bool(t.synchronize_axes),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    channels = chosen_channels(p["apply_to_channel"])
    rows = [p["sigmas"]] * len(channels) if t.synchronize_channels else p["sigmas"]
    return {"apply_to_channel": channels, "sigmas": [float(s) for row in rows for s in row]}


NATIVE = (
    NativeTransform(
        name="GaussianBlurTransform",
        attributes=(
            "blur_sigma synchronize_channels synchronize_axes p_per_channel benchmark benchmark_use_fft benchmark_num_runs"
        ),
        compile=_compile,
        replay=_replay,
    ),
)
