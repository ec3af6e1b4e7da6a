"""BrightnessGradientAdditiveTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from local_kernels import check_both_ways, check_everywhere, check_refusals, compare_draws

import fastnnunet_loader as fl

TRANSFORMS = [
    BrightnessGradientAdditiveTransform((4, 20), (0, 1), (-2, 5), True, True, False, 1),
    BrightnessGradientAdditiveTransform((1, 9), (-1, 2), (1, 2), False, False, False, 0.7),
    BrightnessGradientAdditiveTransform((1, 9), (-1, 2), (-5, -2), False, True, True, 0.7),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_brightness_gradient_additive(transform: Any) -> None:
    check_everywhere(transform, "hidden")


def test_scale_of_zero_makes_nan() -> None:
    with np.errstate(all="ignore"):
        check_both_ways(BrightnessGradientAdditiveTransform(-1.0), (5, 6, 7), 2, "hidden")
        for clip in (False, True):
            check_both_ways(BrightnessGradientAdditiveTransform(0, clip_intensities=clip), (5, 6), 2, "hidden")


def test_clipping_spreads_nan_even_where_nothing_is_drawn() -> None:
    transform = BrightnessGradientAdditiveTransform(3, clip_intensities=True, p_per_channel=0)
    image = np.ones((2, 4, 5, 6), np.float32)
    image[1, 2, 3, 4] = np.nan
    assert transform(image=torch.from_numpy(image.copy()))["image"].isnan().all()
    assert fl.compile_transforms(transform)(image=image)["image"].isnan().all()


@pytest.mark.parametrize("transform", TRANSFORMS[:2])
def test_draws(transform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compare_draws(monkeypatch, transform, "hidden")


def test_kernels_that_nothing_is_left_of_are_not_drawn() -> None:
    far = BrightnessGradientAdditiveTransform(1, 40.0)
    none = BrightnessGradientAdditiveTransform(3, 0.5, 0.0, False)
    for transform in (far, none):
        assert transform.get_parameters(image=torch.ones(2, 5, 6))["kernels"] == [None, None]
        assert fl.compile_transforms(transform).draw((2, 5, 6))[0][1]["apply_to_channel"] == []


def test_refusals() -> None:
    check_refusals(TRANSFORMS[0], "strengths")


def test_a_strength_that_looks_at_voxels_runs_in_python() -> None:
    looking = BrightnessGradientAdditiveTransform(3, max_strength=lambda image, kernel: float(image.std()))
    assert not fl.compile_transforms(looking).all_native
    blind = BrightnessGradientAdditiveTransform(3, max_strength=lambda image, kernel: 1.0)
    assert fl.compile_transforms(blind).all_native
