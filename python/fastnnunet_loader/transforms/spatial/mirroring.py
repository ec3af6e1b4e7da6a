"""MirrorTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {"allowed_axes": numbers(t.allowed_axes)}


def _replay(t: Any, p: Parameters) -> Parameters:
    return {"axes": numbers(p["axes"])}


NATIVE = (
    NativeTransform(
        name="MirrorTransform",
        attributes="allowed_axes",
        compile=_compile,
        replay=_replay,
    ),
)
