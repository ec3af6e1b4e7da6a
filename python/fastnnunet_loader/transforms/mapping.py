"""What the files of this folder share: how attributes and recorded parameters become the native ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .. import _core
from ..errors import NotSupportedError
from ..fallback import scalar_function

__all__ = [
    "Attributes",
    "NativeTransform",
    "Parameters",
    "as_list",
    "chosen_channels",
    "meta",
    "no_attributes",
    "no_parameters",
    "numbers",
    "of_image_and_channel",
    "of_nothing",
    "replay_multipliers",
    "scalar",
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
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast

    contrast = getattr(value, "__self__", value)  # nnU-Net passes the object, others its method
    if type(contrast) is BGContrast and not callable(contrast.contrast_range):
        low, high = contrast.contrast_range
        return _core.Scalar.contrast(float(low), float(high))

    def call(shape: tuple[int, ...], channel: int | None, axis: int | None, **more: float) -> float:
        return draw(value, shape, channel, axis, **more)

    function = scalar_function(call)
    try:
        function((1, 8, 8, 8), 0, 0, 0, **more)
    except Exception as error:
        raise NotSupportedError(f"'{name}' looks at more than the image's shape ({type(error).__name__}: {error})") from error
    return _core.Scalar.callable(function)


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
