"""MedianFilterTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from images import brain
from parity import SHAPES, check, check_constant, check_image, check_values
from test_distributions import compare

import fastnnunet_loader as fl


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transform", [MedianFilterTransform((2, 8), 0, 0.7), MedianFilterTransform((2, 4), 1)])
def test_median_filter(transform: Any, shape: tuple[int, ...]) -> None:
    check(transform, shape, 3)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("shape", [(7, 12, 9), (1, 3, 40), (5, 1, 2), (30, 31), (1, 6), (6, 1)])
def test_every_size_is_scipys_to_the_bit(shape: tuple[int, ...], size: int) -> None:
    image, _ = brain(1, shape, seed=size)
    check_image(MedianFilterTransform(size), image, exact=True)
    # Many equal values.
    check_image(MedianFilterTransform(size), np.round(image), exact=True)


@pytest.mark.parametrize(("shape", "size"), [((3, 4, 300), 4), ((70, 60, 70), 3), ((40, 41, 43), 6), ((300, 310), 9)])
def test_several_tiles(shape: tuple[int, ...], size: int) -> None:
    image = np.random.default_rng(size).normal(size=(1, *shape)).astype(np.float32)
    check_image(MedianFilterTransform(size), image, exact=True)


def test_a_window_above_the_size_of_a_tile() -> None:
    # Such windows, many times as large as the image, are not what scipy computes rightly.
    size, image = 45, np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    padded = np.pad(image, (size // 2, size // 2), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size, size)).reshape(*image.shape, -1)
    expected = np.sort(windows, axis=-1)[..., size**3 // 2]
    out = fl.compile_transforms(MedianFilterTransform(size))(image=image[None])["image"]
    assert np.array_equal(out.numpy()[0], expected)


def test_constant_image() -> None:
    check_constant(MedianFilterTransform(3))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("shape", [(9, 10, 11), (12, 13)])
@pytest.mark.parametrize("values", [[np.nan], [np.nan] * 40, [np.inf] * 20, [np.inf, -np.inf, np.nan]])
def test_values_that_are_not_finite(values: list[float], shape: tuple[int, ...], size: int) -> None:
    check_values(MedianFilterTransform(size), values, shape)


def test_a_replay_refuses_what_does_not_fit() -> None:
    transform = MedianFilterTransform((2, 8))
    pipeline = fl.compile_transforms(transform)
    for parameters, pattern in [
        ({"apply_channel": [True], "filter_sizes": [3, 3]}, "'apply_channel' for each of 2 channels, got 1"),
        ({"apply_channel": [True] * 2, "filter_sizes": [3]}, "'filter_sizes' for each of 2 channels, got 1"),
        ({"apply_channel": [True] * 2, "filter_sizes": [3, 0]}, "a filter size between 1 and 100, got 0"),
    ]:
        with pytest.raises(fl.TransformError, match=rf"\[MedianFilterTransform\] expected {pattern}"):
            pipeline.replay([(transform, parameters)], image=np.zeros((2, 3, 4, 5), np.float32))


@pytest.mark.parametrize("size", [0, -3, (0, 3), (3, 3), 3.0, (2.5, 4)])
def test_sizes_that_scipy_refuses_are_named(size: Any) -> None:
    pipeline = fl.compile_transforms(MedianFilterTransform(size))
    assert not pipeline.all_native
    assert "size" in pipeline.fallbacks[0]


@pytest.mark.parametrize("same", [0, 0.4, 1])
def test_distributions(same: float) -> None:
    compare(ComposeTransforms([MedianFilterTransform((2, 8), same, 0.6)]), (2, 2, 3), least_parameters=4)
