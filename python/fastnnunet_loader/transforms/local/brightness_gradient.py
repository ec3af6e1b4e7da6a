"""BrightnessGradientAdditiveTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, meta, scalar
from .local_transform import ATTRIBUTES, kernel_attributes, replay_kernels

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    def strength(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        # The kernel has no voxels yet either.
        return float(function(meta(shape), meta(shape[1:])))

    return kernel_attributes(t) | {
        "max_strength": scalar(t.max_strength, strength, name="max_strength"),
        "mean_centered": bool(t.mean_centered),
        "clip_intensities": bool(t.clip_intensities),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    # batchgeneratorsv2's kernels contain the strength; only those that are made anew need it.
    return replay_kernels(p, "strengths")


NATIVE = (
    NativeTransform(
        name="BrightnessGradientAdditiveTransform",
        attributes=f"{ATTRIBUTES} max_strength mean_centered clip_intensities",
        compile=_compile,
        replay=_replay,
    ),
)
