"""From an object over what it refers to: by whom it was replaced, and what stands for it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from batchgeneratorsv2.helpers import fft_conv, scalar_type
from batchgeneratorsv2.transforms.intensity import gamma
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise import gaussian_blur
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial import spatial
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

import fastnnunet_loader
from fastnnunet_loader import known


def names(root: Any, *methods: str) -> list[str]:
    return [change.name for change in known.changed(root, *methods)]


def mine(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def test_roots_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = GaussianBlurTransform((0.5, 1))
    roots: list[tuple[Any, ...]] = [
        (gaussian_blur, "blur_dimension"),
        (gaussian_blur, "GaussianBlurTransform"),
        (GaussianBlurTransform,),
        (GaussianBlurTransform, "_apply_to_image"),
        (transform,),
        (transform, "_apply_to_image"),
        (transform._apply_to_image,),
        (GaussianBlurTransform._apply_to_image,),
    ]
    for root in roots:
        assert known.changed(*root) == []
    monkeypatch.setattr(gaussian_blur, "_build_kernel", mine(gaussian_blur._build_kernel))
    for root in roots:
        assert "batchgeneratorsv2.transforms.noise.gaussian_blur._build_kernel" in names(*root), root
    # What is not behind it does not count.
    assert known.changed(transform, "get_parameters") == []
    assert known.changed(fft_conv, "fft_conv") == []


def test_one_change_is_named_once_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    replacement = mine(scalar_type.sample_scalar)
    monkeypatch.setattr(gamma, "sample_scalar", replacement)
    (change,) = known.changed(GammaTransform)
    line = replacement.__code__.co_firstlineno
    assert str(change) == f"batchgeneratorsv2.transforms.intensity.gamma.sample_scalar, wrapped in {__file__}:{line}"


@pytest.mark.parametrize(
    "replacement",
    [
        lambda before: functools.partial(before),
        lambda before: functools.lru_cache(before),
        lambda before: torch.no_grad()(before),
        lambda before: mine(before),
        lambda before: type("Callable", (), {"__call__": lambda self, *args: before(*args)})(),
        lambda before: scipy.ndimage.zoom,
        lambda before: np.asarray,
        lambda before: scalar_type.sample_scalar,
        lambda before: None,
    ],
)
def test_anything_in_the_place_of_a_function_is_named(replacement: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian_blur, "blur_dimension", replacement(gaussian_blur.blur_dimension))
    assert names(GaussianBlurTransform) == ["batchgeneratorsv2.transforms.noise.gaussian_blur.blur_dimension"]


def test_what_another_package_has_is_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    grid_sample = spatial.grid_sample
    for replacement in (mine(grid_sample), torch.nn.functional.affine_grid, functools.partial(grid_sample, align_corners=True)):
        monkeypatch.setattr(spatial, "grid_sample", replacement)
        assert names(SpatialTransform) == ["batchgeneratorsv2.transforms.spatial.spatial.grid_sample"]


def test_a_name_that_hides_a_builtin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spatial, "range", lambda *args: list(range(*args)), raising=False)
    assert names(SpatialTransform) == ["batchgeneratorsv2.transforms.spatial.spatial.range"]


def test_methods_of_the_same_class_are_behind_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpatialTransform, "_may_reach_outside", lambda self, grid, shape: True)
    assert names(SpatialTransform, "_apply_to_segmentation") == ["SpatialTransform._may_reach_outside"]
    assert names(SpatialTransform, "_apply_to_image") == []


def test_a_method_that_became_another_kind_of_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (property(lambda self: None), 3, staticmethod(len), torch.relu):
        monkeypatch.setattr(GammaTransform, "get_parameters", value)
        assert "GammaTransform.get_parameters" in names(GammaTransform)


def test_what_this_package_puts_there_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it wraps nnU-Net's methods while it is installed, what is behind counts."""

    def ours(function: Any) -> Any:
        space: dict[str, Any] = {"__name__": "fastnnunet_loader.nnunet", "functools": functools, "function": function}
        code = "@functools.wraps(function)\ndef wrapper(*args, **kwargs):\n    return function(*args, **kwargs)\n"
        exec(code, space)
        return space["wrapper"]

    own = GammaTransform.get_parameters
    monkeypatch.setattr(GammaTransform, "get_parameters", ours(own))
    assert known.changed(GammaTransform) == []
    monkeypatch.setattr(GammaTransform, "get_parameters", ours(mine(own)))
    assert names(GammaTransform) == ["GammaTransform.get_parameters"]
    monkeypatch.setattr(GammaTransform, "get_parameters", own)
    monkeypatch.setattr(gamma, "sample_scalar", fastnnunet_loader.compile_transforms)
    assert known.changed(GammaTransform) == []


def test_a_class_that_no_version_has() -> None:
    class GammaTransform:
        def get_parameters(self) -> dict[str, Any]:
            return {}

    GammaTransform.__module__ = "batchgeneratorsv2.transforms.intensity.gamma2"
    GammaTransform.__qualname__ = "GammaTransform"
    (change,) = known.changed(GammaTransform())
    assert str(change) == "GammaTransform, of batchgeneratorsv2.transforms.intensity.gamma2"


def test_many_changes_make_one_sentence() -> None:
    changes = [known.Change(f"f{n}", "defined in file.py:1") for n in range(5)]
    assert known.listed(changes[:2]) == "f0, defined in file.py:1; f1, defined in file.py:1"
    assert known.listed(changes).endswith("f2, defined in file.py:1; and 2 more")
