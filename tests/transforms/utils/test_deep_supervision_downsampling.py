"""DownsampleSegForDSTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import pytest
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from parity import check


@pytest.mark.parametrize("scales", [[[1, 1, 1], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]], [[0.5, 0.25, 0.5]], [[1, 0.5, 0.5]]])
def test_downsample_seg_for_ds(scales: list[list[float]]) -> None:
    check(DownsampleSegForDSTransform(scales), (29, 34, 31), 1)
    check(DownsampleSegForDSTransform(scales), (12, 16, 20), 1, labels=120)
