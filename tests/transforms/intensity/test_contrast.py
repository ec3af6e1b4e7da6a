"""ContrastTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from parity import SHAPES, check, check_constant


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [
        ContrastTransform(BGContrast((0.75, 1.25)), True, False, 0.7),
        ContrastTransform(BGContrast((0.5, 2.0)), False, True, 1),
    ],
)
def test_contrast(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


def test_constant_image() -> None:
    check_constant(ContrastTransform((0.5, 2), True, False, 1))
