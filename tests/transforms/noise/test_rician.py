"""RicianNoiseTransform, replayed with what batchgeneratorsv2 drew, and its noise given to batchgeneratorsv2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from comparing import assert_images_agree
from images import brain
from noise_fields import fields
from parity import SHAPES
from scipy.stats import kstest, rice
from test_distributions import LEAST_P, compare

import fastnnunet_loader as fl


def check(image: np.ndarray, deviation: float, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> torch.Tensor:
    transform = RicianNoiseTransform((deviation, deviation))
    before = image.copy()
    got = fl.compile_transforms(transform).replay([(transform, {"variance": deviation})], image=image, seed=seed)["image"]
    assert np.array_equal(image, before, equal_nan=True)
    noise = iter(fields(image.shape, deviation, seed))

    def ours(tensor: torch.Tensor, mean: float, std: float) -> torch.Tensor:
        assert (mean, std) == (0.0, deviation)
        return tensor.copy_(next(noise))

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "normal_", ours)
        expected = transform._apply_to_image(torch.from_numpy(image.copy()), variance=deviation)
    assert_images_agree(got, expected)
    return got


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("deviation", [0.0, 0.05, 2.0])
def test_rician_noise(shape: tuple[int, ...], channels: int, deviation: float, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = brain(channels, shape)
    got = check(image, deviation, monkeypatch)
    assert float(got.mean()) == pytest.approx(float(image.mean()), abs=1e-4)
    assert float(got.std()) == pytest.approx(float(image.std(ddof=1)), rel=1e-4)
    assert deviation == 0 or not np.allclose(got.numpy(), image, atol=0.01)


@pytest.mark.parametrize("deviation", [0.0, 0.1])
@pytest.mark.parametrize("value", [3.5, -0.25])
def test_constant_image(value: float, deviation: float, monkeypatch: pytest.MonkeyPatch) -> None:
    check(np.full((2, 12, 13, 14), value, np.float32), deviation, monkeypatch)


@pytest.mark.filterwarnings("ignore:std\\(\\). degrees of freedom:UserWarning")
def test_one_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    check(np.full((1, 1, 1, 1), 2.0, np.float32), 0.1, monkeypatch)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("deviation", [0.0, 0.1])
def test_values_that_are_not_finite(value: float, deviation: float, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = brain(2, (6, 7, 8))
    image[1, 2, 3, 4] = value
    check(image, deviation, monkeypatch)


def test_noise_has_the_rice_distribution() -> None:
    # Half of the voxels at the minimum, half above it by a known signal; mean and deviation of the whole are put back, which
    # is linear and so undone below.
    signal, deviation = 0.4, 0.25
    image = np.zeros((1, 2, 40, 40, 20), np.float32).reshape(1, 80, 40, 20)
    image[0, 40:] = signal
    transform = RicianNoiseTransform((deviation, deviation))
    out = fl.compile_transforms(transform)(image=image, seed=5)["image"].numpy()[0].astype(np.float64)
    spread = rice(signal / deviation, scale=deviation), rice(0, scale=deviation)
    mean = (spread[0].mean() + spread[1].mean()) / 2
    square = (spread[0].moment(2) + spread[1].moment(2)) / 2
    magnitudes = (out - image.mean()) / image.std() * np.sqrt(square - mean**2) + mean
    assert kstest(magnitudes[:40].ravel(), spread[1].cdf).statistic < 0.01
    assert kstest(magnitudes[40:].ravel(), spread[0].cdf).statistic < 0.01
    assert abs(np.corrcoef(out[:40].ravel(), out[40:].ravel())[0, 1]) < 4 / np.sqrt(out[40:].size)


def test_fields_are_independent() -> None:
    real, imaginary = (field.numpy().ravel() for field in fields((1, 30, 30, 30), 0.5, 7))
    for field in (real, imaginary):
        assert kstest(field / 0.5, "norm").pvalue > LEAST_P
    assert abs(np.corrcoef(real, imaginary)[0, 1]) < 4 / np.sqrt(real.size)


@pytest.mark.parametrize("variance", [-0.1, np.nan])
def test_a_replay_refuses_a_negative_variance(variance: float) -> None:
    transform: Any = RicianNoiseTransform()
    with pytest.raises(fl.TransformError, match=r"\[RicianNoiseTransform\] expected 'variance' of at least 0"):
        fl.compile_transforms(transform).replay([(transform, {"variance": variance})], image=np.zeros((1, 3, 4, 5), np.float32))


def test_what_batchgeneratorsv2_fails_on_is_named() -> None:
    assert "'noise_variance' of two numbers, 0 <= low" in fl.compile_transforms(RicianNoiseTransform((-1.0, 1.0))).fallbacks[0]
    assert "'noise_variance' is 0.1" in fl.compile_transforms(RicianNoiseTransform(0.1)).fallbacks[0]


def test_distributions() -> None:
    compare(ComposeTransforms([RicianNoiseTransform((0.1, 0.4))]), (2, 4, 5, 6), least_parameters=2)
