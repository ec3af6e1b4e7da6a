"""Sizes and thick slices by nnU-Net's rules."""

from __future__ import annotations

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, determine_do_sep_z_and_axis

from fastnnunet_loader.prediction.preprocessing.shapes import new_shape, thick_axis


def test_sizes_and_thick_axes_are_nnunets() -> None:
    generator = np.random.default_rng(0)
    for number in range(5000):
        spacing, target = generator.choice([0.5, 0.7, 1, 1, 1, 3, 3.5, 5], (2, 3)).tolist()
        shape, force = generator.integers(1, 300, 3).tolist(), (None, True, False)[number % 3]
        threshold = float(generator.choice([2, 3]))
        separate, axis = determine_do_sep_z_and_axis(force, spacing, target, threshold)
        assert thick_axis(force, spacing, target, threshold) == (axis if separate else None), (force, spacing, target)
        assert new_shape(shape, spacing, target) == compute_new_shape(shape, spacing, target).tolist()
