"""Rot90Transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..mapping import Attributes, NativeTransform, Parameters, numbers, of_nothing, scalar

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    turns = t.num_rot_per_combination
    # np.random.choice takes a number for a range.
    turns = range(int(turns)) if isinstance(turns, (int, np.integer)) else [int(turn) for turn in turns]
    return {
        "num_axis_combinations": scalar(t.num_axis_combinations, of_nothing, name="num_axis_combinations"),
        "num_rot_per_combination": numbers(turns),
        "allowed_axes": numbers(t.allowed_axes),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    return {
        "num_rot_per_combination": numbers(p["num_rot_per_combination"]),
        "axis_combinations": [numbers(pair) for pair in p["axis_combinations"]],
    }


NATIVE = (
    NativeTransform(
        name="Rot90Transform",
        attributes="num_axis_combinations num_rot_per_combination allowed_axes",
        compile=_compile,
        replay=_replay,
    ),
)
