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
from fastnnunet_loader.demo.dataset import _deformation, _load_brain


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


def affine_of(file: Path) -> Any:
    return nibabel.load(file).affine


@pytest.mark.parametrize(("slices", "resolution"), [(1, 8), (3, 8), (1, 6)])
def test_voxels_are_as_large_as_was_asked_for(tmp_path: Path, slices: int, resolution: int) -> None:
    folder = demo.build_dataset(tmp_path, 3, "x", demo.Variant(slices=slices), cases=2, resolution=resolution)
    for file in sorted((folder / "imagesTr").iterdir()) + sorted((folder / "labelsTr").iterdir()):
        assert np.array_equal(affine_of(file), np.diag([resolution, resolution, resolution * slices, 1]))
    # A head is longer than ten and shorter than thirty centimetres, whatever the voxels.
    for labels in labels_of(folder):
        extents = np.array(labels.shape) * [resolution, resolution, resolution * slices]
        assert (extents > 100).all()
        assert (extents < 300).all()


def test_files_and_description_are_nnunets(tmp_path: Path) -> None:
    variant = demo.Variant(channels=("T1", "T2"), labels={"background": 0, "a": [1, 2], "b": [2]}, regions_class_order=(2, 1))
    folder = demo.build_dataset(tmp_path, 42, "name", variant, cases=3, resolution=8)
    assert folder == tmp_path / "Dataset042_name"
    names = [f"brain_{case:03d}" for case in range(3)]
    assert sorted(file.name for file in (folder / "imagesTr").iterdir()) == [
        f"{name}_{channel:04d}.nii.gz" for name in names for channel in range(2)
    ]
    assert sorted(file.name for file in (folder / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in names]
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert description["channel_names"] == {"0": "T1", "1": "T2"}
    assert description["labels"] == variant.labels
    assert (description["numTraining"], description["file_ending"]) == (3, ".nii.gz")
    assert description["regions_class_order"] == [2, 1]
    for name in names:
        shapes = {nibabel.load(file).shape for file in folder.rglob(f"{name}*")}
        assert len(shapes) == 1


def test_channels_are_of_one_head_with_another_contrast(tmp_path: Path) -> None:
    """Fluid and grey matter are bright where white matter is dark, as in a T2-weighted image."""
    folder = demo.build_dataset(tmp_path, 1, "x", demo.Variant(channels=("T1", "T2")), cases=2, resolution=6)
    for number, labels in enumerate(labels_of(folder)):
        first, second = (
            np.asarray(nibabel.load(folder / "imagesTr" / f"brain_{number:03d}_{c:04d}.nii.gz").dataobj) for c in range(2)
        )
        assert first[labels == 2].mean() > first[labels == 1].mean()
        assert second[labels == 2].mean() < second[labels == 1].mean()


@pytest.mark.parametrize("air", [0.0, 8.0])
def test_air_is_exactly_zero_or_nowhere_zero(tmp_path: Path, air: float) -> None:
    folder = demo.build_dataset(tmp_path, 1, "x", demo.Variant(air=air, margin_mm=(16, 32)), cases=2, resolution=8)
    for file, labels in zip(sorted((folder / "imagesTr").iterdir()), labels_of(folder), strict=True):
        image = np.asarray(nibabel.load(file).dataobj)
        assert (image[labels > 0] != 0).all()
        assert ((image == 0).mean() > 0.1) == (air == 0)
        assert image.min() >= (0 if air == 0 else air)


def test_free_space_is_within_its_margins(tmp_path: Path) -> None:
    sizes = []
    for margin in ((0.0, 0.0), (16.0, 16.0)):
        folder = demo.build_dataset(tmp_path / str(margin[0]), 1, "x", demo.Variant(margin_mm=margin), cases=2, resolution=8)
        sizes.append([np.array(labels.shape) for labels in labels_of(folder)])
    for tight, wide in zip(*sizes, strict=True):
        # The template leaves less than that on some sides.
        assert (wide - tight <= 4).all()
        assert (wide > tight).any()


def test_the_environment_keeps_everything_under_one_folder(tmp_path: Path) -> None:
    environment = demo.nnunet_environment(tmp_path)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        assert environment[name] == str(tmp_path / name)
    assert list(Path(environment["nnUNet_extTrainer"]).glob("nnUNetTrainerDemo.py"))
    assert environment["nnUNet_compile"].lower() not in ("true", "1", "t")


def test_plans_of_the_demo_are_small(nnunet_dataset: Any) -> None:
    plans = nnunet_dataset("default").plans["configurations"]
    assert plans["3d_fullres"]["batch_size"] == 2
    assert plans["2d"]["batch_size"] == 8
    for name in ("2d", "3d_fullres"):
        features = plans[name]["architecture"]["arch_kwargs"]["features_per_stage"]
        assert (features[0], max(features)) == (8, 32)


@pytest.mark.parametrize("resolution", [4, 8])
def test_a_deformation_has_as_many_millimetres_at_every_resolution(resolution: int) -> None:
    shape = tuple(192 // resolution for _ in range(3))
    deviations = []
    for seed in range(3):
        where = _deformation(np.random.default_rng(seed), shape, resolution).reshape(3, -1)
        grid = np.stack([*np.indices(shape).reshape(3, -1), np.ones(where.shape[1])])
        # What is left of it without its affine part.
        fitted, *_ = np.linalg.lstsq(grid.T, where.T, rcond=None)
        deviations.append(resolution * float((where.T - grid.T @ fitted).std()))
    assert 1 < np.mean(deviations) < 4


def test_margins_are_on_both_sides(tmp_path: Path) -> None:
    """Planes of air before and behind the head, of one voxel where the template has them."""
    folder = demo.build_dataset(tmp_path, 1, "x", demo.Variant(air=0, margin_mm=(8, 8)), cases=3, resolution=8)
    before, behind = set(), set()
    for file in (folder / "imagesTr").iterdir():
        image = np.asarray(nibabel.load(file).dataobj) != 0
        for axis in range(3):
            used = np.flatnonzero(image.any(axis=tuple(a for a in range(3) if a != axis)))
            before.add(int(used[0]))
            behind.add(image.shape[axis] - 1 - int(used[-1]))
    assert 1 in before <= {0, 1}
    assert 1 in behind <= {0, 1}


def test_slices_are_averages_of_all_that_are_whole(tmp_path: Path) -> None:
    thin, thick = (
        demo.build_dataset(tmp_path / str(slices), 1, "x", demo.Variant(slices=slices), cases=2, resolution=6)
        for slices in (1, 3)
    )
    for one, three in zip(labels_of(thin), labels_of(thick), strict=True):
        assert three.shape == (*one.shape[:2], one.shape[2] // 3)
        brain = [np.asarray(labels > 0, float) for labels in (one[..., : 3 * three.shape[2]], three)]
        together = brain[0].reshape(*three.shape, 3).mean(-1)
        assert np.abs(together - brain[1]).mean() < 0.05


def test_labels_of_ones_own_are_told_where_they_are(tmp_path: Path) -> None:
    told: list[Any] = []

    def relabel(labels: Any, anatomy: Any, rng: np.random.Generator) -> Any:
        told.append((labels.shape, anatomy))
        return np.where(anatomy.left >= 0.5, labels, 0).astype(np.uint8)

    folder = demo.build_dataset(tmp_path, 1, "x", demo.Variant(relabel=relabel), cases=2, resolution=8)
    template = _load_brain(8).t1.shape
    for (shape, anatomy), labels in zip(told, labels_of(folder), strict=True):
        assert labels.shape == shape == anatomy.left.shape
        assert anatomy.where.shape == (3, *shape)
        assert anatomy.template == template
        inside = [(where >= 0) & (where < size) for where, size in zip(anatomy.where, template, strict=True)]
        assert np.logical_and.reduce(inside).mean() > 0.9
        assert (labels > 0).any()
        assert not labels[anatomy.left < 0.5].any()
