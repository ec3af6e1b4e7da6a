"""MoveSegAsOneHotToDataTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, no_parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "source_channel_idx": float(t.source_channel_idx),
        "all_labels": numbers(t.all_labels),
        "remove_channel_from_source": bool(t.remove_channel_from_source),
    }


NATIVE = (
    NativeTransform(
        name="MoveSegAsOneHotToDataTransform",
        attributes="source_channel_idx all_labels remove_channel_from_source",
        compile=_compile,
        replay=no_parameters,
    ),
)
