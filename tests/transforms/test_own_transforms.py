"""Transforms of users, which run in Python between native ones: whatever they return, the sample is batchgeneratorsv2's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from hypothesis import given
from hypothesis import strategies as st

import fastnnunet_loader as fl
from own_transforms import CHANGES, NATIVE, Data, Own, built, put, sample


def is_sample(out: Any) -> bool:
    """Whether nnU-Net's data loader could take it for a batch, as far as the image goes."""
    if not isinstance(out, dict):
        return False
    image = out.get("image")
    return isinstance(image, (torch.Tensor, np.ndarray)) and image.ndim in (3, 4) and 0 not in image.shape


def misfits(out: Any) -> bool:
    """Whether image and labels have other numbers of planes."""
    labels = out.get("segmentation")
    return isinstance(labels, torch.Tensor) and labels.ndim == 4 and labels.shape[1] != out["image"].shape[1]


def same(one: Any, other: Any, tolerance: float = 1e-4) -> bool:
    if isinstance(other, (list, tuple)):
        if not isinstance(one, (list, tuple)) or len(one) != len(other):
            return False
        return all(same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(other, (torch.Tensor, np.ndarray)):
        a, b = torch.as_tensor(one), other.detach() if isinstance(other, torch.Tensor) else torch.from_numpy(other.copy())
        close = a.shape == b.shape and torch.allclose(a.double(), b.double(), tolerance, tolerance, equal_nan=True)
        return a.dtype == b.dtype and close
    return bool(one == other)


def check(names: list[str]) -> None:
    image, labels = sample()
    pipeline = fl.compile_transforms(ComposeTransforms(built(names)))
    with torch.no_grad():
        try:
            expected = ComposeTransforms(built(names))(image=image.clone(), segmentation=labels.clone())
        except Exception:
            expected = None
    try:
        got = pipeline(image=image, segmentation=labels)
    except fl.TransformError as error:
        # Refused by the name of a transform of this tree.
        assert error.transform in {type(t).__name__ for t in built(names)}, error
        assert not is_sample(expected) or any(name in LATER for name in names) or misfits(expected), (names, error)
        return
    if not is_sample(expected):
        return  # an array, for one, is taken for a tensor here
    assert got.keys() == expected.keys(), names
    for key, value in expected.items():
        if key == "image":
            value = torch.as_tensor(value if isinstance(value, torch.Tensor) else value.copy()).to(torch.float32)
        # In half precision batchgeneratorsv2 goes on computing in it.
        assert same(got[key], value, 5e-3 if "float16" in names else 1e-4), (names, key)


# batchgeneratorsv2 goes on with these for a while; here they are refused where they arise.
LATER = {
    "no image",
    "image of None",
    "image of text",
    "complex image",
    "no channel",
    "no voxel",
    "five axes",
    "no axis",
    "two axes",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "after",
    [
        ["gamma", "blur"],
        ["remove", "downsample"],
        ["regions", "downsample"],
        ["brightness", "gamma", "remove"],
        [],
    ],
)
def test_what_follows_works_on_the_sample_as_it_is(change: str, after: list[str]) -> None:
    check(["brightness", change, *after])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("before", [["regions"], ["downsample"], ["regions", "downsample"], ["to 2d"]])
def test_it_sees_what_batchgeneratorsv2_would_show_it(change: str, before: list[str]) -> None:
    check([*before, change, *(["to 3d"] if before == ["to 2d"] else [])])


names = st.sampled_from(sorted(CHANGES) + 2 * sorted(set(NATIVE) - {"to 2d", "to 3d"}))


@given(st.lists(names, min_size=1, max_size=6))
def test_any_tree_of_any_transforms(tree: list[str]) -> None:
    check(tree)


def test_new_channels_are_augmented() -> None:
    """From the channels that there are then, each with parameters of its own."""
    image, labels = sample()
    own = [Own(CHANGES["more channels"]), GammaTransform((0.5, 2.0), 0, 0, 1, 1)]
    out = fl.compile_transforms(ComposeTransforms(own))(image=image, segmentation=labels, seed=3)["image"]
    before = CHANGES["more channels"]({"image": image})["image"]
    changed = [not torch.allclose(out[c], before[c], atol=1e-3) for c in range(6)]
    assert all(changed)


def test_entries_travel_through_random_and_native_transforms() -> None:
    image, labels = sample()
    tree = built(["distance map", "gamma", "blur", "remove"])
    seen: list[torch.Tensor] = []
    tree.append(Own(lambda d: (seen.append(d["dist_map"]), d)[1]))
    out = fl.compile_transforms(ComposeTransforms(tree))(image=image, segmentation=labels)
    assert torch.equal(seen[0], labels.float() * 3)
    assert torch.equal(out["dist_map"], labels.float() * 3)
    assert out["name"] == "case"


def test_what_a_transform_keeps_stays_as_it_was() -> None:
    """Neither by native transforms after it nor by other samples."""
    image, labels = sample()
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(data: Data) -> Data:
        kept.append((data["image"], data["image"].clone()))
        return data

    pipeline = fl.compile_transforms(ComposeTransforms([Own(keep), *built(["gamma", "blur"])]))
    for number in range(4):
        pipeline(image=image + number, segmentation=labels)
    keeps = [Own(put(original=lambda d: d["image"], several=lambda d: [d["segmentation"]])), *built(["gamma", "remove"])]
    out = fl.compile_transforms(ComposeTransforms(keeps))(image=image, segmentation=labels)
    assert torch.equal(out["original"], image)
    assert torch.equal(out["several"][0], labels)
    template = torch.ones(3, 8, 10, 12)
    constant = fl.compile_transforms(ComposeTransforms([Own(put(image=lambda _: template)), *built(["brightness", "blur"])]))
    for _ in range(3):
        constant(image=image, segmentation=labels)
    assert torch.equal(template, torch.ones(3, 8, 10, 12)), "what a transform returns is not written to"
