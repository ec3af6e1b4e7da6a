"""MoveSegAsOneHotToDataTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import pytest
from parity import check, one_hot


@pytest.mark.parametrize("shape", [(29, 34, 31), (37, 42)])
def test_move_seg_as_one_hot_to_data(shape: tuple[int, ...]) -> None:
    check(one_hot(), shape, 1, segmentation_channels=2)
