"""MoveChannelsTransform against batchgeneratorsv2's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.move_channels import MoveChannelsTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from comparing import assert_images_agree, assert_labels_agree
from images import brain
from parity import check
from recording import apply_recorded

import fastnnunet_loader as fl

TO_IMAGE = ("segmentation", "image")
TO_SEGMENTATION = ("image", "segmentation")


@pytest.mark.parametrize("shape", [(11, 12, 13), (1, 12, 13), (12, 13)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ids", [0, 1, (2, 0), (-1, 2), ()])
def test_segmentation_to_image(shape: tuple[int, ...], channels: int, ids: Any) -> None:
    check(MoveChannelsTransform(ids, *TO_IMAGE), shape, channels, segmentation_channels=3)


@pytest.mark.parametrize("shape", [(11, 12, 13), (12, 13)])
@pytest.mark.parametrize("ids", [0, 1, (2, 0), (-1, 2), ()])
def test_image_to_segmentation(shape: tuple[int, ...], ids: Any) -> None:
    image, segmentation = brain(3, shape, segmentation_channels=2)
    image = np.rint(image * 100)  # labels
    transform = MoveChannelsTransform(ids, *TO_SEGMENTATION)
    expected, trace = apply_recorded(transform, image, segmentation, 0)
    pipeline = fl.compile_transforms(transform)
    for got in (
        pipeline.replay(trace, image=image, segmentation=segmentation),
        pipeline(image=image, segmentation=segmentation),
    ):
        assert_images_agree(got["image"], expected["image"])
        assert_labels_agree(got["segmentation"], expected["segmentation"].to(torch.int16))


@pytest.mark.parametrize("key", ["image", "segmentation"])
def test_from_and_to_the_same_loses_the_channels(key: str) -> None:
    check(MoveChannelsTransform((0, 2), key, key), (6, 7, 8), 3, segmentation_channels=4)


def test_regions_to_image() -> None:
    image, segmentation = brain(1, (9, 10, 11))
    tree = [ConvertSegmentationToRegionsTransform([[1, 2], [2], [0]], 0), MoveChannelsTransform((1,), *TO_IMAGE)]
    data = {"image": torch.from_numpy(image.copy()), "segmentation": torch.from_numpy(segmentation.copy())}
    expected = tree[1](**tree[0](**data))
    got = fl.compile_transforms(tree)(image=image, segmentation=segmentation)
    assert_images_agree(got["image"], expected["image"])
    assert got["segmentation"].dtype == torch.bool
    assert torch.equal(got["segmentation"], expected["segmentation"])


def test_what_cannot_be_a_label_is_refused() -> None:
    segmentation = np.zeros((1, 4, 5, 6), np.int16)
    pipeline = fl.compile_transforms(MoveChannelsTransform(1, *TO_SEGMENTATION))
    for value in (0.5, 40000.0, np.nan, np.inf):
        image = np.zeros((2, 4, 5, 6), np.float32)
        image[1, 2, 3, 4] = value
        with pytest.raises(fl.TransformError, match=r"\[MoveChannelsTransform\] expected whole numbers .* channel 1"):
            pipeline(image=image, segmentation=segmentation)


@pytest.mark.parametrize(
    ("ids", "keys", "expected"),
    [
        (2, TO_IMAGE, "'channel_ids' below 2"),
        (-3, TO_SEGMENTATION, "'channel_ids' below 2"),
        ((0, 1), TO_IMAGE, "'channel_ids' that leave a channel"),
        ((0, 1), TO_SEGMENTATION, "'channel_ids' that leave a channel"),
    ],
)
def test_channels_that_do_not_fit_are_refused(ids: Any, keys: tuple[str, str], expected: str) -> None:
    image, segmentation = np.zeros((2, 4, 5, 6), np.float32), np.zeros((2, 4, 5, 6), np.int16)
    with pytest.raises(fl.TransformError, match=rf"\[MoveChannelsTransform\] expected {expected}") as caught:
        fl.compile_transforms(MoveChannelsTransform(ids, *keys))(image=image, segmentation=segmentation)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("keys", [TO_IMAGE, TO_SEGMENTATION])
def test_a_sample_without_segmentation_is_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(fl.TransformError, match=r"\[MoveChannelsTransform\] expected a sample with a segmentation"):
        fl.compile_transforms(MoveChannelsTransform(0, *keys))(image=np.zeros((2, 4, 5, 6), np.float32))


def test_other_keys_run_in_python() -> None:
    (reason,) = fl.compile_transforms(MoveChannelsTransform(0, "regression_target", "image")).fallbacks
    assert "'source_key' is 'regression_target'" in reason
