"""ApplyRandomBinaryOperatorTransform."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import NotSupportedError
from .mapping import Attributes, NativeTransform, Parameters, numbers, of_image_and_channel, scalar

__all__ = ["NATIVE"]


def _operator_codes(operators: Iterable[Any]) -> list[int]:
    from batchgeneratorsv2.transforms.nnunet import random_binary_operator as bgv2

    known = [
        bgv2.binary_dilation_torch,
        bgv2.binary_erosion_torch,
        bgv2.binary_closing_torch,
        bgv2.binary_opening_torch,
    ]
    codes = []
    for operator in operators:
        if operator not in known:
            raise NotSupportedError(f"'any_of_these' has {getattr(operator, '__name__', operator)!r}")
        codes.append(known.index(operator))
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
