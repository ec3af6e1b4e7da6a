"""MoveChannelsTransform."""

from __future__ import annotations

from typing import Any

from ...errors import NotSupportedError
from ..mapping import Attributes, NativeTransform, no_parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    for name in ("source_key", "target_key"):
        if getattr(t, name) not in ("image", "segmentation"):
            raise NotSupportedError(f"'{name}' is {getattr(t, name)!r}")
    return {"channel_ids": numbers(t.channel_ids), "source_key": t.source_key, "target_key": t.target_key}


NATIVE = (
    NativeTransform(
        name="MoveChannelsTransform",
        attributes="channel_ids source_key target_key",
        compile=_compile,
        replay=no_parameters,
    ),
)
