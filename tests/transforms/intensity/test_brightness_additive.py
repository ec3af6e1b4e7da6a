"""BrightnessAdditiveTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from parity import SHAPES, check, check_constant, check_values
from test_distributions import compare

import fastnnunet_loader as fl


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    "transform",
    [
        BrightnessAdditiveTransform(0, 0.5, False, 0.5),
        BrightnessAdditiveTransform(-1, 0.5, True, 0.7),
        BrightnessAdditiveTransform(2, 2, True, 1),
    ],
)
def test_brightness_additive(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


def test_constant_image() -> None:
    check_constant(BrightnessAdditiveTransform(0, 0.5, False, 1))


def test_values_that_are_not_finite() -> None:
    check_values(BrightnessAdditiveTransform(0, 0.5, False, 1), [np.nan, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (BrightnessAdditiveTransform(1, 0.5, True), "'sigma' of at least 'mu' where 'synchronize_channels' is set"),
        (BrightnessAdditiveTransform(0, -0.5, False), "'sigma' of at least 0"),
    ],
)
def test_what_batchgeneratorsv2_fails_on_is_named(transform: Any, reason: str) -> None:
    assert reason in fl.compile_transforms(transform).fallbacks[0]


def test_a_replay_refuses_another_number_of_shifts() -> None:
    transform = BrightnessAdditiveTransform(0, 1, False)
    pattern = r"\[BrightnessAdditiveTransform\] expected 'shift' for each of 2 channels, got 3"
    with pytest.raises(fl.TransformError, match=pattern):
        fl.compile_transforms(transform).replay(
            [(transform, {"apply_to_channel": [0], "shift": [1, 2, 3]})], image=np.zeros((2, 3, 4, 5), np.float32)
        )


@pytest.mark.parametrize("synchronize", [False, True])
def test_distributions(synchronize: bool) -> None:
    compare(ComposeTransforms([BrightnessAdditiveTransform(0.2, 0.7, synchronize, 0.4)]), (3, 4, 5, 6), least_parameters=4)
