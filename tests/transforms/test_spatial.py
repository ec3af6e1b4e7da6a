"""SpatialTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import pytest
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from parity import check


@pytest.mark.parametrize("tiebreak", ["nearest", "lowest", "highest"])
@pytest.mark.parametrize("labels", [2, 3, 20])
@pytest.mark.parametrize(
    ("shape", "patch"),
    [((44, 47, 51), (29, 34, 31)), ((20, 47, 51), (29, 34, 31)), ((60, 55), (37, 42)), ((30, 30), (37, 42))],
    ids=["larger", "smaller on one axis", "2D", "2D smaller"],
)
def test_spatial(shape: tuple[int, ...], patch: tuple[int, ...], labels: int, tiebreak: str) -> None:
    transform = SpatialTransform(
        patch,
        0,
        False,
        p_rotation=0.7,
        rotation=(-0.6, 0.6),
        p_scaling=0.7,
        scaling=(0.7, 1.4),
        p_synchronize_scaling_across_axes=0.5,
        border_mode_seg="constant",
        padding_value_seg=-1,
        seg_tiebreak=tiebreak,
    )
    for seed in range(4):
        check(transform, shape, 2, seed=seed, labels=labels)


@pytest.mark.parametrize("distance", [0, 14, 100])
def test_spatial_with_random_crop(distance: int) -> None:
    transform = SpatialTransform(
        (20, 22, 24), distance, True, p_rotation=0.5, rotation=(0, 6.28), p_scaling=0.5, scaling=(0.5, 2.0), p_rot_per_axis=0.8
    )
    for seed in range(6):
        check(transform, (33, 36, 39), 1, seed=seed)


def test_spatial_padding_with_a_constant() -> None:
    transform = SpatialTransform(
        (33, 36, 39), 0, False, p_rotation=1, rotation=(-1, 1), padding_mode_image="constant", padding_value_image=-2.5
    )
    for seed in range(3):
        check(transform, (20, 36, 30), 1, seed=seed)
