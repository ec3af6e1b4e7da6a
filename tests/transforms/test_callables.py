"""Callables in the place of numbers: they are asked with what batchgeneratorsv2 asks them with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.intensity.random_clip import CutOffOutliersTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_contrast import LocalContrastTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.local.local_smoothing import LocalSmoothingTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

import fastnnunet_loader as fl

MADE: dict[str, Callable[[Any, bool, bool, int], Any]] = {
    "contrast": lambda f, channels, axes, dims: ContrastTransform(f, True, channels, 1),
    "gamma": lambda f, channels, axes, dims: GammaTransform(f, 0, channels, 1, 0),
    "noise": lambda f, channels, axes, dims: GaussianNoiseTransform(f, 1, channels),
    "brightness": lambda f, channels, axes, dims: MultiplicativeBrightnessTransform(f, channels, 1),
    "clip": lambda f, channels, axes, dims: CutOffOutliersTransform(f, 99, channels, 1, 0),
    "clip from above": lambda f, channels, axes, dims: CutOffOutliersTransform(0, f, channels, 1, 0),
    "gradient": lambda f, channels, axes, dims: BrightnessGradientAdditiveTransform(3, 0.5, f, channels),
    "scale of a gradient": lambda f, channels, axes, dims: BrightnessGradientAdditiveTransform(f, 0.5, 1, channels),
    "place of a gradient": lambda f, channels, axes, dims: BrightnessGradientAdditiveTransform(3, f, 1, channels),
    "local contrast": lambda f, channels, axes, dims: LocalContrastTransform(3, 0.5, f, channels),
    "local gamma": lambda f, channels, axes, dims: LocalGammaTransform(3, 0.5, f, channels),
    "local smoothing": lambda f, channels, axes, dims: LocalSmoothingTransform(3, 0.5, f, 1, channels),
    "kernel of local smoothing": lambda f, channels, axes, dims: LocalSmoothingTransform(3, 0.5, 1, f, channels),
    "blur": lambda f, channels, axes, dims: GaussianBlurTransform(f, channels, axes, 1),
    "low resolution": lambda f, channels, axes, dims: SimulateLowResolutionTransform(f, channels, axes, None, None, 1),
    "rotation": lambda f, channels, axes, dims: SpatialTransform(
        (6,) * dims, 0, False, p_elastic_deform=0, p_rotation=1, rotation=f, p_scaling=0
    ),
    "scaling": lambda f, channels, axes, dims: SpatialTransform(
        (6,) * dims, 0, False, p_elastic_deform=0, p_rotation=0, p_scaling=1, scaling=f,
        p_synchronize_scaling_across_axes=float(axes),
    ),
}  # fmt: skip


def plain(value: Any) -> Any:
    if isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim:
        return "an image", tuple(value.shape)
    if isinstance(value, (list, tuple)):
        return tuple(plain(one) for one in value)
    return value if value is None else int(value)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("axes", [False, True])
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("name", MADE)
def test_a_callable_is_asked_as_batchgeneratorsv2_asks_it(name: str, channels: bool, axes: bool, dims: int) -> None:
    asked: list[Any] = []

    def asking(*args: Any, **kwargs: Any) -> float:
        asked.append((plain(args), {key: plain(value) for key, value in sorted(kwargs.items())}))
        return 1.0

    transform = MADE[name](asking, channels, axes, dims)
    shape = (2, 8, 10, 12)[: dims + 1]
    image = torch.from_numpy(np.random.default_rng(0).random(shape, np.float32))
    transform(image=image.clone(), segmentation=torch.zeros((1, *shape[1:]), dtype=torch.int16))
    expected = {repr(one) for one in asked}
    assert expected
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native
    asked.clear()  # it is tried once
    pipeline(image=image, segmentation=torch.zeros((1, *shape[1:]), dtype=torch.int16), seed=1)
    assert {repr(one) for one in asked} == expected
