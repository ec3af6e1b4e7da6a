"""Convert3DTo2DTransform and Convert2DTo3DTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import pytest
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from parity import check


@pytest.mark.parametrize("channels", [1, 2])
def test_pseudo_2d(channels: int) -> None:
    tree = ComposeTransforms(
        [
            Convert3DTo2DTransform(),
            SpatialTransform((30, 33), 0, False, p_rotation=1, rotation=(-3, 3), p_scaling=1, scaling=(0.7, 1.4)),
            Convert2DTo3DTransform(),
        ]
    )
    for seed in range(3):
        check(tree, (9, 44, 40), channels, seed=seed)
