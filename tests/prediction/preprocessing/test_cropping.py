"""The box of what is not zero, and its holes, on every small mask and on each border."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from fastnnunet_loader.prediction.preprocessing.cropping import bounding_box, fill_holes


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7), (5, 1, 7), (5, 6, 1), (1, 1, 1)])
def test_holes_are_scipys(shape: tuple[int, int, int]) -> None:
    generator = np.random.default_rng(0)
    for density in (0.0, 0.3, 0.6, 0.75, 0.9, 1.0):
        for _ in range(20):
            mask = generator.random(shape) < density
            before = mask.copy()
            assert np.array_equal(fill_holes(mask), binary_fill_holes(mask))
            assert np.array_equal(mask, before)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [0, -1])
def test_a_way_to_each_border_is_no_hole(axis: int, side: int) -> None:
    """A box with a cave in it, and a way from the cave to one of the six borders."""
    mask = np.ones((5, 5, 5), bool)
    mask[2, 2, 2] = False
    assert fill_holes(mask).all()
    way: list[int | slice] = [2, 2, 2]
    way[axis] = slice(0, 3) if side == 0 else slice(2, 5)
    mask[tuple(way)] = False
    assert np.array_equal(fill_holes(mask), mask)


def test_box_of_every_voxel_and_of_pairs() -> None:
    shape = (3, 4, 5)
    for place in np.ndindex(*shape):
        mask = np.zeros(shape, bool)
        mask[place] = True
        assert bounding_box(mask) == [[n, n + 1] for n in place]
        mask[1, 2, 3] = True
        assert bounding_box(mask) == [[min(n, m), max(n, m) + 1] for n, m in zip(place, (1, 2, 3), strict=True)]
    assert bounding_box(np.zeros(shape, bool)) == [[0, 3], [0, 4], [0, 5]]
