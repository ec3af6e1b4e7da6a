"""What batchgeneratorsv2 drew, replayed natively, gives what batchgeneratorsv2 gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from comparing import assert_images_agree, assert_labels_agree
from images import brain
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from recording import apply_recorded, leaves, seed_all

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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [
        MultiplicativeBrightnessTransform((0.75, 1.25), False, 0.7),
        MultiplicativeBrightnessTransform((0.75, 1.25), True, 1),
        ContrastTransform(BGContrast((0.75, 1.25)), True, False, 0.7),
        ContrastTransform(BGContrast((0.5, 2.0)), False, True, 1),
        GammaTransform((0.7, 1.5), 1, False, 0.7, 1),
        GammaTransform((0.7, 1.5), 0, True, 1, 1),
        GammaTransform((0.5, 2.0), 0.5, False, 1, 0.5),
        MaskImageTransform([0], 0, 0),
        MaskImageTransform([0], 0, -1.5),
        RemoveLabelTransform(-1, 0),
        RemoveLabelTransform(2, 7, 0),
        ConvertSegmentationToRegionsTransform([(1, 2), (2,), 1], 0),
    ],
    ids=lambda t: type(t).__name__,
)
def test_transforms_of_any_shape(transform: Any, shape: tuple[int, ...], channels: int) -> None:
    for seed in range(3):
        check(transform, shape, channels, seed=seed)


@pytest.mark.parametrize("shape", [(29, 34, 31), (16, 33, 64), (37, 42)])
@pytest.mark.parametrize(
    "transform",
    [
        GaussianBlurTransform((0.5, 1.0), False, False, 0.5),
        GaussianBlurTransform((0.3, 1.5), False, True, 1),
        GaussianBlurTransform((0.5, 1.0), True, True, 1),
        GaussianBlurTransform((0.5, 1.0), True, False, 0.5),
    ],
)
def test_gaussian_blur(transform: Any, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        check(transform, shape, 3, seed=seed)


@pytest.mark.parametrize("shape", SHAPES)
def test_mirror(shape: tuple[int, ...]) -> None:
    for seed in range(8):
        check(MirrorTransform(tuple(range(len(shape)))), shape, 2, seed=seed)


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


@pytest.mark.parametrize("scales", [[[1, 1, 1], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]], [[0.5, 0.25, 0.5]], [[1, 0.5, 0.5]]])
def test_downsample_seg_for_ds(scales: list[list[float]]) -> None:
    check(DownsampleSegForDSTransform(scales), (29, 34, 31), 1)
    check(DownsampleSegForDSTransform(scales), (12, 16, 20), 1, labels=120)


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


@pytest.mark.parametrize("channels", [1, 2])
def test_pseudo_2d(channels: int) -> None:
    tree = ComposeTransforms(
        [
            Convert3DTo2DTransform(),
            SpatialTransform((30, 33), 0, False, p_rotation=1, rotation=(-3, 3), p_scaling=1, scaling=(0.7, 1.4)),
            Convert2DTo3DTransform(),
        ]
    )
    for seed in range(3):
        check(tree, (9, 44, 40), channels, seed=seed)


def one_hot(shape: tuple[int, ...], labels: tuple[int, ...]) -> MoveSegAsOneHotToDataTransform:
    return MoveSegAsOneHotToDataTransform(1, list(labels), True)


@pytest.mark.parametrize("shape", [(29, 34, 31), (37, 42)])
def test_move_seg_as_one_hot_to_data(shape: tuple[int, ...]) -> None:
    check(one_hot(shape, (1, 2)), shape, 1, segmentation_channels=2)


@pytest.mark.parametrize("shape", [(29, 34, 31), (37, 42)])
def test_apply_random_binary_operator(shape: tuple[int, ...]) -> None:
    tree = ComposeTransforms(
        [one_hot(shape, (1, 2)), ApplyRandomBinaryOperatorTransform([1, 2], strel_size=(1, 5), p_per_label=1)]
    )
    for seed in range(8):
        check(tree, shape, 1, seed=seed, segmentation_channels=2)


@pytest.mark.parametrize("fill", [0, 1])
@pytest.mark.parametrize("shape", [(29, 34, 31), (37, 42)])
def test_remove_random_connected_component(shape: tuple[int, ...], fill: int, monkeypatch: pytest.MonkeyPatch) -> None:
    transform = RemoveRandomConnectedComponentFromOneHotEncodingTransform([1, 2], fill, 1.1, 1)
    tree = ComposeTransforms([one_hot(shape, (1, 2)), transform])
    image, segmentation = brain(1, shape, segmentation_channels=2, seed=3)
    pipeline = fl.compile_transforms(tree)
    seed_all(0)
    drawn: list[tuple[str, int, Any]] = []
    choice = np.random.choice

    def noting(candidates: Any) -> Any:
        chosen = choice(candidates)
        drawn.append(("choice", len(candidates), list(candidates).index(chosen)))
        return chosen

    # batchgeneratorsv2 chooses the component and the other class while it applies.
    monkeypatch.setattr(np.random, "choice", noting)
    expected, trace = apply_recorded(tree, image, segmentation, 0)
    parameters = trace[1][1]
    channels = parameters["apply_to_channels"]
    per_channel = 2 if fill else 1
    assert len(drawn) == per_channel * len(channels)
    chosen = drawn[::per_channel]
    parameters["component_u"] = [(index + 0.5) / count for _, count, index in chosen]
    parameters["fill"] = [float(fill)] * len(channels)
    parameters["other_u"] = [0.5] * len(channels)
    got = pipeline.replay(trace, image=image, segmentation=segmentation)
    assert not torch.equal(
        got["image"], fl.compile_transforms(one_hot(shape, (1, 2)))(image=image, segmentation=segmentation)["image"]
    )
    assert_images_agree(got["image"], expected["image"])


def of_trainer(patch: tuple[int, ...], dummy_2d: bool = False, **settings: Any) -> ComposeTransforms:
    """nnU-Net's training transforms, firing more often; noise, which no parameter describes, off."""
    scales = [[1] * len(patch), [0.5] * len(patch)]
    rotation = (-np.pi, np.pi) if len(patch) == 2 or dummy_2d else (-np.pi / 6, np.pi / 6)
    tree = nnUNetTrainer.get_training_transforms(patch, rotation, scales, tuple(range(len(patch))), dummy_2d, **settings)
    for node in tree.transforms:
        if type(node).__name__ == "RandomTransform":
            node.apply_probability = 0.0 if type(node.transform).__name__ == "GaussianNoiseTransform" else 0.7
        if isinstance(node, SpatialTransform):
            node.p_rotation = node.p_scaling = 0.6
    return tree


@pytest.mark.parametrize(
    ("patch", "shape", "channels", "settings"),
    [
        ((29, 34, 31), (44, 47, 51), 1, {}),
        ((29, 34, 31), (44, 47, 51), 3, {"use_mask_for_norm": [True, False, True]}),
        ((37, 42), (60, 55), 2, {}),
        ((9, 40, 36), (9, 60, 55), 2, {"dummy_2d": True}),
        ((29, 34, 31), (44, 47, 51), 1, {"regions": [(1, 2), (2,)]}),
        ((29, 34, 31), (44, 47, 51), 1, {"ignore_label": 2, "regions": [(1, 2)]}),
    ],
    ids=["3D", "masked", "2D", "dummy 2D", "regions", "ignore"],
)
def test_training_transforms_of_nnunet(patch: Any, shape: Any, channels: int, settings: dict[str, Any]) -> None:
    tree = of_trainer(patch, **settings)
    fired: set[str] = set()
    for seed in range(10):
        check(tree, shape, channels, seed=seed)
        image, segmentation = brain(channels, shape, seed=seed)
        fired |= {type(t).__name__ for t, _ in apply_recorded(tree, image, segmentation, seed)[1]}
    assert {"GammaTransform", "ContrastTransform", "SimulateLowResolutionTransform", "GaussianBlurTransform"} <= fired


@pytest.mark.parametrize("settings", [{}, {"regions": [(1, 2), (2,)]}, {"is_cascaded": True, "foreground_labels": [1, 2]}])
def test_validation_transforms_of_nnunet(settings: dict[str, Any]) -> None:
    tree = nnUNetTrainer.get_validation_transforms([[1, 1, 1], [0.5, 0.5, 0.5]], **settings)
    check(tree, (29, 34, 31), 1, segmentation_channels=2 if "is_cascaded" in settings else 1)


@pytest.mark.parametrize(
    "transform",
    [
        ContrastTransform((0.5, 2), True, False, 1),
        GammaTransform((0.7, 1.5), 1, False, 1, 1),
        GaussianBlurTransform(1.0, False, False, 1),
        SimulateLowResolutionTransform((0.5, 0.9), False, False, None, None, 1),
    ],
)
def test_constant_images(transform: Any) -> None:
    image = np.full((1, 12, 13, 14), 3.5, np.float32)
    expected, trace = apply_recorded(transform, image, None, 0)
    got = fl.compile_transforms(transform).replay(trace, image=image)
    assert_images_agree(got["image"], expected["image"])


def test_replay_refuses_a_transform_of_another_tree() -> None:
    tree = of_trainer((20, 20, 20))
    pipeline = fl.compile_transforms(tree)
    stranger = MirrorTransform((0, 1, 2))
    with pytest.raises(ValueError, match=r"\[replay\] expected a transform of the compiled tree"):
        pipeline.replay([(stranger, {"axes": []})], image=np.zeros((1, 20, 20, 20), np.float32))


def test_every_leaf_of_the_default_trees_is_native() -> None:
    tree = of_trainer((20, 20, 20), is_cascaded=True, foreground_labels=[1, 2], use_mask_for_norm=[True])
    assert len(list(leaves(tree))) == 15
    assert fl.compile_transforms(tree).all_native
