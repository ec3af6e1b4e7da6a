"""MultiplicativeBrightnessTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform, MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from parity import SHAPES, check


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [
        MultiplicativeBrightnessTransform((0.75, 1.25), False, 0.7),
        MultiplicativeBrightnessTransform((0.75, 1.25), True, 1),
    ],
)
def test_multiplicative_brightness(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


@pytest.mark.parametrize(
    "after",
    [
        [],
        [MirrorTransform((0, 1, 2))],
        [ContrastTransform((0.5, 1.5), True, False, 0.7)],
        [ContrastTransform((0.5, 1.5), False, True, 1)],
        [GammaTransform((0.7, 1.5), 0.5, False, 0.7, 0.5)],
        [GaussianBlurTransform((0.5, 1), False, False, 0.7)],
        [InvertImageTransform(1, 0.5, 0.7), MirrorTransform((0, 1, 2))],
        [Convert3DTo2DTransform(), MirrorTransform((0, 1)), Convert2DTo3DTransform()],
    ],
)
def test_the_next_transform_does_its_arithmetic(after: list[Any]) -> None:
    """Products and sums are left to whoever goes over the voxels next, and are the same."""
    brightness = [MultiplicativeBrightnessTransform((-2, 2), False, 0.7), BrightnessAdditiveTransform(1, 3, False, 0.7)]
    for seed in range(6):
        check(ComposeTransforms([*brightness, *after]), (17, 18, 19), 3, seed=seed)
        check(ComposeTransforms([*reversed(brightness), *after]), (17, 18, 19), 3, seed=seed)
