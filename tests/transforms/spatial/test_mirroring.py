"""MirrorTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import pytest
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from parity import SHAPES, check


@pytest.mark.parametrize("shape", SHAPES)
def test_mirror(shape: tuple[int, ...]) -> None:
    for seed in range(8):
        check(MirrorTransform(tuple(range(len(shape)))), shape, 2, seed=seed)
