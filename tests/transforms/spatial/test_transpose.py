"""TransposeAxesTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from images import brain
from parity import check
from recording import apply_recorded
from test_distributions import compare

import fastnnunet_loader as fl


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((23, 23, 23), {0, 1, 2}),
        ((40, 40, 40), (2, 0, 1)),
        ((19, 33, 33), (2, 1)),
        ((33, 19, 33), {0, 2}),
        ((33, 33, 19), {0, 1}),
        ((1, 37, 37), (1, 2)),
        ((1, 1, 37), (0, 1)),
        ((37, 37), (0, 1)),
        ((30, 37), (1,)),
        ((30, 37), ()),
    ],
)
def test_transpose_axes(shape: tuple[int, ...], axes: set[int]) -> None:
    for seed in range(8):
        check(TransposeAxesTransform(axes), shape, 1 + seed % 4, seed=seed, segmentation_channels=2)


def test_every_order() -> None:
    transform = TransposeAxesTransform((0, 1, 2))
    pipeline = fl.compile_transforms(transform)
    image, segmentation = brain(2, (18, 18, 18))
    for order in ([0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3], [0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]):
        got = pipeline.replay([(transform, {"axis_order": order})], image=image, segmentation=segmentation)
        assert np.array_equal(got["image"].numpy(), image.transpose(order))
        assert np.array_equal(got["segmentation"].numpy(), segmentation.transpose(order))


def test_regions_go_along() -> None:
    transform = TransposeAxesTransform((0, 1, 2))
    tree = [ConvertSegmentationToRegionsTransform([[1, 2], [2]], 0), transform]
    image, segmentation = brain(1, (12, 12, 12))
    data = {"image": torch.from_numpy(image.copy()), "segmentation": torch.from_numpy(segmentation.copy())}
    parameters = {"axis_order": [0, 3, 1, 2]}
    expected = transform.apply(tree[0](**data), **parameters)
    got = fl.compile_transforms(tree).replay([(tree[0], {}), (transform, parameters)], image=image, segmentation=segmentation)
    assert torch.equal(got["segmentation"], expected["segmentation"])


def test_draws() -> None:
    compare(TransposeAxesTransform({0, 1, 2}), (1, 3, 3, 3))


@pytest.mark.parametrize(("shape", "axes"), [((8, 9), (0, 1)), ((8, 8, 9), (0, 1, 2)), ((8, 8), (0, 2))])
def test_what_batchgeneratorsv2_fails_at_is_refused(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    image = np.zeros((1, *shape), np.float32)
    with pytest.raises((ValueError, IndexError)):
        apply_recorded(TransposeAxesTransform(axes), image, None, 0)
    with pytest.raises(fl.TransformError, match=r"\[TransposeAxesTransform\] expected 'allowed_axes'") as caught:
        fl.compile_transforms(TransposeAxesTransform(axes))(image=image)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2, 3], [0, 1, 1, 3], [0, 3, 2, 1], [0, 1, 2, 4]])
def test_orders_that_do_not_fit_are_refused(order: list[int]) -> None:
    transform = TransposeAxesTransform((1, 2))
    with pytest.raises(fl.TransformError, match=r"\[TransposeAxesTransform\] expected 'axis_order'"):
        fl.compile_transforms(transform).replay([(transform, {"axis_order": order})], image=np.zeros((1, 5, 6, 6), np.float32))


@pytest.mark.parametrize("axes", [(0, 0, 1), (-1, 0), (0, 3)])
def test_axes_that_make_no_sense_are_left_to_python(axes: tuple[int, ...]) -> None:
    (reason,) = fl.compile_transforms(TransposeAxesTransform(axes)).fallbacks
    assert "'allowed_axes'" in reason
