"""Replays natively what batchgeneratorsv2 drew, on real images, and compares (invariant 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from comparing import assert_images_agree, assert_labels_agree
from images import brain
from recording import apply_recorded

import fastnnunet_loader as fl

SHAPES = [(29, 34, 31), (16, 33, 64), (1, 40, 41), (37, 42)]


def check(tree: Any, shape: tuple[int, ...], channels: int, *, seed: int = 0, tolerance: float = 1e-5, **data: Any) -> None:
    """Replays one application of `tree` to a real image."""
    image, segmentation = brain(channels, shape, seed=seed, **data)
    pipeline = fl.compile_transforms(tree)
    assert pipeline.all_native, pipeline.fallbacks
    expected, trace = apply_recorded(tree, image, segmentation, seed)
    got = pipeline.replay(trace, image=image, segmentation=segmentation)
    assert_images_agree(got["image"], expected["image"], tolerance)
    assert_labels_agree(got["segmentation"], expected["segmentation"])


def check_image(transform: Any, image: np.ndarray, *, seed: int = 0, exact: bool = False) -> None:
    """Replays one application to an image, which must stay as it is."""
    before = image.copy()
    expected, trace = apply_recorded(transform, image, None, seed)
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native, pipeline.fallbacks
    got = pipeline.replay(trace, image=image)
    assert np.array_equal(image, before, equal_nan=True)
    assert_images_agree(got["image"], expected["image"])
    if exact:
        assert torch.equal(got["image"], expected["image"])


def check_values(transform: Any, values: list[float], shape: tuple[int, ...] = (9, 10, 11)) -> None:
    """Replays one application to a real image in which a few voxels have these values."""
    image, _ = brain(2, shape)
    places = np.random.default_rng(1).choice(image.size, len(values), replace=False)
    image.reshape(-1)[places] = values
    check_image(transform, image)


def check_constant(transform: Any) -> None:
    """Replays one application to an image of one value."""
    image = np.full((1, 12, 13, 14), 3.5, np.float32)
    expected, trace = apply_recorded(transform, image, None, 0)
    got = fl.compile_transforms(transform).replay(trace, image=image)
    assert_images_agree(got["image"], expected["image"])


def one_hot(labels: tuple[int, ...] = (1, 2)) -> MoveSegAsOneHotToDataTransform:
    """The start of a cascade's tree: the previous stage, channel 1 of the segmentation, becomes image channels."""
    return MoveSegAsOneHotToDataTransform(1, list(labels), True)
