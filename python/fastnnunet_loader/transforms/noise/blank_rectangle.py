"""BlankRectangleTransform."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...errors import NotSupportedError
from ..mapping import Attributes, NativeTransform, Parameters, is_whole, numbers, scalar, whole_interval

__all__ = ["NATIVE"]

# What a rectangle may be filled with, of the voxels that it hides.
_STATISTICS: dict[Any, str] = {
    torch.mean: "mean",
    torch.Tensor.mean: "mean",
    torch.median: "median",
    torch.Tensor.median: "median",
    torch.min: "minimum",
    torch.Tensor.min: "minimum",
    torch.amin: "minimum",
    torch.max: "maximum",
    torch.Tensor.max: "maximum",
    torch.amax: "maximum",
    np.median: "numpy_median",
}


def _compile(t: Any) -> Attributes:
    sizes, square = _sizes(t)
    number = t.num_rectangles
    statistic, value = _value(t.color_fn)
    return {
        "rectangle_size": sizes,
        "square": square,
        "rectangle_value": value,
        "statistic": statistic,
        "num_rectangles": [number, number] if is_whole(number) else list(whole_interval(number, name="num_rectangles")),
        "p_per_channel": float(t.p_per_channel),
    }


def _sizes(t: Any) -> tuple[list[list[int]], bool]:
    """The lowest and the highest size of each axis, or of all of them together."""
    size = t.rectangle_size
    if is_whole(size):
        return [[int(size)] * 2], True
    if not isinstance(size, (list, tuple)) or len(size) == 0:
        raise NotSupportedError(f"'rectangle_size' is {size!r}")
    if all(is_whole(s) for s in size):
        return [[int(s)] * 2 for s in size], False
    used = size[:1] if t.force_square else size
    return [list(whole_interval(s, name="rectangle_size")) for s in used], bool(t.force_square)


def _value(color: Any) -> tuple[str | None, Any]:
    """A statistic, or what the value is drawn from."""
    if type(color).__name__ != "ColorFunctionExtractor" or set(vars(color)) != {"rectangle_value"}:
        raise NotSupportedError(f"'color_fn' is {color!r}")
    value = color.rectangle_value
    if callable(value):
        for function, name in _STATISTICS.items():
            if value is function:
                return name, None
        raise NotSupportedError(f"'rectangle_value' is {getattr(value, '__name__', value)!r}, which looks at voxels")
    return None, scalar(value, _never, name="rectangle_value")


def _never(*_: Any) -> float:
    raise NotSupportedError("'rectangle_value' is a callable")


def _replay(t: Any, p: Parameters) -> Parameters:
    # batchgeneratorsv2 draws the values of a range while it applies; a trace that does not have them gets those of the seed.
    rectangles = [(c, r) for c, (on, of) in enumerate(zip(p["apply_channel"], p["rectangles"], strict=True)) if on for r in of]
    return {
        "apply_channel": numbers(p["apply_channel"]),
        "channels": [float(c) for c, _ in rectangles],
        "lower": [numbers(lower) for _, (lower, _) in rectangles],
        "upper": [numbers(upper) for _, (_, upper) in rectangles],
        "values": numbers(p.get("values")),
    }


NATIVE = (
    NativeTransform(
        name="BlankRectangleTransform",
        attributes="rectangle_size num_rectangles force_square p_per_channel color_fn",
        compile=_compile,
        replay=_replay,
    ),
)
