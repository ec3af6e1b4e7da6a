"""The transforms of nnU-Net's trainers, built without a trainer."""

from __future__ import annotations

import itertools
import random
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform

import fastnnunet_loader as fl

PATCHES = [(64, 64), (40, 96), (32, 32, 32), (48, 40, 48), (8, 40, 40), (12, 48, 32)]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "regions": {"regions": [(1, 2), 2]},
    "regions_ignore": {"regions": [(1, 2), (2,)], "ignore_label": 3},
    "cascade": {"foreground_labels": [1, 2, 3], "is_cascaded": True},
    "masked": {"use_mask_for_norm": [True, False, True]},
    "masked_by_none": {"use_mask_for_norm": [False]},
    "ignore": {"ignore_label": 4},
}


def trainers() -> dict[str, Any]:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation import (
        nnUNetTrainer_noDummy2DDA,
        nnUNetTrainerDA5,
        nnUNetTrainerDAOrd0,
        nnUNetTrainerNoMirroring,
    )

    modules = (nnUNetTrainer_noDummy2DDA, nnUNetTrainerDA5, nnUNetTrainerDAOrd0, nnUNetTrainerNoMirroring)
    classes = {name: cls for module in modules for name, cls in vars(module).items()}
    return {name: classes.get(name, nnUNetTrainer) for name in fl.augmentation.TRAINERS}


class Configured:
    """What a trainer asks its plans for its augmentation."""

    def __init__(self, cls: Any, patch: tuple[int, ...]) -> None:
        self.configuration_manager = type("Manager", (), {"patch_size": list(patch)})()
        self.cls = cls

    def configure(self) -> tuple[Any, bool, Any, Any]:
        made = object.__new__(self.cls)
        made.configuration_manager = self.configuration_manager
        made.print_to_log_file = lambda *_: None
        return made.configure_rotation_dummyDA_mirroring_and_inital_patch_size()


def described(value: Any) -> Any:
    """A tree as plain values: classes and all attributes; functions by what they return with the same random numbers."""
    if isinstance(value, torch.nn.Module) or type(value).__module__.startswith("batchgeneratorsv2"):
        attributes = {name: described(one) for name, one in vars(value).items() if name not in ("training",)}
        return (type(value).__qualname__, attributes)
    if isinstance(value, MethodType) or (callable(value) and not isinstance(value, type)):
        return drawn(value)
    if isinstance(value, (list, tuple)):
        return [described(one) for one in value]
    if isinstance(value, dict):
        return {name: described(one) for name, one in value.items()}
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def drawn(function: Any) -> Any:
    module = getattr(function, "__module__", "")
    if not module.startswith(("nnunetv2", "fastnnunet_loader")):
        return (module, getattr(function, "__qualname__", ""))
    np.random.seed(7)
    random.seed(7)
    for arguments in ((), ([48, 40, 32], 1), (None, None)):
        try:
            return [float(function(*arguments)) for _ in range(20)]
        except TypeError:
            continue
    raise AssertionError(function)


@pytest.mark.parametrize("patch", PATCHES, ids=str)
@pytest.mark.parametrize("trainer", list(fl.augmentation.TRAINERS))
def test_trees_are_those_of_the_trainer(trainer: str, patch: tuple[int, ...]) -> None:
    cls = trainers()[trainer]
    rotation, folded, initial, mirrored = Configured(cls, patch).configure()
    for scales, settings in itertools.product((None, [[1.0] * len(patch), [0.5] * len(patch)]), VARIANTS.values()):
        theirs = cls.get_training_transforms(patch, rotation, scales, mirrored, folded, **settings)
        made = fl.augmentation.nnunet(
            patch,
            trainer=trainer,
            deep_supervision_scales=scales,
            use_mask_for_norm=settings.get("use_mask_for_norm"),
            cascade_labels=settings.get("foreground_labels"),
            regions=settings.get("regions"),
            ignore_label=settings.get("ignore_label"),
        )
        assert described(made.transforms) == described(theirs)
        assert made.initial_patch_size == tuple(int(n) for n in initial)
        assert made.mirror_axes == tuple(mirrored or ())
        assert all(type(n) is int for n in made.initial_patch_size + made.patch_size)


@pytest.mark.parametrize("trainer", list(fl.augmentation.TRAINERS))
def test_all_transforms_are_native(trainer: str) -> None:
    made = fl.augmentation.nnunet((8, 40, 40), trainer=trainer, deep_supervision_scales=[[1, 1, 1]], cascade_labels=[1, 2])
    assert fl.compile_transforms(made.transforms).fallbacks == []


@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_no_augmentation_is_nnunets_validation(patch: tuple[int, ...]) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    for scales, settings in itertools.product((None, [[1.0] * len(patch)]), VARIANTS.values()):
        settings = {name: value for name, value in settings.items() if name != "use_mask_for_norm"}
        theirs = nnUNetTrainer.get_validation_transforms(scales, **settings)
        made = fl.augmentation.none(
            patch,
            deep_supervision_scales=scales,
            cascade_labels=settings.get("foreground_labels"),
            regions=settings.get("regions"),
            ignore_label=settings.get("ignore_label"),
        )
        assert described(made.transforms) == described(theirs)
        assert made.initial_patch_size == made.patch_size == patch


def test_sizes_are_nnunets_for_any_patch_and_angle() -> None:
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

    from fastnnunet_loader.augmentation.tree import enlarged

    generator = np.random.default_rng(0)
    for _ in range(500):
        patch = tuple(int(n) for n in generator.integers(1, 400, size=generator.integers(2, 4)))
        angle, scale = float(generator.uniform(0, 2)), float(generator.uniform(0.5, 1))
        expected = get_patch_size(patch, (-angle, angle), (-angle, angle), (-angle, angle), (scale, 1.2))
        assert enlarged(patch, angle, scale, keep_first=False) == tuple(int(n) for n in expected), (patch, angle, scale)


def test_any_tree_gets_patches_that_it_can_turn_and_scale() -> None:
    def spatial(**settings: Any) -> Any:
        return SpatialTransform((32, 32, 32), 0, False, **settings)

    size = fl.augmentation.initial_patch_size_of
    noise = GaussianNoiseTransform()
    assert size(None, (32, 32, 32)) == size([noise], (32, 32, 32)) == (32, 32, 32)
    assert size(spatial(p_rotation=0, p_scaling=0), (32, 32, 32)) == (32, 32, 32)
    assert size(spatial(p_rotation=0, p_scaling=1, scaling=(0.5, 1)), (32, 32, 32)) == (64, 64, 64)
    turned = spatial(p_rotation=1, rotation=(-0.5, 0.25), p_scaling=0)
    expected = fl.augmentation.tree.enlarged((32, 32, 32), 0.5, 1, keep_first=False)
    for tree in (turned, [noise, turned], ComposeTransforms([RandomTransform(turned, 0.5)])):
        assert size(tree, (32, 32, 32)) == expected
    any_angle = spatial(p_rotation=1, rotation=lambda **_: 0.1, p_scaling=0)
    assert size(any_angle, (32, 32, 32)) == fl.augmentation.tree.enlarged((32, 32, 32), np.pi / 2, 1, keep_first=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": (8,)}, r"\[patch_size\] expected 2 or 3 whole numbers above 0, got \(8,\)"),
        ({"patch_size": (8, 0)}, r"\[patch_size\] expected 2 or 3 whole numbers above 0"),
        ({"patch_size": "abc"}, r"\[patch_size\] expected 2 or 3 whole numbers above 0"),
        ({"trainer": "nnUNetTrainerX"}, r"\[trainer\] expected one of nnUNetTrainer, .*, got 'nnUNetTrainerX'"),
        ({"mirror_axes": (2,)}, r"\[mirror_axes\] expected axes from 0 to 1, got \(2,\)"),
    ],
)
def test_wrong_arguments_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fl.augmentation.nnunet(**{"patch_size": (8, 8), **settings})


@pytest.mark.parametrize("patch_size", [(20, 24, 28), (24, 28)])
def test_transforms_of_ones_own_follow_an_augmentation(patch_size: tuple[int, ...]) -> None:
    made = fl.augmentation.nnunet(patch_size)
    own = GammaTransform((0.7, 1.5), 0, True, 1, 1)
    tree = ComposeTransforms([made, own])
    assert fl.augmentation.initial_patch_size_of(tree, patch_size) == made.initial_patch_size
    image = np.random.default_rng(0).normal(size=(1, *made.initial_patch_size)).astype(np.float32)
    labels = (image > 1).astype(np.int16)
    expected = fl.compile_transforms([made.transforms, own])(image=image, segmentation=labels, seed=3)
    for together in (tree, [made, own]):
        found = fl.compile_transforms(together)(image=image, segmentation=labels, seed=3)
        assert found["image"].shape == (1, *patch_size)
        assert torch.equal(found["segmentation"], expected["segmentation"])
    # batchgeneratorsv2 itself takes it, too.
    assert tree(image=torch.from_numpy(image), segmentation=torch.from_numpy(labels))["image"].shape == (1, *patch_size)
