"""InvertImageTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from parity import SHAPES, check, check_constant, check_values
from test_distributions import compare

import fastnnunet_loader as fl


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("transform", [InvertImageTransform(1), InvertImageTransform(0.7, 0.5, 0.5)])
def test_invert_image(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


def test_constant_image() -> None:
    check_constant(InvertImageTransform(1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value: float) -> None:
    check_values(InvertImageTransform(1), [value])


def test_a_replay_refuses_a_channel_that_is_not_there() -> None:
    transform = InvertImageTransform(1)
    with pytest.raises(fl.TransformError, match=r"\[InvertImageTransform\] expected 'apply_to_channel' below 2, got 2"):
        fl.compile_transforms(transform).replay(
            [(transform, {"apply": True, "apply_to_channel": [2]})], image=np.zeros((2, 3, 4, 5), np.float32)
        )


def test_distributions() -> None:
    compare(ComposeTransforms([InvertImageTransform(0.6, 0.3, 0.4)]), (3, 4, 5, 6), least_parameters=3)
