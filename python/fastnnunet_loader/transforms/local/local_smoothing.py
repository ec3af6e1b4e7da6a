"""LocalSmoothingTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, of_nothing, scalar
from .local_transform import ATTRIBUTES, kernel_attributes, replay_kernels

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return kernel_attributes(t) | {
        "smoothing_strength": scalar(t.smoothing_strength, of_nothing, name="smoothing_strength"),
        "kernel_size": scalar(t.kernel_size, of_nothing, name="kernel_size"),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    sigma = p["sigma"]
    return replay_kernels(p, "strengths") | {"sigma": None if sigma is None else float(sigma)}


NATIVE = (
    NativeTransform(
        name="LocalSmoothingTransform",
        attributes=f"{ATTRIBUTES} smoothing_strength kernel_size",
        compile=_compile,
        replay=_replay,
    ),
)
