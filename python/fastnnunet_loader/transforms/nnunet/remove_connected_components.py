"""RemoveRandomConnectedComponentFromOneHotEncodingTransform."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, NativeTransform, Parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "channel_idx": numbers(sorted(t.channel_idx)),
        "fill_with_other_class_p": float(t.fill_with_other_class_p),
        "dont_do_if_covers_more_than_x_percent": float(t.dont_do_if_covers_more_than_x_percent),
        "p_per_label": float(t.p_per_label),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    # batchgeneratorsv2 draws the component and the class that fills it while it applies; a trace that does not have them
    # gets the first component and no filling.
    channels = numbers(p["apply_to_channels"])
    none = [0.0] * len(channels)
    return {
        "apply_to_channels": channels,
        "component_u": numbers(p.get("component_u", none)),
        "fill": numbers(p.get("fill", none)),
        "other_u": numbers(p.get("other_u", none)),
    }


NATIVE = (
    NativeTransform(
        name="RemoveRandomConnectedComponentFromOneHotEncodingTransform",
        attributes="channel_idx fill_with_other_class_p dont_do_if_covers_more_than_x_percent p_per_label",
        compile=_compile,
        replay=_replay,
    ),
)
