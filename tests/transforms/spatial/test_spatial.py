"""SpatialTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from comparing import assert_images_agree, assert_labels_agree
from images import brain
from parity import check
from recording import apply_recorded

import fastnnunet_loader as fl

BORDERS = ["zeros", "constant", "border", "reflection"]

# Window, patch.
SHAPES = {
    "larger": ((44, 47, 51), (29, 34, 31)),
    "smaller on one axis": ((20, 47, 51), (29, 34, 31)),
    "smaller": ((13, 21, 17), (29, 34, 31)),
    "anisotropic": ((9, 52, 60), (8, 40, 45)),
    "one voxel thick": ((1, 40, 41), (1, 29, 37)),
    "2D": ((60, 55), (37, 42)),
    "2D smaller": ((30, 30), (37, 42)),
}

ROTATED = {"p_rotation": 0.7, "rotation": (-0.6, 0.6), "p_scaling": 0.7, "scaling": (0.7, 1.4)}
ELASTIC = {"p_elastic_deform": 1, "elastic_deform_scale": (0.02, 0.3), "elastic_deform_magnitude": (0.5, 6)}


def borders(image: str, segmentation: str) -> dict[str, Any]:
    return {
        "padding_mode_image": image,
        "border_mode_seg": segmentation,
        "padding_value_image": -2.5,
        "padding_value_seg": -1,
    }


@pytest.mark.parametrize("tiebreak", ["nearest", "lowest", "highest"])
@pytest.mark.parametrize("labels", [2, 3, 20])
@pytest.mark.parametrize("name", ["smaller on one axis", "2D"])
def test_spatial(name: str, labels: int, tiebreak: str) -> None:
    shape, patch = SHAPES[name]
    transform = SpatialTransform(
        patch,
        0,
        False,
        p_synchronize_scaling_across_axes=0.5,
        seg_tiebreak=tiebreak,
        **ROTATED,
        **borders("zeros", "constant"),
    )
    for seed in range(3):
        check(transform, shape, 2 if labels == 3 else 1, seed=seed, labels=labels)


@pytest.mark.parametrize("distance", [0, 14, 100])
def test_spatial_with_random_crop(distance: int) -> None:
    transform = SpatialTransform(
        (20, 22, 24), distance, True, p_rotation=0.5, rotation=(0, 6.28), p_scaling=0.5, scaling=(0.5, 2.0), p_rot_per_axis=0.8
    )
    for seed in range(6):
        check(transform, (33, 36, 39), 1, seed=seed)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("border", BORDERS)
def test_borders(border: str, name: str, align_corners: bool) -> None:
    shape, patch = SHAPES[name]
    others = {"zeros": "constant", "constant": "reflection", "border": "zeros", "reflection": "border"}
    transform = SpatialTransform(
        patch,
        -5,
        True,
        p_rotation=1,
        rotation=(-1, 1),
        p_scaling=0.5,
        scaling=(0.5, 2.5),
        align_corners=align_corners,
        **borders(border, others[border]),
    )
    for seed in range(2):
        check(transform, shape, 1, seed=seed, tolerance=1e-5)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("name", SHAPES)
def test_borders_of_a_plain_crop(name: str, border: str) -> None:
    shape, patch = SHAPES[name]
    # A reflection has no more voxels than the crop has.
    patch = tuple(min(p, 2 * s - 1) for p, s in zip(patch, shape, strict=True))
    centred = SpatialTransform(patch, 0, False, **borders(border, border))
    check(centred, shape, 2)
    wandering = SpatialTransform(patch, [p // 4 for p in patch], True, **borders(border, border))
    if all(p <= s for p, s in zip(patch, shape, strict=True)):
        for seed in range(5):
            check(wandering, shape, 2, seed=seed)


@pytest.mark.parametrize("border", BORDERS)
def test_a_crop_that_leaves_the_image(border: str) -> None:
    transform = SpatialTransform((8, 8, 8), -100, True, **borders(border, border))
    image, _ = brain(1, (10, 11, 9))
    pipeline = fl.compile_transforms(transform)
    message = r"\[SpatialTransform\] expected a crop along axis 1 that 'padding_mode_image'"
    outcomes = set()
    for centre in range(-12, 24):
        parameters = {"center_location_in_pixels": [5, centre, 4], "grid": None, "affine": None, "elastic_offsets": None}
        try:
            expected = transform.apply({"image": torch.from_numpy(image)}, **parameters)["image"]
        except RuntimeError:
            expected = None
        if expected is None or expected.shape[1:] != (8, 8, 8):  # batchgeneratorsv2 fails, or gives another shape
            with pytest.raises(fl.TransformError, match=message):
                pipeline.replay([(transform, parameters)], image=image)
            outcomes.add(None)
        else:
            got = pipeline.replay([(transform, parameters)], image=image)["image"]
            assert torch.equal(got, expected), centre
            outcomes.add("same")
    assert outcomes == {None, "same"}


@pytest.mark.parametrize("name", SHAPES)
def test_nearest(name: str) -> None:
    shape, patch = SHAPES[name]
    for number, (border, align_corners) in enumerate([(b, a) for b in BORDERS for a in (False, True)]):
        transform = SpatialTransform(
            patch, 0, False, p_rotation=1, rotation=(-1, 1), p_scaling=0.5, scaling=(0.6, 1.7), mode_image="nearest",
            mode_seg="nearest", align_corners=align_corners, **borders(border, border),
        )  # fmt: skip
        image, segmentation = brain(2, shape, seed=number, labels=20)
        expected, trace = apply_recorded(transform, image, segmentation, number)
        pipeline = fl.compile_transforms(transform)
        assert pipeline.all_native
        got = pipeline.replay(trace, image=image, segmentation=segmentation)
        # A voxel's value is taken whole, so that a position midway between two voxels may differ by either of them.
        differing = (got["image"] - expected["image"]).abs() > 1e-5
        assert differing.sum() <= 1e-4 * differing.numel()
        assert_labels_agree(got["segmentation"], expected["segmentation"])


# Windows, patches that differ from them by odd numbers, and angles that leave axes as they are, or turn them by a quarter.
MIDWAY = {
    "about one axis": ((47, 52, 50), (30, 41, 37), (0.4, 0, 0), (1, 1, 1)),
    "scaled along one axis": ((47, 52, 50), (30, 41, 37), (0, 0, 0), (1, 1.3, 1)),
    "scaled": ((48, 51, 50), (31, 40, 37), (0, 0, 0), (0.8, 0.8, 0.8)),
    "quarter turns": ((47, 52, 50), (30, 41, 37), (np.pi / 2, 0, -np.pi / 2), (1, 1, 1)),
    "half a turn": ((47, 52, 50), (30, 41, 37), (0, np.pi, 0.3), (1, 1, 1)),
    "out of the window": ((20, 21, 35), (31, 40, 52), (0, 0, 0.2), (1.1, 1, 1)),
    "one voxel thick": ((1, 52, 50), (2, 41, 37), (0.4, 0, 0), (1, 1, 1)),
    "2D": ((52, 50), (41, 37), (0, 0), (1, 1.2)),
    "2D, quarter turn": ((52, 50), (41, 37), (0, np.pi / 2), (1, 1)),
}


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("name", MIDWAY)
def test_midway_between_voxels_the_same_one_is_nearest(name: str, align_corners: bool, mode: str) -> None:
    shape, patch, angles, scales = MIDWAY[name]
    for seed, border in enumerate(BORDERS):
        transform = SpatialTransform(
            patch, 0, seed > 1, p_rotation=1, rotation=lambda *_, dim, **__: angles[dim], p_scaling=1,
            scaling=lambda *_, dim, **__: scales[dim], p_synchronize_scaling_across_axes=0, align_corners=align_corners,
            mode_image=mode, mode_seg=mode, **borders(border, border),
        )  # fmt: skip
        image, segmentation = brain(2, shape, seed=seed, labels=20)
        expected, trace = apply_recorded(transform, image, segmentation, seed)
        got = fl.compile_transforms(transform).replay(trace, image=image, segmentation=segmentation)
        assert_images_agree(got["image"], expected["image"])
        assert_labels_agree(got["segmentation"], expected["segmentation"])


@pytest.mark.parametrize("bg_style", [False, True])
@pytest.mark.parametrize("tiebreak", ["nearest", "lowest", "highest"])
@pytest.mark.parametrize("border", BORDERS)
def test_many_labels(border: str, tiebreak: str, bg_style: bool) -> None:
    transform = SpatialTransform(
        (23, 26, 29), 0, True, p_rotation=1, rotation=(-0.6, 0.6), bg_style_seg_sampling=bg_style, seg_tiebreak=tiebreak,
        border_mode_seg=border, padding_value_seg=300,
    )  # fmt: skip
    image, _ = brain(1, (24, 27, 31))
    # Blocks of three voxels, so that many labels meet; some are negative, some do not fit a byte.
    blocks = np.random.default_rng(0).permutation(8 * 9 * 11).reshape(1, 8, 9, 11) % 120
    labels = np.where(blocks % 3 == 0, blocks + 1000, -blocks).repeat(3, 1).repeat(3, 2).repeat(3, 3)
    segmentation = np.ascontiguousarray(labels[:, :24, :27, :31], np.int16)
    assert len(np.unique(segmentation)) == 120
    expected, trace = apply_recorded(transform, image, segmentation, 1)
    got = fl.compile_transforms(transform).replay(trace, image=image, segmentation=segmentation)
    assert_labels_agree(got["segmentation"], expected["segmentation"])


@pytest.mark.parametrize("center_deformation", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_elastic_deformation(name: str, center_deformation: bool) -> None:
    shape, patch = SHAPES[name]
    for seed, border in enumerate(BORDERS):
        transform = SpatialTransform(
            patch, 0, False, center_deformation=center_deformation, align_corners=seed % 2 == 1,
            **(ROTATED if seed != 2 else {}), **ELASTIC, **borders(border, border),
        )  # fmt: skip
        check(transform, shape, 2, seed=seed, tolerance=1e-5)


@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("border", BORDERS)
def test_dummy_2d(border: str, elastic: bool) -> None:
    spatial = SpatialTransform(
        (30, 33), 0, False, p_rotation=0.7, rotation=(-3, 3), **(ELASTIC if elastic else {}), **borders(border, border)
    )
    tree = ComposeTransforms([Convert3DTo2DTransform(), spatial, Convert2DTo3DTransform()])
    for seed in range(3):
        check(tree, (9, 44, 40), 2, seed=seed, tolerance=1e-5)


@pytest.mark.parametrize(
    ("option", "value"),
    [("mode_image", "bicubic"), ("mode_seg", "bicubic"), ("border_mode_seg", "wrap"), ("padding_value_seg", 0.5),
     ("padding_value_seg", 40000), ("elastic_deform_scale", "wide")],
)  # fmt: skip
def test_what_is_left_to_python_is_named(option: str, value: Any) -> None:
    transform = SpatialTransform((8, 8, 8), 0, False, p_elastic_deform=1, border_mode_seg="constant")
    setattr(transform, option, value)
    pipeline = fl.compile_transforms(transform)
    assert not pipeline.all_native
    assert option in pipeline.fallbacks[0]
