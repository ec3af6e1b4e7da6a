"""Whatever native code stands for in batchgeneratorsv2, replaced by its user, is called or named."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform, MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.intensity.random_clip import CutOffOutliersTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_contrast import LocalContrastTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.local.local_smoothing import LocalSmoothingTransform
from batchgeneratorsv2.transforms.nnunet import random_binary_operator
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial.channel_misalignment import ChannelMisalignmentTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.move_channels import MoveChannelsTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import OneOfTransform, RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

import fastnnunet_loader as fl
from fastnnunet_loader import known
from fastnnunet_loader.known.roots import ROOTS
from fastnnunet_loader.known.walk import Found, Walk
from fastnnunet_loader.transforms.registry import NATIVE

PATCH = (8, 8, 8)

MAKE: dict[str, Callable[[], Any]] = {
    "ApplyRandomBinaryOperatorTransform": lambda: ApplyRandomBinaryOperatorTransform([1], strel_size=(1, 2)),
    "BlankRectangleTransform": lambda: BlankRectangleTransform(((1, 3),) * 3, 0.5, (1, 2)),
    "BrightnessAdditiveTransform": lambda: BrightnessAdditiveTransform(0, 0.1),
    "BrightnessGradientAdditiveTransform": lambda: BrightnessGradientAdditiveTransform(
        (2, 4), max_strength=(0.5, 1), same_for_all_channels=False
    ),
    "ChannelMisalignmentTransform": lambda: ChannelMisalignmentTransform(
        (0,), (0.1, 0.2, 0), 0.4, (10, 20, 30), "deg", 0.6, (2, 5, 3), 0.7
    ),
    "ContrastTransform": lambda: ContrastTransform(BGContrast((0.7, 1.3)), True, False),
    "Convert2DTo3DTransform": Convert2DTo3DTransform,
    "Convert3DTo2DTransform": Convert3DTo2DTransform,
    "ConvertSegmentationToRegionsTransform": lambda: ConvertSegmentationToRegionsTransform([(1, 2), (2,)]),
    "CutOffOutliersTransform": lambda: CutOffOutliersTransform((0, 2.5), (97.5, 100)),
    "DownsampleSegForDSTransform": lambda: DownsampleSegForDSTransform([1, 0.5]),
    "GammaTransform": lambda: GammaTransform((0.7, 1.5), 0, False, 1, 1),
    "GaussianBlurTransform": lambda: GaussianBlurTransform((0.5, 1), False, False),
    "GaussianNoiseTransform": lambda: GaussianNoiseTransform((0, 0.1), 1, False),
    "InvertImageTransform": lambda: InvertImageTransform(1, 1, 1),
    "LocalContrastTransform": lambda: LocalContrastTransform((2, 4), new_contrast=(0.5, 1.5)),
    "LocalGammaTransform": lambda: LocalGammaTransform((2, 4)),
    "LocalSmoothingTransform": lambda: LocalSmoothingTransform((2, 4), smoothing_strength=(0.5, 1)),
    "MaskImageTransform": lambda: MaskImageTransform([0]),
    "MedianFilterTransform": lambda: MedianFilterTransform((2, 4)),
    "MirrorTransform": lambda: MirrorTransform((0, 1, 2)),
    "MoveChannelsTransform": lambda: MoveChannelsTransform((1,), "segmentation", "image"),
    "MoveSegAsOneHotToDataTransform": lambda: MoveSegAsOneHotToDataTransform(1, [1, 2]),
    "MultiplicativeBrightnessTransform": lambda: MultiplicativeBrightnessTransform((0.7, 1.3), False),
    "RemoveLabelTransform": lambda: RemoveLabelTransform(-1, 0),
    "RemoveRandomConnectedComponentFromOneHotEncodingTransform": lambda: (
        RemoveRandomConnectedComponentFromOneHotEncodingTransform([1])
    ),
    "RicianNoiseTransform": lambda: RicianNoiseTransform((0, 0.1)),
    "Rot90Transform": lambda: Rot90Transform((1, 4)),
    "SharpeningTransform": lambda: SharpeningTransform((0.1, 1)),
    "SimulateLowResolutionTransform": lambda: SimulateLowResolutionTransform((0.5, 1), False, False, None),
    "SpatialTransform": lambda: SpatialTransform(PATCH, 0, False, p_rotation=1, p_scaling=1),
    "TransposeAxesTransform": lambda: TransposeAxesTransform({0, 1}),
    "ComposeTransforms": lambda: ComposeTransforms([MirrorTransform((0,))]),
    "RandomTransform": lambda: RandomTransform(MirrorTransform((0,)), 0.5),
    "OneOfTransform": lambda: OneOfTransform([MirrorTransform((0,)), MirrorTransform((1,))]),
}
CONTAINERS = ("ComposeTransforms", "RandomTransform", "OneOfTransform")


def counting(value: Any, counter: SimpleNamespace) -> Any:
    if isinstance(value, ModuleType):
        return SimpleNamespace(**vars(value))
    if not callable(value):
        return ("other", value)

    @functools.wraps(value)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        counter.calls += 1
        return value(*args, **kwargs)

    return replacement


def walked(transform: Any) -> dict[str, bool]:
    """The keys of all that a transform has behind it, and whether they are only the home of what others refer to."""
    found: list[Found] = []
    Walk(found.append).root(transform, ())
    homes = {one.fingerprint[3:] for one in found if one.fingerprint.startswith("-> ")}
    return {one.key: one.key in homes for one in sorted(found, key=lambda one: one.key) if one.fingerprint != "class"}


def sample() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "image": torch.from_numpy(rng.normal(size=(2, *PATCH)).astype(np.float32)),
        "segmentation": torch.from_numpy(rng.integers(0, 3, (2, *PATCH)).astype(np.int16)),
    }


def fallback(transform: Any) -> str:
    """Why the whole of it runs in Python; nothing where it is native."""
    pipeline = fl.compile_transforms(transform)
    if pipeline.all_native:
        return ""
    (reason,) = pipeline.fallbacks
    assert reason.startswith(f"{type(transform).__name__}: "), reason
    return reason


def test_every_class_is_tried_and_is_a_root() -> None:
    assert MAKE.keys() == NATIVE.keys() | set(CONTAINERS)
    assert {where.split(":")[1] for where, names in ROOTS["transforms"] if not names} == MAKE.keys() | {"BGContrast"}


@pytest.mark.parametrize("name", MAKE)
def test_as_installed_it_is_native(name: str) -> None:
    transform = MAKE[name]()
    assert known.changed(transform) == []
    assert fallback(transform) == ""


@pytest.mark.parametrize("name", MAKE)
def test_every_member_replaced_in_its_class_or_module_is_named(name: str) -> None:
    transform = MAKE[name]()
    keys = walked(transform)
    assert len(keys) > 4
    for key, is_home in keys.items():
        module, _, path = key.partition(":")
        owner: Any = importlib.import_module(module)
        *classes, last = path.split(".")
        for cls in classes:
            owner = getattr(owner, cls)
        before = vars(owner)[last]
        with pytest.MonkeyPatch.context() as patch:
            value = before.__func__ if isinstance(before, staticmethod) else before
            counter = SimpleNamespace(calls=0)
            after = counting(value, counter)
            patch.setattr(owner, last, staticmethod(after) if isinstance(before, staticmethod) else after)
            said = fallback(transform)
            if is_home and not said:
                transform(**sample())
                assert counter.calls == 0, key  # those that imported it have it as it was
            else:
                assert last in said, key
    assert fallback(transform) == ""


@pytest.mark.parametrize("name", MAKE)
def test_a_method_replaced_on_the_object_is_called(name: str) -> None:
    methods = {key.split(".")[-1] for key in walked(MAKE[name]()) if key.split(":")[1].count(".")}
    assert "__call__" in methods
    for method in methods - {"__call__"}:
        transform = MAKE[name]()
        counter = SimpleNamespace(calls=0)
        setattr(transform, method, counting(getattr(transform, method), counter))
        assert f"{name}.{method}, replaced on this object, defined in {__file__}" in fallback(transform)
    # Those that every application goes through.
    for method in methods & {"apply", "get_parameters"} if name != "OneOfTransform" else ():
        transform = MAKE[name]()
        counter = SimpleNamespace(calls=0)
        setattr(transform, method, counting(getattr(transform, method), counter))
        if name in ("Convert2DTo3DTransform", "Convert3DTo2DTransform"):
            continue  # they need each other
        fl.compile_transforms(transform)(**sample(), seed=1)
        assert counter.calls == 1


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_changed_container_runs_as_a_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a subclass under the same name, and one that batchgeneratorsv2 has itself."""
    counter = SimpleNamespace(calls=0)
    transform = MAKE[name]()
    cls = type(transform)
    image = np.arange(512, dtype=np.float32).reshape(1, *PATCH)

    monkeypatch.setattr(cls, "__call__", counting(cls.__call__, counter))
    pipeline = fl.compile_transforms(transform)
    assert f"{name}.__call__, wrapped in {__file__}" in pipeline.fallbacks[0]
    pipeline(image=image, seed=1)
    assert counter.calls == 1
    monkeypatch.undo()

    subclass = type(name, (cls,), {"__call__": counting(cls.__call__, counter)})
    own = MAKE[name]()
    own.__class__ = subclass
    pipeline = fl.compile_transforms(own)
    assert len(pipeline.fallbacks) == 1
    pipeline(image=image, seed=1)
    assert counter.calls == 2


def test_a_changed_contrast_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.arange(512, dtype=np.float32).reshape(1, *PATCH)

    def calls(value: Any, counter: SimpleNamespace) -> int:
        pipeline = fl.compile_transforms(ContrastTransform(value, True, True))
        before = counter.calls
        pipeline(image=image, seed=1)
        return int(counter.calls - before)

    counter = SimpleNamespace(calls=0)
    contrast = BGContrast((0.7, 1.3))
    assert calls(contrast, counter) == calls(contrast.sample_contrast, counter) == 0
    contrast.sample_contrast = counting(contrast.sample_contrast, counter)
    assert calls(contrast, counter) == 1
    assert calls(contrast.sample_contrast, counter) == 1

    class Mine(BGContrast):  # type: ignore[misc]
        def mine(self, *args: Any, **kwargs: Any) -> float:
            counter.calls += 1
            return 1.0

    assert calls(Mine((0.7, 1.3)).mine, counter) == 1
    monkeypatch.setattr(BGContrast, "mine", Mine.mine, raising=False)
    assert calls(BGContrast((0.7, 1.3)).mine, counter) == 1
    monkeypatch.setattr(BGContrast, "sample_contrast", counting(BGContrast.sample_contrast, counter))
    assert calls(BGContrast((0.7, 1.3)), counter) == 1


def test_a_changed_operator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = SimpleNamespace(calls=0)
    mine = counting(random_binary_operator.binary_erosion_torch, counter)
    assert "binary_erosion_torch" in fallback(ApplyRandomBinaryOperatorTransform([1], (mine,)))
    monkeypatch.setattr(random_binary_operator, "binary_erosion_torch", mine)
    assert "binary_erosion_torch" in fallback(ApplyRandomBinaryOperatorTransform([1], (mine,)))


def test_a_newer_version_that_changed_one_class() -> None:
    """What is named is what differs; the others stay native."""
    gamma, noise = MAKE["GammaTransform"](), MAKE["GaussianNoiseTransform"]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GammaTransform, "_apply_to_image", lambda self, img, **params: img)
        # A method that only the base class had, and one that nobody knows.
        patch.setattr(GammaTransform, "apply", BasicTransform.apply, raising=False)
        patch.setattr(GaussianNoiseTransform, "helper", lambda self: None, raising=False)
        pipeline = fl.compile_transforms(ComposeTransforms([gamma, noise]))
    (reason,) = pipeline.fallbacks
    assert "GammaTransform._apply_to_image, defined in" in reason
    assert "GammaTransform.apply, " in reason


def test_trees_with_a_changed_base_run_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = SimpleNamespace(calls=0)
    monkeypatch.setattr(BasicTransform, "__call__", counting(BasicTransform.__call__, counter))
    pipeline = fl.compile_transforms(ComposeTransforms([MAKE["MirrorTransform"](), MAKE["GammaTransform"]()]))
    assert len(pipeline.fallbacks) == 1
    pipeline(image=np.arange(512, dtype=np.float32).reshape(1, *PATCH), seed=1)
    assert counter.calls == 3
