"""What the files of this folder share: how attributes and recorded parameters become the native ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .. import _core
from ..errors import NotSupportedError
from ..known import changed
from .python import scalar_function

__all__ = [
    "Attributes",
    "NativeTransform",
    "Parameters",
    "as_list",
    "chosen_channels",
    "interval",
    "is_whole",
    "meta",
    "no_attributes",
    "no_parameters",
    "numbers",
    "of_image_and_channel",
    "of_nothing",
    "replay_multipliers",
    "scalar",
    "whole_interval",
]

Attributes = dict[str, Any]
Parameters = dict[str, Any]


@dataclass(frozen=True)
class NativeTransform:
    """How one class of batchgeneratorsv2 is compiled."""

    name: str  # of the class
    attributes: str  # of its instances, separated by spaces: an object with others is not understood
    compile: Callable[[Any], Attributes]  # raises NotSupportedError with the reason
    replay: Callable[[Any, Parameters], Parameters]


def meta(shape: tuple[int, ...]) -> torch.Tensor:
    """Stands for an image: a callable may ask for its shape, but parameters are drawn before there are voxels."""
    return torch.empty(shape, device="meta")


def scalar(value: Any, draw: Callable[..., float], *, name: str, **more: float) -> _core.Scalar:
    """`draw(callable, shape, channel, axis)` calls it as its transform would. `more`: what else the core gives, to try it."""
    if isinstance(value, (bool, np.bool_)) or value is None:
        raise NotSupportedError(f"'{name}' is {value!r}")
    if isinstance(value, (int, float, np.integer, np.floating)):
        return _core.Scalar.constant(float(value))
    if isinstance(value, (list, tuple)):
        if len(value) != 2 or not value[0] <= value[1]:
            raise NotSupportedError(f"'{name}' is {value!r}")
        return _core.Scalar.range(float(value[0]), float(value[1]))
    if not callable(value):
        raise NotSupportedError(f"'{name}' is {value!r}")
    if (bounds := _bounds_of_contrast(value)) is not None:
        return _core.Scalar.contrast(*bounds)

    def call(shape: tuple[int, ...], channel: int | None, axis: int | None, **more: float) -> float:
        return draw(value, shape, channel, axis, **more)

    function = scalar_function(call)
    try:
        function((1, 8, 8, 8), 0, 0, 0, **more)
    except Exception as error:
        raise NotSupportedError(f"'{name}' looks at more than the image's shape ({type(error).__name__}: {error})") from error
    return _core.Scalar.callable(function)


def _bounds_of_contrast(value: Any) -> tuple[float, float] | None:
    """Of a BGContrast, which nnU-Net passes as it is, or of one of its two methods, which others pass.

    Its code has to be what the core does; what it is otherwise is called like any function.
    """
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast

    contrast = getattr(value, "__self__", value)
    if type(contrast) is not BGContrast or callable(contrast.contrast_range) or changed(contrast):
        return None
    if value is not contrast and (value.__name__ not in ("sample_contrast", "__call__") or changed(value)):
        return None
    low, high = contrast.contrast_range
    return float(low), float(high)


def interval(value: Any, *, name: str) -> tuple[float, float]:
    """The bounds of what a transform draws with numpy.random.uniform(*value)."""
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(_is_number(v) for v in value):
        raise NotSupportedError(f"'{name}' is {value!r}")
    if not value[0] <= value[1]:
        raise NotSupportedError(f"'{name}' is {value!r}")
    return float(value[0]), float(value[1])


def whole_interval(value: Any, *, name: str) -> tuple[int, int]:
    """The lowest and the highest number that a transform draws with numpy.random.randint(*value)."""
    low, high = interval(value, name=name)
    if low != int(low) or high != int(high) or low == high:
        raise NotSupportedError(f"'{name}' is {value!r}")
    return int(low), int(high) - 1


def is_whole(value: Any) -> bool:
    """Whether batchgeneratorsv2 takes it for a whole number: an int, not NumPy's."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def of_image_and_channel(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
    """Calls a callable scalar as most intensity transforms do."""
    return float(function(image=meta(shape), channel=channel))


def of_nothing(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
    """Calls a callable scalar that is told nothing."""
    return float(function())


def numbers(values: Iterable[Any] | None) -> list[float]:
    """A list of floats; empty for None."""
    return [] if values is None else [float(v) for v in values]


def chosen_channels(mask: Any) -> list[int]:
    """The numbers of the channels that a mask of bool marks."""
    return [int(c) for c in torch.as_tensor(mask).nonzero().flatten()]


def as_list(value: Any) -> list[Any]:
    """Several values as a list; one value as a list of one."""
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]


def no_parameters(transform: Any, parameters: Parameters) -> Parameters:
    """For a transform that leaves nothing to chance."""
    return {}


def no_attributes(t: Any) -> Attributes:
    """For a transform without settings."""
    return {}


def replay_multipliers(t: Any, p: Parameters) -> Parameters:
    """For transforms that scale the chosen channels."""
    return {"apply_to_channel": numbers(p["apply_to_channel"]), "multipliers": numbers(p["multipliers"])}
