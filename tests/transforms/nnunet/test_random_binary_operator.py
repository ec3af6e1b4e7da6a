"""ApplyRandomBinaryOperatorTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import pytest
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from parity import check, one_hot


@pytest.mark.parametrize("shape", [(29, 34, 31), (37, 42)])
def test_apply_random_binary_operator(shape: tuple[int, ...]) -> None:
    tree = ComposeTransforms([one_hot(), ApplyRandomBinaryOperatorTransform([1, 2], strel_size=(1, 5), p_per_label=1)])
    for seed in range(8):
        check(tree, shape, 1, seed=seed, segmentation_channels=2)
