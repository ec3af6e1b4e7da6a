"""The data sets that the demo and the tests are made of."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from benchmarks import brains

from datasets import VARIANTS
from fastnnunet_loader import demo


def labels_of(folder: Path) -> list[Any]:
    return [np.asarray(nibabel.load(file).dataobj) for file in sorted((folder / "labelsTr").iterdir())]


def test_same_arguments_give_the_same_files_and_cases_differ(tmp_path: Path) -> None:
    once, again, other = (
        demo.build_dataset(tmp_path / str(i), 7, "x", cases=2, resolution=8, seed=seed) for i, seed in enumerate((3, 3, 4))
    )
    assert once.name == "Dataset007_x"
    for a, b in zip(labels_of(once), labels_of(again), strict=True):
        np.testing.assert_array_equal(a, b)
    first, second = labels_of(once)
    assert first.shape != second.shape or (first != second).any()
    # Nor are cases of one seed those of the next, under other numbers.
    for elsewhere, here in itertools.product(labels_of(other), (first, second)):
        assert here.shape != elsewhere.shape or (here != elsewhere).any()


def test_labels_follow_the_image(tmp_path: Path) -> None:
    # In a T1-weighted image white matter is brighter than grey, and both are brighter than air.
    folder = demo.build_dataset(tmp_path, 1, "x", cases=2, resolution=6)
    for file, labels in zip(sorted((folder / "imagesTr").iterdir()), labels_of(folder), strict=True):
        image = np.asarray(nibabel.load(file).dataobj)
        air, grey, white = (image[labels == n].mean() for n in range(3))
        assert white > 1.1 * grey > 2 * air > 0


def test_ignore_label_leaves_some_slices_annotated(tmp_path: Path) -> None:
    for labels in labels_of(demo.build_dataset(tmp_path, 1, "x", VARIANTS["ignore"], cases=2, resolution=6)):
        ignored = (labels == 3).all(axis=(0, 1))
        assert 0.1 < 1 - ignored.mean() < 0.5
        assert not (labels[..., ~ignored] == 3).any()


def test_hemispheres_have_labels_of_their_own(tmp_path: Path) -> None:
    folder = demo.build_dataset(tmp_path, 1, "x", brains.VARIANTS["brains128"], cases=2, resolution=6)
    assert len(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]) == 5
    for labels in labels_of(folder):
        x = np.arange(len(labels))[:, None, None]
        left, right = ((np.isin(labels, pair) * x).sum() / np.isin(labels, pair).sum() for pair in ((1, 2), (3, 4)))
        assert left + 5 < right


@pytest.mark.parametrize("wrong", [{"cases": 1}, {"resolution": 0.5}, {"resolution": 2.5}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\[build_dataset\] expected"):
        demo.build_dataset(tmp_path, 1, "x", **wrong)


def test_each_variant_makes_nnunet_plan_what_it_is_for(nnunet_dataset: Any) -> None:
    plans = {variant: nnunet_dataset(variant).plans["configurations"] for variant in ("default", "anisotropic", "cascade")}
    depth, *plane = plans["anisotropic"]["3d_fullres"]["patch_size"]
    assert max(plane) / depth > 3  # what makes nnU-Net augment slices in 2D
    assert {"3d_lowres", "3d_cascade_fullres"} <= set(plans["cascade"])
    assert plans["default"]["3d_fullres"]["use_mask_for_norm"] == [False]
    assert nnunet_dataset("two_channels").plans["configurations"]["3d_fullres"]["use_mask_for_norm"] == [True, False]
    assert any("," in str(key) for key in _class_keys(nnunet_dataset("regions")))


def _class_keys(dataset: Any) -> list[Any]:
    import pickle

    file = dataset.folder() / f"{dataset.cases()[0]}.pkl"
    return list(pickle.loads(file.read_bytes())["class_locations"])
