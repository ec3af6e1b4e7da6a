"""LocalContrastTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, of_nothing, scalar
from .local_transform import ATTRIBUTES, kernel_attributes, replay_kernels

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return kernel_attributes(t) | {"new_contrast": scalar(t.new_contrast, of_nothing, name="new_contrast")}


def _replay(t: Any, p: Parameters) -> Parameters:
    return replay_kernels(p, "contrasts")


NATIVE = (
    NativeTransform(
        name="LocalContrastTransform",
        attributes=f"{ATTRIBUTES} new_contrast",
        compile=_compile,
        replay=_replay,
    ),
)
