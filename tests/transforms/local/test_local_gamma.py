"""LocalGammaTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import pytest
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from local_kernels import check_everywhere, check_refusals, compare_draws

import fastnnunet_loader as fl

TRANSFORMS = [
    LocalGammaTransform((4, 20), (0, 1), (0.3, 2), True, 1),
    LocalGammaTransform((1, 9), (-1, 2), (0.5, 1.5), False, 0.7),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_local_gamma(transform: Any) -> None:
    check_everywhere(transform)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_draws(transform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compare_draws(monkeypatch, transform)


def test_refusals() -> None:
    check_refusals(TRANSFORMS[0], "gammas")


def test_callables_are_told_shape_and_axis() -> None:
    transform = LocalGammaTransform(lambda shape, axis: shape[axis] / 4, lambda shape, axis: axis / 4, lambda: 0.5)
    drawn = fl.compile_transforms(transform).draw((1, 8, 16, 24))[0][1]
    assert drawn["scales"] == [[2, 4, 6]]
    assert drawn["locations"] == [[0, 0.25, 0.5]]
    assert drawn["gammas"] == [0.5]
