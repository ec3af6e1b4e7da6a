"""Invariant 4: images within a share of the intensity range, labels equal in every voxel but for ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def assert_images_agree(
    got: torch.Tensor,
    expected: torch.Tensor,
    tolerance: float = 1e-5,
    largest: float = 0,
    movement: Callable[[], float] = lambda: 0.0,
) -> None:
    """`largest`: the greatest magnitude on the way to the result, whose rounding is part of it. `movement`: tells how far the
    expected result moves where its own way there is rounded otherwise (sensitivity.py); asked for where nothing else explains a
    difference."""
    a, b = got.numpy().astype(np.float64), expected.numpy().astype(np.float64)
    assert got.dtype == torch.float32
    assert a.shape == b.shape
    finite = np.isfinite(b)
    assert np.array_equal(a[~finite], b[~finite], equal_nan=True)
    if not finite.any():
        return
    span = float(b[finite].max() - b[finite].min())
    # Of float32, for images whose range is less than that.
    rounding = 4e-7 * max(float(np.abs(b[finite]).max()), largest)
    worst = float(np.abs(a[finite] - b[finite]).max())
    if worst > (bound := tolerance * span + rounding):
        bound = max(bound, movement())
    assert worst <= bound, f"differs by {worst:.2e} in an intensity range of {span:.2e}, expected {bound:.2e} at most"


def assert_labels_agree(got: Any, expected: Any, ties: float = 1e-4) -> None:
    """A share below `ties` of the voxels may differ."""
    if isinstance(expected, list):
        assert isinstance(got, list) and len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            assert_labels_agree(g, e, ties)
        return
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    differing = int((got != expected).sum())
    assert differing <= ties * expected.numel(), f"{differing} of {expected.numel()} voxels differ"
