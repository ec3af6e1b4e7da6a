"""MedianFilterTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, is_whole, numbers, whole_interval

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    size = t.filter_size
    return {
        "filter_size": [size, size] if is_whole(size) else list(whole_interval(size, name="filter_size")),
        "p_same_for_each_channel": float(t.p_same_for_each_channel),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {"apply_channel": numbers(p["apply_channel"]), "filter_sizes": numbers(p["filter_sizes"])}


NATIVE = (
    NativeTransform(
        name="MedianFilterTransform",
        attributes="filter_size p_same_for_each_channel p_per_channel",
        compile=_compile,
        replay=_replay,
    ),
)
