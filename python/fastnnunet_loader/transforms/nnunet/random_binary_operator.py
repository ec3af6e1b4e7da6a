"""ApplyRandomBinaryOperatorTransform."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import NotSupportedError
from ...known import changed
from ..mapping import Attributes, NativeTransform, Parameters, numbers, of_image_and_channel, scalar

__all__ = ["NATIVE"]


_MODULE = "batchgeneratorsv2.transforms.nnunet.random_binary_operator"
_OPERATORS = ("binary_dilation_torch", "binary_erosion_torch", "binary_closing_torch", "binary_opening_torch")


def _operator_codes(operators: Iterable[Any]) -> list[int]:
    codes = []
    for operator in operators:
        name = getattr(operator, "__name__", repr(operator))
        if getattr(operator, "__module__", None) != _MODULE or name not in _OPERATORS or changed(operator):
            raise NotSupportedError(f"'any_of_these' has {name!r}")
        codes.append(_OPERATORS.index(name))
    return codes


def _compile(t: Any) -> Attributes:
    return {
        "channel_idx": numbers(sorted(t.channel_idx)),
        "operators": _operator_codes(t.any_of_these),
        "strel_size": scalar(t.strel_size, of_image_and_channel, name="strel_size"),
        "p_per_label": float(t.p_per_label),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {
        "apply_to_channels": numbers(p["apply_to_channels"]),
        "operators": _operator_codes(p["operators"]),
        "strel_size": numbers(p["strel_size"]),
    }


NATIVE = (
    NativeTransform(
        name="ApplyRandomBinaryOperatorTransform",
        attributes="channel_idx any_of_these strel_size p_per_label",
        compile=_compile,
        replay=_replay,
    ),
)
