"""Each setting of each native transform reaches the core under its own name, and no other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast
from batchgeneratorsv2.transforms.nnunet import random_binary_operator as operators
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from test_known_code import MAKE

import fastnnunet_loader as fl
from fastnnunet_loader import _core
from fastnnunet_loader.transforms.mapping import whole_interval
from fastnnunet_loader.transforms.plugins import plugin_of, register_transform
from fastnnunet_loader.transforms.registry import NATIVE, describe_native


class Told:
    """In the place of the core's scalars: what these are made of can be looked at."""

    @staticmethod
    def constant(value: float) -> Any:
        return ("constant", value)

    @staticmethod
    def range(low: float, high: float) -> Any:
        return ("range", low, high)

    @staticmethod
    def contrast(low: float, high: float) -> Any:
        return ("contrast", low, high)


# What says how something is computed, and not what.
WITHOUT_EFFECT = {
    "benchmark", "benchmark_use_fft", "benchmark_num_runs", "bg_style_seg_sampling", "_grid_cache", "upmodes", "force_square",
}  # fmt: skip

# Attributes that have other names in the core.
RENAMED = {"color_fn": "rectangle_value", "any_of_these": "operators"}

OTHERS: dict[str, Any] = {
    "any_of_these": (operators.binary_opening_torch,),
    "contrast_range": BGContrast((0.2, 3.0)),
    "ignore_axes": (1,),
    "allowed_channels": [1],
    "segmentation_channels": [1],
    "mode_image": "nearest",
    "padding_mode_image": "border",
    "mode_seg": "nearest",
    "border_mode_seg": "border",
    "seg_tiebreak": "highest",
    "source_key": "image",
    "target_key": "segmentation",
    "ds_scales": [1, 0.25],
    "regions": [(1, 3)],
    "rectangle_size": ((2, 5),) * 3,
    "num_rotations": 3,
}


def other(name: str, value: Any) -> Any:
    """Another good value of a setting."""
    if name in OTHERS:
        return OTHERS[name]
    if name == "color_fn":
        changed = type(value)(0.25)
        return changed
    if isinstance(value, (bool, np.bool_)):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.25
    if isinstance(value, (set, frozenset)):
        return type(value)(sorted(value)[:-1])
    if isinstance(value, (tuple, list)):
        return type(value)(v + 1 if all(isinstance(v, int) for v in value) else v / 2 + 0.01 for v in value)
    raise AssertionError(f"no other value of {name} is known, which is {value!r}")


def as_plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in attributes.items()}


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_a_setting_changes_what_has_its_name_and_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "Scalar", Told)
    for attribute in NATIVE[name].attributes.split():
        if attribute in WITHOUT_EFFECT:
            continue
        transform = MAKE[name]()
        if hasattr(transform, "p_elastic_deform"):
            transform.p_elastic_deform = 0.5  # else nothing looks at how it deforms
        before = as_plain(describe_native(transform))
        setattr(transform, attribute, other(attribute, getattr(transform, attribute)))
        after = as_plain(describe_native(transform))
        assert after.keys() == before.keys()
        changed = {key for key in before if before[key] != after[key]}
        assert changed == {RENAMED.get(attribute, attribute)}, attribute


def test_bounds_of_whole_numbers_are_those_that_are_drawn() -> None:
    """NumPy's randint leaves out the upper one."""
    assert whole_interval((2, 5), name="x") == (2, 4)
    assert whole_interval([2.0, 3.0], name="x") == (2, 2)
    for wrong in ((2, 2), (2.5, 4), (5, 2), (2,), 3, (True, 4), ("2", "3")):
        with pytest.raises(fl.NotSupportedError, match=r"^'x' is "):
            whole_interval(wrong, name="x")


def test_a_regression_target_needs_transforms_that_move_it_or_leave_it_alone() -> None:
    class Mine(BasicTransform):  # type: ignore[misc]
        def _apply_to_image(self, img: Any, **_: Any) -> Any:
            return img

    image = np.zeros((1, 8, 8, 8), np.float32)
    pipeline = fl.compile_transforms([MirrorTransform((0,)), Mine()])
    with pytest.raises(
        fl.NotSupportedError, match=r"\[regression target\] expected transforms that move it .* got Mine has no "
    ):
        pipeline(image=image, regression_target=image)
    assert pipeline(image=image)["image"].shape == image.shape


def test_a_class_without_a_replay_says_so() -> None:
    class Registered(BasicTransform):  # type: ignore[misc]
        """Of another package."""

    class Derived(Registered):
        """Something else."""

    register_transform(Registered, lambda _: None)
    plugin = plugin_of(Registered())
    assert plugin is not None
    with pytest.raises(ValueError, match=r"\[Registered\] expected a class that was registered with 'replay'"):
        plugin.replay(Registered(), {})
    assert plugin_of(Derived()) is None
    with pytest.raises(TypeError, match=r"\[register_transform\] expected a class, got 3"):
        register_transform(3, lambda _: None)  # type: ignore[arg-type]
