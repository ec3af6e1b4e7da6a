"""RemoveLabelTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from parity import SHAPES, check


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [
        RemoveLabelTransform(-1, 0),
        RemoveLabelTransform(2, 7, 0),
    ],
)
def test_remove_label(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)
