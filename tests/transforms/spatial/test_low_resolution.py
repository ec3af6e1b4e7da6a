"""SimulateLowResolutionTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import pytest
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from parity import check, check_constant


@pytest.mark.parametrize("ignore_axes", [None, (0,)])
@pytest.mark.parametrize(("channels", "axes"), [(False, True), (False, False), (True, True), (True, False)])
@pytest.mark.parametrize("shape", [(29, 34, 31), (16, 33, 64), (37, 42)])
def test_simulate_low_resolution(
    shape: tuple[int, ...], channels: bool, axes: bool, ignore_axes: tuple[int, ...] | None
) -> None:
    transform = SimulateLowResolutionTransform((0.3, 1), channels, axes, ignore_axes, None, 0.7)
    for seed in range(3):
        check(transform, shape, 3, seed=seed)


def test_low_resolution_of_allowed_channels_only() -> None:
    check(SimulateLowResolutionTransform((0.4, 0.6), False, False, None, (2, 0), 1), (20, 21, 22), 3)


def test_constant_image() -> None:
    check_constant(SimulateLowResolutionTransform((0.5, 0.9), False, False, None, None, 1))
