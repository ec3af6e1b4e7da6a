"""RemoveLabelTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, no_parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    channels = t.segmentation_channels
    return {
        "label_value": float(t.label_value),
        "set_to": float(t.set_to),
        "segmentation_channels": None if channels is None else numbers(channels),
    }


NATIVE = (
    NativeTransform(
        name="RemoveLabelTransform",
        attributes="segmentation_channels label_value set_to",
        compile=_compile,
        replay=no_parameters,
    ),
)
