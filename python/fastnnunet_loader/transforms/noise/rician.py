"""RicianNoiseTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, interval

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {"noise_variance": list(interval(t.noise_variance, name="noise_variance"))}


def _replay(t: Any, p: Parameters) -> Parameters:
    return {"variance": float(p["variance"])}


NATIVE = (
    NativeTransform(
        name="RicianNoiseTransform",
        attributes="noise_variance",
        compile=_compile,
        replay=_replay,
    ),
)
