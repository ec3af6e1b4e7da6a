"""The trees that nnU-Net's trainers build, replayed natively as a whole."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from comparing import assert_images_agree, assert_labels_agree
from images import brain
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from parity import check
from recording import apply_recorded, leaves
from sensitivity import four_times_its_own_movement
from trainers import distinct_trees

import fastnnunet_loader as fl
from datasets import KINDS_OF_DATA
from scans import chest


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


def test_every_leaf_of_the_default_trees_is_native() -> None:
    tree = of_trainer((20, 20, 20), is_cascaded=True, foreground_labels=[1, 2], use_mask_for_norm=[True])
    assert len(list(leaves(tree))) == 15
    assert fl.compile_transforms(tree).all_native


# Every trainer of nnU-Net's


def fire_often(node: Any) -> None:
    """Makes what fires now and then fire mostly. Off is what no parameter describes: noise, and what
    RemoveRandomConnectedComponentFromOneHotEncodingTransform draws while it is applied. Both have tests of their own."""
    name = type(node).__name__
    if name == "RandomTransform":
        unknown = type(node.transform).__name__.startswith(("GaussianNoise", "RemoveRandom"))
        node.apply_probability = 0.0 if unknown else max(node.apply_probability, 0.7)
        fire_often(node.transform)
    elif isinstance(node, SpatialTransform):
        node.p_rotation = node.p_scaling = 0.6
    for child in getattr(node, "transforms", getattr(node, "list_of_transforms", ())):
        fire_often(child)


@pytest.mark.parametrize(("variant", "configuration"), KINDS_OF_DATA)
def test_every_trainer_of_nnunet_is_native_and_the_same(
    nnunet_dataset: Any, scans: Path, variant: str, configuration: str
) -> None:
    assert_trees_agree(
        distinct_trees(nnunet_dataset(variant), variant, configuration), variant, functools.partial(chest, scans)
    )


def assert_trees_agree(trees: list[tuple[str, Any]], variant: str, *further: Any) -> None:
    """Also of other versions of nnU-Net (test_versions.py). further: what gives images beside `brain`, in its way."""
    assert len(trees) >= 8
    image_channels, segmentation_channels = 1 + (variant == "two_channels"), 1 + (variant == "cascade")
    for name, loader in trees:
        tree = loader.transforms
        pipeline = fl.compile_transforms(tree)
        assert pipeline.all_native, (name, pipeline.fallbacks)
        fire_often(tree)
        shape = tuple(int(n) for n in loader.patch_size[-2 if loader.patch_size_was_2d else -3 :])
        for source, seed in [(brain, 0), (brain, 1), (brain, 2), *((source, 0) for source in further)]:
            image, segmentation = source(image_channels, shape, seed=seed, segmentation_channels=segmentation_channels)
            expected, trace = apply_recorded(tree, image, segmentation, seed)
            got = pipeline.replay(trace, image=image, segmentation=segmentation)
            # A tie between two labels of a previous stage is a difference of 1 in its channels.
            ours, theirs = got["image"][:image_channels], expected["image"][:image_channels]
            # Long chains of transforms add up their roundings; what is steep somewhere makes more of them.
            movement = functools.partial(four_times_its_own_movement, trace, image, segmentation, image_channels)
            assert_images_agree(ours, theirs, 1e-4, movement=movement)
            assert_labels_agree(got["image"][image_channels:], expected["image"][image_channels:])
            assert_labels_agree(got["segmentation"], expected["segmentation"])
