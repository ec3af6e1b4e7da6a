"""LocalSmoothingTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.local.local_smoothing import LocalSmoothingTransform
from local_kernels import check_both_ways, check_everywhere, check_refusals, compare_draws

TRANSFORMS = [
    LocalSmoothingTransform((4, 20), (0, 1), (0.5, 1), (0.5, 1.5), True, 1),
    LocalSmoothingTransform((1, 9), (-1, 2), (0.2, 1.2), (0.05, 3), False, 0.7),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_local_smoothing(transform: Any) -> None:
    check_everywhere(transform)


@pytest.mark.parametrize("sigma", [0, -1, 0.1, 0.125, 4, 30])
@pytest.mark.parametrize("shape", [(11, 5, 70), (3, 66)])
def test_sigma(shape: tuple[int, ...], sigma: float) -> None:
    check_both_ways(LocalSmoothingTransform((4, 20), (0, 1), 1.0, sigma), shape, 1, "returned")


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_draws(transform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compare_draws(monkeypatch, transform)


def test_refusals() -> None:
    check_refusals(TRANSFORMS[0], "strengths", sigma=1.0)
