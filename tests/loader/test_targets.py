"""Regression targets: numbers that move as the image does, and are left alone otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl


def dose(number: int, channels: int = 1) -> Any:
    """(C, 20, 24, 28) float32, smooth, with values below 0."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (20, 24, 28)), indexing="ij")
    fields = [np.sin(3 * x + number) + y * z - 0.3 * channel for channel in range(channels)]
    return np.stack(fields).astype(np.float32)


def folder_with_targets(root: Path, ending: str = "npz", *, labels: bool = True, channels: int = 1, cases: int = 4) -> Path:
    numpy_folder(root, ending, labels=labels, cases=cases)
    for number in range(cases):
        target = dose(number, channels)
        if ending == "npz":
            with np.load(root / f"case_{number}.npz") as arrays:
                np.savez_compressed(root / f"case_{number}.npz", **arrays, target=target)
        else:
            write_target(root / f"case_{number}_target.{ending}", target)
    return root


def write_target(file: Path, target: Any) -> None:
    if file.suffix == ".npy":
        np.save(file, target)
    else:
        blosc2.asarray(np.ascontiguousarray(target), urlpath=str(file), mode="w")


@pytest.mark.parametrize("ending", ["b2nd", "npy"])
def test_a_target_is_no_case_where_nobody_asks_for_it(tmp_path: Path, ending: str) -> None:
    root = folder_with_targets(tmp_path / "cases", ending, labels=False)
    with open_folder(root) as loader:
        assert loader.keys == [f"case_{number}" for number in range(4)]


@pytest.mark.parametrize("ending", ["b2nd", "npy", "npz"])
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("patch_size", [(8, 10, 12), (10, 12)])
def test_every_kind_of_folder_has_targets(tmp_path: Path, ending: str, labels: bool, patch_size: tuple[int, ...]) -> None:
    """Voxels are those of the case where the image is cut, for every channel, with 0 outside."""
    root = folder_with_targets(tmp_path / "cases", ending, labels=labels, channels=2)
    with open_folder(root, patch_size=patch_size, targets=True) as loader:
        assert loader.keys == [f"case_{number}" for number in range(4)]
        assert "with regression targets" in loader.describe()
        for step in range(4):
            batch = next(loader)
            assert set(batch) == {"image", "target", "case"} | ({"label"} if labels else set())
            assert (batch["target"].dtype, batch["target"].shape) == (torch.float32, (3, 2, *patch_size))
            for slot, name in enumerate(batch["case"]):
                _, forced, window = loader.sampled(step, slot)
                assert forced == (labels and slot == 2)
                outside = [(max(-low, 0), max(high - size, 0)) for (low, high), size in zip(window, (20, 24, 28), strict=True)]
                padded = np.pad(dose(int(name[-1]), 2), [(0, 0), *outside])
                inside = [slice(low + at, high + at) for (low, high), (at, _) in zip(window, outside, strict=True)]
                assert np.array_equal(batch["target"][slot], padded[(slice(None), *inside)].reshape(2, *patch_size))
                assert torch.equal(loader.sample(step, slot)["target"], batch["target"][slot])
                assert np.array_equal(loader.patch(step, slot).target, batch["target"][slot])
        whole = loader.dataset[1]
        assert np.array_equal(whole["target"], dose(1, 2))
    with open_folder(root, patch_size=patch_size, targets=True, target_key="dose", cases=["case_2"]) as loader:
        assert "dose" in next(loader)


def test_a_target_may_be_in_an_npz_whose_image_was_unpacked(tmp_path: Path) -> None:
    root = folder_with_targets(tmp_path / "cases")
    with open_folder(root, targets=True) as loader:
        expected = next(loader)
    for file in list(root.glob("*.npz")):
        with np.load(file) as arrays:
            np.save(file.with_suffix(".npy"), arrays["data"])
    with open_folder(root, targets=True) as loader:
        assert loader.keys == [f"case_{number}" for number in range(4)]
        batch = next(loader)
        assert all(torch.equal(batch[key], expected[key]) for key in ("image", "label", "target"))


def test_targets_are_read_only_if_they_are_asked_for(tmp_path: Path) -> None:
    root = folder_with_targets(tmp_path / "cases")
    with open_folder(root) as loader, open_folder(root, targets=True) as both:
        without, batch = next(loader), next(both)
        assert set(without) == {"image", "label", "case"}
        for key in ("image", "label"):
            assert torch.equal(batch[key], without[key])


TREES: dict[str, Any] = {
    "nnU-Net's": lambda patch: fl.augmentation.nnunet(patch),
    "nnU-Net's with deep supervision": lambda patch: fl.augmentation.nnunet(
        patch, deep_supervision_scales=[[1] * len(patch), [0.5] * len(patch)]
    ),
    "DA5": lambda patch: fl.augmentation.nnunet(patch, trainer="nnUNetTrainerDA5"),
    "all moves": lambda patch: ComposeTransforms(
        [
            SpatialTransform(
                patch, 0, False, p_rotation=0.7, rotation=(-0.6, 0.6), p_scaling=0.7, scaling=(0.7, 1.4), p_elastic_deform=0.5
            ),
            MultiplicativeBrightnessTransform((0.5, 2), False, 1),
            Rot90Transform(2, allowed_axes=set(range(len(patch)))),
            TransposeAxesTransform(tuple(range(len(patch)))),
            MirrorTransform(tuple(range(len(patch)))),
        ]
    ),
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("patch_size", [(10, 10, 10), (10, 10), (7, 22, 24)])
def test_a_target_goes_the_way_of_its_image(tmp_path: Path, tree: str, patch_size: tuple[int, ...]) -> None:
    """In a batch as in a pipeline, whose moves are compared with batchgeneratorsv2's (tests/transforms); image and label are
    those without targets."""
    if tree == "all moves" and patch_size == (7, 22, 24):
        patch_size = (12, 12, 12)
    root = folder_with_targets(tmp_path / "cases", channels=2)
    common: dict[str, Any] = {"patch_size": patch_size, "transforms": TREES[tree](patch_size)}
    with open_folder(root, targets=True, **common) as loader, open_folder(root, **common) as plain:
        for step in range(3):
            batch, without = next(loader), next(plain)
            assert torch.equal(batch["image"], without["image"])
            labels = batch["label"] if isinstance(batch["label"], list) else [batch["label"]]
            theirs = without["label"] if isinstance(without["label"], list) else [without["label"]]
            assert all(map(torch.equal, labels, theirs))
            for slot in range(3):
                patch, address = loader.patch(step, slot), loader.sample_id(step, slot)
                assert patch.target is not None
                alone = loader.pipeline(
                    image=patch.image, segmentation=patch.segmentation, regression_target=patch.target, **address
                )
                assert torch.equal(alone["regression_target"], batch["target"][slot])
                assert torch.equal(loader.sample(step, slot)["target"], batch["target"][slot])
        assert not torch.equal(batch["target"][0], batch["target"][1])


@pytest.mark.parametrize("labels", [True, False])
def test_arrays_in_memory_have_the_batches_of_their_folder(tmp_path: Path, labels: bool) -> None:
    root = folder_with_targets(tmp_path / "cases", labels=labels, channels=2)
    arrays = {file.stem: dict(np.load(file)) for file in sorted(root.glob("*.npz"))}
    common: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 3, "threads": 2, "seed": 5, "pin_memory": False}
    common["transforms"] = fl.augmentation.nnunet((8, 8, 8))
    images = {name: of["data"] for name, of in arrays.items()}
    targets = {name: torch.from_numpy(of["target"].astype(np.float64)) for name, of in arrays.items()}
    given = {name: of["seg"] for name, of in arrays.items()} if labels else None
    with (
        fl.DataLoader.from_arrays(images, given, targets, **common) as ours,
        fl.DataLoader.from_folder(root, targets=True, **common) as theirs,
    ):
        for _ in range(3):
            expected, batch = next(theirs), next(ours)
            assert batch.keys() == expected.keys()
            for key in batch.keys() - {"case"}:
                assert torch.equal(batch[key], expected[key])
        assert ours.fingerprint == theirs.fingerprint


def test_arrays_of_planes_and_without_channels() -> None:
    images = [np.random.default_rng(number).normal(size=(2, 30, 32)).astype(np.float32) for number in range(2)]
    common: dict[str, Any] = {"patch_size": (16, 16), "batch_size": 2, "threads": 1, "seed": 1, "pin_memory": False}
    with fl.DataLoader.from_arrays(images, targets=[image[0] for image in images], **common) as loader:
        batch = next(loader)
        assert batch["target"].shape == (2, 1, 16, 16)
        assert torch.equal(batch["target"][:, 0], batch["image"][:, 0])


def test_the_same_targets_for_any_number_of_threads_and_after_a_state(tmp_path: Path) -> None:
    root = folder_with_targets(tmp_path / "cases", "b2nd")
    common = {"targets": True, "transforms": fl.augmentation.nnunet((8, 8, 8))}
    with open_folder(root, threads=1, prefetch=1, keep_blocks=False, **common) as loader:
        expected = [next(loader)["target"].clone() for _ in range(2)]
        state = loader.state_dict()
        expected += [next(loader)["target"].clone() for _ in range(3)]
    with open_folder(root, threads=4, prefetch=5, **common) as loader:
        assert all(torch.equal(next(loader)["target"], one) for one in expected)
        loader.load_state_dict(state)
        assert all(torch.equal(next(loader)["target"], one) for one in expected[2:])


def test_a_missing_target_or_one_of_another_shape_is_a_bad_case(tmp_path: Path) -> None:
    root = folder_with_targets(tmp_path / "cases", "npy")
    given: dict[str, Any] = {"targets": True, "patience": 0}
    file = root / "case_2_target.npy"

    def error() -> fl.BadCaseError:
        with open_folder(root, **given) as loader, pytest.raises(fl.BadCaseError) as met:
            for _ in range(20):
                next(loader)
        assert (met.value.case, met.value.file) == ("case_2", str(file))
        return met.value

    write_target(file, dose(2)[:, :19])
    assert r"expected the image's shape (20, 24, 28), got (19, 24, 28)" in str(error())
    write_target(file, dose(2, 2))
    assert "expected 1 channels as the other cases have, got 2" in str(error())
    file.unlink()
    error()
    with open_folder(root, on_bad_case="skip", **given) as loader:
        for _ in range(10):
            assert "case_2" not in next(loader)["case"]
        (bad,) = loader.bad_cases
        assert (bad.name, bad.file) == ("case_2", str(file))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_treated_as_those_of_an_image(tmp_path: Path, value: float) -> None:
    root = folder_with_targets(tmp_path / "cases", "npy", cases=1)
    target = dose(0)
    target[:] = value
    write_target(root / "case_0_target.npy", target)
    with open_folder(root, targets=True) as loader:
        assert not torch.isfinite(next(loader)["target"]).all()
    with (
        open_folder(root, targets=True, check_finite=True) as loader,
        pytest.raises(fl.BadCaseError, match=r"case_0_target\.npy\] expected finite voxels, got "),
    ):
        next(loader)


class Brighter(ImageOnlyTransform):  # type: ignore[misc]
    """In Python; it leaves the target alone."""

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        return img + 1


def test_a_transform_in_python_of_the_image_alone_leaves_the_target_alone(tmp_path: Path) -> None:
    root = folder_with_targets(tmp_path / "cases")
    transforms = ComposeTransforms([Brighter(), MirrorTransform((0,))])
    with open_folder(root, targets=True, transforms=transforms) as loader:
        batch = next(loader)
        for slot in range(3):
            patch, address = loader.patch(0, slot), loader.sample_id(0, slot)
            assert patch.target is not None
            alone = loader.pipeline(
                image=patch.image, segmentation=patch.segmentation, regression_target=patch.target, **address
            )
            assert torch.equal(alone["regression_target"], batch["target"][slot])
            assert torch.equal(alone["image"], batch["image"][slot])


def test_arguments_that_do_not_fit_are_named(tmp_path: Path) -> None:
    image, labels = np.zeros((1, 9, 9, 9), np.float32), np.zeros((9, 9, 9), np.int8)
    common: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 1, "threads": 1}

    def refused(expected: str, *arrays: Any, **more: Any) -> None:
        with pytest.raises(ValueError, match=expected):
            fl.DataLoader.from_arrays(*arrays, **common, **more)

    refused(
        r"^\[targets\] expected the image's shape \(9, 9, 9\), got \(9, 9, 8\) of case case_0$",
        [image],
        [labels],
        [image[0, ..., 1:]],
    )
    refused(
        r"^\[targets\] expected 1 channels as case case_0 has, got 2 of case case_1$",
        [image] * 2,
        None,
        [image, np.zeros((2, 9, 9, 9))],
    )
    refused(r"^\[targets\] expected an array for each of 1 cases, got 2$", [image], None, [image] * 2)
    refused(r"^\[targets\] expected a dictionary by the names of cases", {"a": image}, None, [image])
    refused(r"^\[targets\] expected an array for each case, got none of case a$", {"a": image}, None, {})
    refused(
        r"^\[labels\] expected whole numbers, got float32 of case case_0; labels need array.astype\(np.int16\), and what is "
        r"to be regressed goes into `targets`$",
        [image],
        [image],
    )
    refused(r"^\[keys\] expected names that differ, got ", [image], [labels], [image], label_key="target")
    refused(
        r"^\[per_case\] expected names besides image, label, case, target, got 'target'$",
        [image],
        None,
        [image],
        per_case={"target": [1]},
    )
    with fl.DataLoader.from_arrays([image], [labels], label_key="target", pin_memory=False, **common) as loader:
        assert next(loader)["target"].dtype is torch.int16
