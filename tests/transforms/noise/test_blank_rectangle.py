"""BlankRectangleTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from comparing import assert_images_agree
from images import brain
from parity import check, check_constant, check_values
from recording import apply_recorded
from scipy.stats import kstest
from test_distributions import LEAST_P, compare

import fastnnunet_loader as fl

SHAPES = [(29, 34, 31), (8, 33, 64), (1, 40, 41), (37, 42)]
STATISTICS = [
    torch.mean, torch.median, torch.min, torch.max, torch.amin, torch.amax, torch.Tensor.mean, torch.Tensor.median,
    torch.Tensor.min, torch.Tensor.max, np.median,
]  # fmt: skip


def largest(shape: tuple[int, ...], part: int = 2) -> list[list[int]]:
    """nnU-Net's choice: a range for each axis."""
    return [[1, max(2, n // part)] for n in shape]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("value", [torch.mean, 0.25, -1])
def test_blank_rectangle(value: Any, shape: tuple[int, ...], channels: int) -> None:
    transform = BlankRectangleTransform(largest(shape), value, (1, 5), p_per_channel=0.7)
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistics(statistic: Any) -> None:
    # Many, so that later ones see what earlier ones left.
    transform = BlankRectangleTransform(largest((14, 15, 16), 3), statistic, 30)
    check(transform, (14, 15, 16), 2)
    check_constant(BlankRectangleTransform(3, statistic, 2))


@pytest.mark.parametrize("statistic", [torch.mean, torch.median, torch.max, np.median])
@pytest.mark.parametrize("values", [[np.nan] * 3, [np.inf, -np.inf], [np.inf] * 20])
def test_values_that_are_not_finite(values: list[float], statistic: Any) -> None:
    check_values(BlankRectangleTransform(6, statistic, 4), values)


@pytest.mark.parametrize(
    ("size", "square"), [(5, False), (3, True), ((2, 3, 4), False), ((2, 3, 4), True), (((2, 5), (3, 4), (1, 6)), True)]
)
def test_sizes(size: Any, square: bool) -> None:
    check(BlankRectangleTransform(size, torch.mean, (0, 4), square, 0.8), (9, 10, 11), 2)


def test_values_that_are_drawn_while_it_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = BlankRectangleTransform(largest((20, 21, 22)), (-1.0, 2.0), (2, 5), p_per_channel=0.8)
    image, _ = brain(3, (20, 21, 22))
    drawn: list[float] = []
    uniform = np.random.uniform

    def noting(low: float, high: float) -> float:
        drawn.append(uniform(low, high))
        return drawn[-1]

    monkeypatch.setattr(np.random, "uniform", noting)
    expected, trace = apply_recorded(transform, image, None, 4)
    assert len(drawn) == sum(len(r) for r in trace[0][1]["rectangles"]) > 3
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native
    without = pipeline.replay(trace, image=image, seed=1)["image"]
    trace[0][1]["values"] = drawn
    assert_images_agree(pipeline.replay(trace, image=image)["image"], expected["image"])
    # A trace that does not have them gets the seed's, in the same places.
    assert torch.equal(without == torch.from_numpy(image), expected["image"] == torch.from_numpy(image))
    assert torch.equal(without, pipeline.replay([(transform, _without(trace, "values"))], image=image, seed=1)["image"])
    assert not torch.equal(without, pipeline.replay([(transform, _without(trace, "values"))], image=image, seed=2)["image"])


def _without(trace: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in trace[0][1].items() if key != name}


def test_values_of_a_range_are_uniform() -> None:
    transform = BlankRectangleTransform(2, (-1.0, 2.0), 3)
    pipeline = fl.compile_transforms(transform)
    values = [v for step in range(400) for _, p in pipeline.draw((2, 5, 6, 7), seed=2, step=step) for v in p["values"]]
    assert len(values) == 2400
    assert kstest(values, "uniform", args=(-1, 3)).pvalue > LEAST_P


def test_a_rectangle_larger_than_the_image_fails_as_in_batchgeneratorsv2() -> None:
    transform = BlankRectangleTransform((3, 4, 8), 0, 1)
    image = np.zeros((1, 5, 6, 7), np.float32)
    with pytest.raises(ValueError, match=r"high <= 0|low >= high"):
        apply_recorded(transform, image, None, 0)
    pattern = r"\[BlankRectangleTransform\] expected 'rectangle_size' of at most the image's 7 voxels along axis 2, got 8"
    with pytest.raises(fl.TransformError, match=pattern):
        fl.compile_transforms(transform)(image=image)
    with pytest.raises(fl.TransformError, match=r"'rectangle_size' for each of 3 axes, got 2"):
        fl.compile_transforms(BlankRectangleTransform((3, 4), 0, 1))(image=image)


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (BlankRectangleTransform(3, lambda x: 0.0, 1), "'rectangle_value' is '<lambda>', which looks at voxels"),
        (BlankRectangleTransform(3, np.mean, 1), "'rectangle_value' is 'mean', which looks at voxels"),
        (BlankRectangleTransform(3, "1", 1), "'rectangle_value' is '1'"),
        (BlankRectangleTransform(-3, 0, 1), "'rectangle_size' of whole pairs"),
        (BlankRectangleTransform((), 0, 1), "'rectangle_size' is ()"),
        (BlankRectangleTransform(((3, 3),) * 3, 0, 1), "'rectangle_size' is (3, 3)"),
        (BlankRectangleTransform(3, 0, (2, 2)), "'num_rectangles' is (2, 2)"),
    ],
)
def test_what_runs_in_python_has_a_reason(transform: Any, reason: str) -> None:
    assert reason in fl.compile_transforms(transform).fallbacks[0]


def test_a_replay_refuses_what_does_not_fit() -> None:
    transform = BlankRectangleTransform(3, 0, 1)
    pipeline = fl.compile_transforms(transform)
    inside = [([0, 0, 0], [1, 2, 3])]
    for on, rectangles, pattern in [
        ([True], [inside], "'apply_channel' for each of 2 channels, got 1"),
        ([True, True], [inside, [([0, 0, 0], [1, 2, 6])]], "a rectangle inside the image's 5 voxels"),
        ([True, True], [inside, [([0, 0], [1, 2])]], "corners of 3 numbers, got 2"),
    ]:
        with pytest.raises(fl.TransformError, match=rf"\[BlankRectangleTransform\] expected {pattern}"):
            pipeline.replay(
                [(transform, {"apply_channel": on, "rectangles": rectangles})], image=np.zeros((2, 3, 4, 5), np.float32)
            )
    parameters = {"apply_channel": [True, True], "rectangles": [inside, inside], "values": [1.0]}
    with pytest.raises(fl.TransformError, match=r"'values' for each of 2 rectangles, or none, got 1"):
        pipeline.replay([(transform, parameters)], image=np.zeros((2, 3, 4, 5), np.float32))


@pytest.mark.parametrize("square", [False, True])
def test_distributions(square: bool) -> None:
    sizes = ((1, 3), (2, 5), (1, 5))
    compare(
        ComposeTransforms([BlankRectangleTransform(sizes, torch.mean, (1, 4), square, 0.6)]), (2, 5, 6, 7), least_parameters=6
    )
