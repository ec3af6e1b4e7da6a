"""CutOffOutliersTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.intensity.random_clip import CutOffOutliersTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from images import brain
from parity import SHAPES, check, check_constant, check_image, check_values
from test_distributions import compare

import fastnnunet_loader as fl


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    "transform",
    [
        CutOffOutliersTransform((0, 5), (95, 100), False, 0.7, 0),
        CutOffOutliersTransform((5, 20), (60, 90), True, 1, 0),
        CutOffOutliersTransform(lambda: 10.0, 50, False, 1, 0),
        CutOffOutliersTransform(0, 100, False, 1, 0),
        CutOffOutliersTransform(70, 30, False, 1, 0),
    ],
)
def test_cut_off_outliers(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transform", [CutOffOutliersTransform((0, 5), (95, 100), False, 0.7, 0.5), CutOffOutliersTransform()])
def test_retained_deviation(transform: Any, shape: tuple[int, ...]) -> None:
    image, _ = brain(4, shape)
    image += np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)  # no channel has one value only
    for seed in range(3):
        check_image(transform, image, seed=seed)


@pytest.mark.parametrize("lower", [0, 30, 50, 100])
@pytest.mark.parametrize("count", [2, 3, 8, 1000])
def test_percentiles_of_mixed_signs_and_few_values(count: int, lower: float) -> None:
    values = np.random.default_rng(count).normal(size=(1, count, 1, 1)).astype(np.float32)
    values[0, 0] = 0
    check_image(CutOffOutliersTransform(lower, 100, False, 1, 0), values)
    check_image(CutOffOutliersTransform(lower, 100, False, 1, 0), np.round(values))


def test_constant_image() -> None:
    check_constant(CutOffOutliersTransform())


def test_a_channel_that_has_one_value_left_keeps_it() -> None:
    # batchgeneratorsv2 takes the rounding of torch's mean for a deviation of its own, and scales that to the old one.
    image = np.random.default_rng(0).normal(size=(1, 12, 13, 14)).astype(np.float32)
    transform = CutOffOutliersTransform(60, 60, False, 1, 1)
    out = fl.compile_transforms(transform)(image=image)["image"].numpy()
    assert np.all(out == out[0, 0, 0, 0])
    assert out[0, 0, 0, 0] == pytest.approx(np.quantile(image, 0.6))


@pytest.mark.filterwarnings("ignore:std\\(\\). degrees of freedom:UserWarning")
def test_one_voxel() -> None:
    check_image(CutOffOutliersTransform(), np.full((1, 1, 1, 1), 2.0, np.float32))


@pytest.mark.parametrize("retain", [0, 1])
@pytest.mark.parametrize("values", [[np.nan], [np.inf], [-np.inf], [np.inf] * 12, [-np.inf] * 12, [np.inf] * 11])
def test_values_that_are_not_finite(values: list[float], retain: int) -> None:
    check_values(CutOffOutliersTransform(1, 99, False, 1, retain), values)


def test_a_replay_refuses_what_does_not_fit() -> None:
    transform = CutOffOutliersTransform()
    pipeline = fl.compile_transforms(transform)
    image = np.zeros((2, 3, 4, 5), np.float32)
    for percentiles, pattern in [
        ([(1, 99)], "'apply_channel' for each of 2 channels, got 1"),
        ([(1, 99), (-1, 99)], "percentiles between 0 and 100, got -1"),
        ([(1, 99), (1, 101)], "percentiles between 0 and 100, got 101"),
    ]:
        with pytest.raises(fl.TransformError, match=rf"\[CutOffOutliersTransform\] expected {pattern}"):
            pipeline.replay([(transform, {"percentiles": percentiles, "retain_std": [True] * len(percentiles)})], image=image)
    with pytest.raises(fl.TransformError, match=r"percentiles between 0 and 100, got 120"):
        fl.compile_transforms(CutOffOutliersTransform(1, 120))(image=image)


@pytest.mark.parametrize("synchronize", [False, True])
def test_distributions(synchronize: bool) -> None:
    compare(
        ComposeTransforms([CutOffOutliersTransform((1, 5), (90, 99), synchronize, 0.6, 0.3)]), (3, 4, 5, 6), least_parameters=6
    )
