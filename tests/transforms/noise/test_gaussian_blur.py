"""GaussianBlurTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from parity import check, check_constant


@pytest.mark.parametrize("shape", [(29, 34, 31), (16, 33, 64), (37, 42)])
@pytest.mark.parametrize(
    "transform",
    [
        GaussianBlurTransform((0.5, 1.0), False, False, 0.5),
        GaussianBlurTransform((0.3, 1.5), False, True, 1),
        GaussianBlurTransform((0.5, 1.0), True, True, 1),
        GaussianBlurTransform((0.5, 1.0), True, False, 0.5),
    ],
)
def test_gaussian_blur(transform: Any, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        check(transform, shape, 3, seed=seed)


def test_constant_image() -> None:
    check_constant(GaussianBlurTransform(1.0, False, False, 1))
