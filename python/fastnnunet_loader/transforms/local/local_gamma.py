"""LocalGammaTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, of_nothing, scalar
from .local_transform import ATTRIBUTES, kernel_attributes, replay_kernels

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return kernel_attributes(t) | {"gamma": scalar(t.gamma, of_nothing, name="gamma")}


def _replay(t: Any, p: Parameters) -> Parameters:
    return replay_kernels(p, "gammas")


NATIVE = (
    NativeTransform(
        name="LocalGammaTransform",
        attributes=f"{ATTRIBUTES} gamma",
        compile=_compile,
        replay=_replay,
    ),
)
