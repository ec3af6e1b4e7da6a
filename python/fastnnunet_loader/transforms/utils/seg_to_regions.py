"""ConvertSegmentationToRegionsTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, no_parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {"regions": [numbers(region) for region in t.regions], "channel_in_seg": float(t.channel_in_seg)}


NATIVE = (
    NativeTransform(
        name="ConvertSegmentationToRegionsTransform",
        attributes="regions channel_in_seg",
        compile=_compile,
        replay=no_parameters,
    ),
)
