"""MultiplicativeBrightnessTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
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
