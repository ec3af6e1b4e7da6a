"""GammaTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from parity import SHAPES, check, check_constant


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [
        GammaTransform((0.7, 1.5), 1, False, 0.7, 1),
        GammaTransform((0.7, 1.5), 0, True, 1, 1),
        GammaTransform((0.5, 2.0), 0.5, False, 1, 0.5),
    ],
)
def test_gamma(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


def test_constant_image() -> None:
    check_constant(GammaTransform((0.7, 1.5), 1, False, 1, 1))
