"""MaskImageTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from parity import SHAPES, check


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [
        MaskImageTransform([0], 0, 0),
        MaskImageTransform([0], 0, -1.5),
    ],
)
def test_mask_image(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)
