"""What is done to voxels: the same as SimpleITK, nnU-Net or NumPy do."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from packed_inputs import OBLIQUE, SPACING, itk, labels_of, quietly, read, volume, write
from scipy.ndimage import zoom

import fastnnunet_loader as fl


def one_case(root: Path, image: Any, **geometry: Any) -> tuple[Path, Path]:
    for channel, array in enumerate(image):
        write(root / "images" / f"case_{channel:04d}.nrrd", array, **geometry)
    write(root / "labels" / "case.nrrd", labels_of(image), **geometry)
    return root / "images", root / "labels"


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAL", "ipr"])
@pytest.mark.parametrize("direction", [None, OBLIQUE, (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)])
def test_orientations_are_simpleitks(orientation: str, direction: Any, tmp_path: Path) -> None:
    image = volume()
    images, labels = one_case(tmp_path, image, direction=direction)
    quietly(images, tmp_path / "out", labels=labels, orientation=orientation)
    turned = sitk.DICOMOrient(itk(image[0], direction=direction), orientation.upper())
    assert np.array_equal(read(tmp_path / "out", "case")[0], sitk.GetArrayFromImage(turned))
    expected = sitk.DICOMOrient(itk(labels_of(image), direction=direction), orientation.upper())
    assert np.array_equal(read(tmp_path / "out", "case_seg")[0], sitk.GetArrayFromImage(expected))
    told = pickle.loads((tmp_path / "out" / "case.pkl").read_bytes())["sitk_stuff"]
    assert told["spacing"] == pytest.approx(turned.GetSpacing())
    assert told["origin"] == pytest.approx(turned.GetOrigin())
    assert told["direction"] == pytest.approx(turned.GetDirection())


@pytest.mark.parametrize("spacing", [(1.2, 1.2, 1.2), (0.8, 0.9, 5.0), (1.1, 0.7)])
@pytest.mark.parametrize("of_file", [SPACING, (1.0, 1.0, 1.5)])
def test_voxels_are_resized_as_nnunet_does(spacing: tuple[float, ...], of_file: tuple[float, ...], tmp_path: Path) -> None:
    """Along thick slices on their own, where there are some."""
    image = volume(channels=2)
    images, labels = one_case(tmp_path, image, spacing=of_file)
    quietly(images, tmp_path / "out", labels=labels, spacing=spacing)
    current = of_file[::-1]
    target = (*current[: 3 - len(spacing)], *spacing[::-1])
    shape = [round(size * old / new) for size, old, new in zip(image.shape[1:], current, target, strict=True)]
    assert shape != list(image.shape[1:])
    resize: Any = resample_data_or_seg_to_shape
    expected = resize(image.astype(np.float32), shape, current, target, is_seg=False, order=3, order_z=0, force_separate_z=None)
    found = read(tmp_path / "out", "case")
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.ptp(expected)
    expected = resize(
        labels_of(image)[None], shape, current, target, is_seg=True, order=1, order_z=0, force_separate_z=None
    )  # fmt: skip
    assert np.mean(read(tmp_path / "out", "case_seg") != expected) <= 1e-3


def test_crop_and_the_way_back(tmp_path: Path) -> None:
    """A prediction that is resized, put where the image was cropped, and turned back lies on the labels of the file."""
    image = volume()
    images, labels = one_case(tmp_path, image, direction=OBLIQUE)
    quietly(images, tmp_path / "out", labels=labels, orientation="RAS", crop="nonzero", spacing=(0.9, 0.9, 1.25))
    told = pickle.loads((tmp_path / "out" / "case.pkl").read_bytes())
    assert told["shape_before_cropping"] == (12, 20, 26)
    assert told["shape_after_cropping_and_before_resampling"] == (10, 20, 23)
    predicted = read(tmp_path / "out", "case_seg")
    assert predicted.shape[1:] == (20, 20, 20)
    small = fl.resample(predicted, told["shape_after_cropping_and_before_resampling"], 1, is_seg=True)
    whole = np.zeros(told["shape_before_cropping"], small.dtype)
    whole[tuple(slice(*sides) for sides in told["bbox_used_for_cropping"])] = small[0]
    packed = told["packed"]
    back = whole.transpose(np.argsort(packed["axes"]))
    for axis in packed["reversed"]:
        back = np.flip(back, axis)
    assert back.shape == packed["shape"]
    assert np.mean(back == labels_of(image)) > 0.97
    assert packed["direction"] == pytest.approx(OBLIQUE)


def normalized(how: str, channel: Any, mask: Any) -> Any:
    if how == "zscore":
        return (channel - channel.mean()) / channel.std()
    if how == "zscore-nonzero":
        inside = channel[mask]
        return np.where(mask, (channel - inside.mean()) / inside.std(), channel)
    if how == "rescale":
        return (channel - channel.min()) / np.ptp(channel)
    if how.startswith("percentiles"):
        low, high = np.percentile(channel, [1, 95] if how.endswith("95") else [0.5, 99.5])
        return (np.clip(channel, low, high) - low) / (high - low)
    return channel


@pytest.mark.parametrize("how", ["zscore", "zscore-nonzero", "rescale", "percentiles", "percentiles:1:95", "none"])
def test_normalisations(how: str, tmp_path: Path) -> None:
    image = volume(channels=2).astype(np.float32)
    image[:, 2:, :, 3:] += 500  # nothing inside is 0
    images, labels = one_case(tmp_path, image)
    quietly(images, tmp_path / "out", labels=labels, normalize=[how, "none"])
    found = read(tmp_path / "out", "case")
    expected = normalized(how, image[0].astype(np.float64), image[0] != 0)
    assert np.abs(found[0] - expected).max() <= 1e-5 * np.ptp(expected)
    assert np.array_equal(found[1], image[1])
    assert read(tmp_path / "out", "case_seg").min() == 0  # the nonzero region leaves no mark


def test_ct_with_intensities_of_another_folder(tmp_path: Path) -> None:
    images, labels = one_case(tmp_path, volume())
    quietly(images, tmp_path / "out", labels=labels, normalize="ct")
    of = json.loads((tmp_path / "out" / "pack.json").read_text())["foreground_intensity_properties_per_channel"]["0"]
    expected = (np.clip(volume(), of["percentile_00_5"], of["percentile_99_5"]) - of["mean"]) / of["std"]
    assert np.allclose(read(tmp_path / "out", "case"), expected, atol=1e-5)
    # A test set without labels, like the training's; and another one like that.
    before = tmp_path / "out"
    for name in ("test", "again"):
        quietly(images, tmp_path / name, normalize="ct", intensities=before / "pack.json")
        assert np.array_equal(read(tmp_path / name, "case"), read(tmp_path / "out", "case"))
        before = tmp_path / name


def test_targets_go_with_their_image_and_are_interpolated(tmp_path: Path) -> None:
    image, dose = volume(), volume(5, 2).astype(np.float32) / 7
    images, _ = one_case(tmp_path, image, spacing=(1, 1, 1))
    (tmp_path / "targets").mkdir()
    channels = [itk(array, (1, 1, 1)) for array in dose]
    sitk.WriteImage(sitk.JoinSeries(channels), str(tmp_path / "targets" / "case.nii.gz"))
    quietly(images, tmp_path / "out", targets=tmp_path / "targets", crop="nonzero", spacing=(2, 2, 2))
    found = read(tmp_path / "out", "case_target")
    assert found.shape == (2, *read(tmp_path / "out", "case").shape[1:])
    cropped = dose[:, 2:, :, 3:]
    factors = [1, *(new / old for new, old in zip(found.shape[1:], cropped.shape[1:], strict=True))]
    expected = zoom(cropped.astype(np.float64), factors, order=1, mode="nearest", grid_mode=True)
    assert np.abs(found - expected).max() <= 1e-4 * np.ptp(dose)
    options: Any = {"patch_size": (4, 4, 4), "batch_size": 2, "seed": 0, "pin_memory": False}
    with fl.DataLoader.from_folder(tmp_path / "out", targets=True, **options) as loader:
        assert loader.keys == ["case"]
        assert np.array_equal(loader.dataset[0]["target"], found)
        assert next(loader)["target"].shape == (2, 2, 4, 4, 4)
