"""Rot90Transform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from images import brain
from parity import check
from recording import apply_recorded
from test_distributions import compare

import fastnnunet_loader as fl


@pytest.mark.parametrize(
    ("shape", "transform"),
    [
        ((23, 23, 23), Rot90Transform((1, 4))),
        ((32, 32, 32), Rot90Transform(3, (-1, 0, 2, 7), (2, 0, 1))),
        ((19, 33, 33), Rot90Transform((0, 3), (1, 2, 3), {1, 2})),
        ((33, 19, 33), Rot90Transform(1, (1, 3), {0, 2})),
        ((29, 34, 31), Rot90Transform(2, (2, 4))),
        ((1, 1, 37), Rot90Transform(2, (1, 2, 3), {0, 1})),
        ((37, 37), Rot90Transform(1, (1, 2, 3), {0, 1})),
        ((30, 37), Rot90Transform(1, (2,), {0, 1})),
    ],
)
def test_rot90(shape: tuple[int, ...], transform: Any) -> None:
    for seed in range(8):
        check(transform, shape, 1 + seed % 4, seed=seed, segmentation_channels=2)


def test_one_turn_of_each_plane() -> None:
    transform = Rot90Transform(1)
    pipeline = fl.compile_transforms(transform)
    image, segmentation = brain(2, (18, 18, 18))
    for axes in ([1, 2], [1, 3], [2, 3], [3, 1]):
        for turns in range(-1, 5):
            parameters = {"num_rot_per_combination": [turns], "axis_combinations": [axes]}
            got = pipeline.replay([(transform, parameters)], image=image, segmentation=segmentation)
            assert np.array_equal(got["image"].numpy(), np.rot90(image, turns, axes))
            assert np.array_equal(got["segmentation"].numpy(), np.rot90(segmentation, turns, axes))


@pytest.mark.parametrize("transform", [Rot90Transform((0, 3)), Rot90Transform(1.5, 4, (0, 2)), Rot90Transform(2.5, (1,))])
def test_draws(transform: Any) -> None:
    compare(transform, (1, 3, 3, 3), least_parameters=3)


def test_axes_that_differ_in_size_are_refused() -> None:
    image = np.zeros((1, 8, 8, 9), np.float32)
    expected, _ = apply_recorded(Rot90Transform(1, (1,), (1, 2)), image, None, 0)
    assert expected["image"].shape == (1, 8, 9, 8)  # batches have one shape
    with pytest.raises(fl.TransformError, match=r"\[Rot90Transform\] expected 'allowed_axes' along which .* 8 and 9"):
        fl.compile_transforms(Rot90Transform(1, (1,), (1, 2)))(image=image)


def test_an_axis_that_is_not_there_is_refused() -> None:
    image = np.zeros((1, 8, 8), np.float32)
    with pytest.raises((IndexError, RuntimeError)):
        apply_recorded(Rot90Transform(9), image, None, 0)
    with pytest.raises(fl.TransformError, match=r"\[Rot90Transform\] expected 'allowed_axes' below 2, got 2"):
        fl.compile_transforms(Rot90Transform(9))(image=image)


@pytest.mark.parametrize(
    ("name", "turns", "axes"),
    [
        ("axis_combinations", [1, 1], [[1, 2]]),
        ("axis_combinations", [1], [[1, 1]]),
        ("axis_combinations", [1], [[0, 1]]),
        ("axis_combinations", [1], [[1, 4]]),
        ("axis_combinations", [1], [[1, 2, 3]]),
        ("num_rot_per_combination", [0.5], [[1, 2]]),
    ],
)
def test_parameters_that_do_not_fit_are_refused(name: str, turns: list[float], axes: list[list[int]]) -> None:
    transform = Rot90Transform(1)
    parameters = {"num_rot_per_combination": turns, "axis_combinations": axes}
    with pytest.raises(fl.TransformError, match=rf"\[Rot90Transform\] expected '{name}'"):
        fl.compile_transforms(transform).replay([(transform, parameters)], image=np.zeros((1, 6, 6, 6), np.float32))


@pytest.mark.parametrize(
    "transform",
    [Rot90Transform(1, (1,), (0, 0)), Rot90Transform(1, (1,), (0,)), Rot90Transform(1, ()), Rot90Transform(1, (1,), (-1, 0))],
)
def test_attributes_that_make_no_sense_are_left_to_python(transform: Any) -> None:
    assert not fl.compile_transforms(transform).all_native
