"""ChannelMisalignmentTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.spatial.channel_misalignment import ChannelMisalignmentTransform
from comparing import assert_images_agree
from images import brain
from parity import check
from recording import apply_recorded
from test_distributions import compare

import fastnnunet_loader as fl


def misalignment(channels: Any = (0,), *, squeeze: Any = None, rotation: Any = None, shift: Any = None) -> Any:
    return ChannelMisalignmentTransform(
        channels,
        squeeze or (0, 0, 0),
        float(squeeze is not None),
        rotation or (0, 0, 0),
        "deg",
        float(rotation is not None),
        shift or (0, 0, 0),
        float(shift is not None),
    )


@pytest.mark.parametrize("shape", [(29, 34, 31), (16, 33, 64), (7, 40, 41), (37, 42)])
@pytest.mark.parametrize(
    "transform",
    [
        misalignment((1,), squeeze=(0.1, 0, 0.3)),
        misalignment((0, 2), rotation=(10, 30, 180)),
        misalignment((-1, 0), shift=(2, 32, 9)),
        misalignment((2, 1), squeeze=(0.1, 0.2, 0.3), rotation=(20, 20, 20), shift=(5, 6, 7)),
        misalignment((0, 0), rotation=(0, 5, 0), shift=(1, 1, 1)),
        misalignment(()),
    ],
    ids=["squeeze", "rotation", "shift", "all", "twice", "none"],
)
def test_channel_misalignment(transform: Any, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        check(transform, shape, 3, seed=seed)


def test_an_image_of_one_plane() -> None:
    for seed in range(3):
        check(misalignment(squeeze=(0.1, 0.2, 0.3), rotation=(0, 0, 0), shift=(1, 6, 7)), (1, 40, 41), 1, seed=seed)
        check(misalignment(rotation=(20, 0, 0), shift=(1, 6, 7)), (1, 40, 41), 1, seed=seed)


def test_nan_spreads_alike() -> None:
    image, _ = brain(1, (15, 16, 17))
    image[0, 7, 8, 9] = np.nan
    for transform in (misalignment(squeeze=(0.1, 0.2, 0.3), rotation=(20, 20, 20)), misalignment(shift=(5, 5, 5))):
        for seed in range(4):
            expected, trace = apply_recorded(transform, image, None, seed)
            assert_images_agree(fl.compile_transforms(transform).replay(trace, image=image)["image"], expected["image"])


@pytest.mark.parametrize("shape", [(2, 6, 7, 8), (2, 7, 8)])
def test_draws(shape: tuple[int, ...]) -> None:
    compare(
        ChannelMisalignmentTransform((0,), (0.1, 0.2, 0), 0.4, (10, 20, 30), "deg", 0.6, (2, 5, 3), 0.7),
        shape,
        least_parameters=5,
    )


def test_shifts_beyond_the_image() -> None:
    image = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    transform = misalignment(shift=(4, 5, 6))
    pipeline = fl.compile_transforms(transform)
    for shift in ((-4, 0, 0), (0, -5, 1), (4, 0, 0), (0, 0, 6), (3, 4, -5)):
        centre = [size / 2 + step for size, step in zip(image.shape[1:], shift, strict=True)]
        parameters = {"affine": None, "elastic_offsets": None, "center_location_in_pixels": centre}
        expected = transform.apply({"image": _tensor(image)}, **parameters)
        assert_images_agree(pipeline.replay([(transform, parameters)], image=image)["image"], expected["image"])
    for beyond in (7.0, -3.0):
        parameters = {"affine": None, "elastic_offsets": None, "center_location_in_pixels": [beyond, 2.5, 3.0]}
        with pytest.raises(RuntimeError):
            transform.apply({"image": _tensor(image)}, **parameters)
        with pytest.raises(
            fl.TransformError, match=r"\[ChannelMisalignmentTransform\] expected a shift of at most .* 4 voxels"
        ):
            pipeline.replay([(transform, parameters)], image=image)
    with pytest.raises(fl.TransformError, match=r"\[ChannelMisalignmentTransform\] expected 'shiftZYX' of at most .* got 5"):
        fl.compile_transforms(misalignment(shift=(5, 0, 0)))(image=image)


def _tensor(image: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(image.copy())


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (misalignment((0, 2), shift=(1, 1, 1)), "'im_channels_2_misalign' below 2, got 2"),
        (misalignment(squeeze=(1, 1)), "'squeezingZYX' for each of 3 axes, got 2"),
        (misalignment(rotation=(1, 1)), "'rotation_ax_cor_sag' for each of 3 axes, got 2"),
        (misalignment(shift=(1,)), "'shiftZYX' for each of 3 axes, got 1"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(transform: Any, expected: str) -> None:
    image = np.zeros((2, 8, 8, 8), np.float32)
    with pytest.raises(IndexError):
        apply_recorded(transform, image, None, 0)
    with pytest.raises(fl.TransformError, match=rf"\[ChannelMisalignmentTransform\] expected {expected}"):
        fl.compile_transforms(transform)(image=image)


@pytest.mark.parametrize(
    ("affine", "centre", "expected"),
    [
        (None, [4, 4], "'center_location_in_pixels' of 3 numbers, got 2"),
        (None, [4, 4, np.nan], "a finite 'center_location_in_pixels'"),
        (np.eye(2), [4, 4, 4], "'affine' of 3 rows and columns"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(affine: Any, centre: Any, expected: str) -> None:
    transform = misalignment()
    parameters = {"affine": affine, "center_location_in_pixels": centre, "elastic_offsets": None}
    with pytest.raises(fl.TransformError, match=rf"\[ChannelMisalignmentTransform\] expected {expected}"):
        fl.compile_transforms(transform).replay([(transform, parameters)], image=np.zeros((1, 8, 8, 8), np.float32))
