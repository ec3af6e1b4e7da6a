"""SharpeningTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from parity import SHAPES, check, check_constant, check_values
from recording import apply_recorded
from test_distributions import compare

import fastnnunet_loader as fl


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Torch's convolutions of few voxels are slow where its threads have to wait for a processor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 20), (5, 2, 3), (1, 30), (2, 2)])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    "transform",
    [
        SharpeningTransform((0.1, 1), 0, 0.7),
        SharpeningTransform((0.1, 1.5), 1, 1, 0.5),
        SharpeningTransform(0.2, 0.0, 1.0, 1),
    ],
)
def test_sharpening(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


def test_constant_image() -> None:
    check_constant(SharpeningTransform((0.1, 1)))


@pytest.mark.parametrize("clamp", [0, 1])
@pytest.mark.parametrize("shape", [(9, 10, 11), (12, 13)])
@pytest.mark.parametrize("values", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
def test_values_that_are_not_finite(values: list[float], shape: tuple[int, ...], clamp: int) -> None:
    check_values(SharpeningTransform((0.1, 1), p_clamp_intensities=clamp), values, shape)


@pytest.mark.parametrize("shape", [(5, 1, 6), (5, 6, 1), (1, 6, 1), (6, 1)])
def test_a_thin_axis_behind_a_longer_one_fails_as_in_batchgeneratorsv2(shape: tuple[int, ...]) -> None:
    transform = SharpeningTransform((0.1, 1))
    image = np.zeros((1, *shape), np.float32)
    with pytest.raises(RuntimeError, match="expanded size"):
        apply_recorded(transform, image, None, 0)
    with pytest.raises(fl.TransformError, match=r"\[SharpeningTransform\] expected more than one voxel along each axis"):
        fl.compile_transforms(transform)(image=image)


@pytest.mark.parametrize("name", ["apply_channel", "strengths", "clamp_intensities"])
def test_a_replay_refuses_another_number_of_channels(name: str) -> None:
    transform = SharpeningTransform((0.1, 1))
    parameters: dict[str, Any] = {"apply_channel": [True] * 2, "strengths": [0.5] * 2, "clamp_intensities": [False] * 2}
    parameters[name] = parameters[name][:1]
    with pytest.raises(fl.TransformError, match=rf"\[SharpeningTransform\] expected '{name}' for each of 2 channels, got 1"):
        fl.compile_transforms(transform).replay([(transform, parameters)], image=np.zeros((2, 3, 4, 5), np.float32))


def test_a_whole_number_is_no_strength() -> None:
    assert "'strength' is 1" in fl.compile_transforms(SharpeningTransform(1)).fallbacks[0]


@pytest.mark.parametrize("same", [0, 0.4, 1])
def test_distributions(same: float) -> None:
    compare(ComposeTransforms([SharpeningTransform((0.1, 1), same, 0.6, 0.3)]), (2, 2, 3), least_parameters=6)
