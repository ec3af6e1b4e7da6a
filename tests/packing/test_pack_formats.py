"""The same volume gives the same voxels, whatever the format of its file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from packed_inputs import OBLIQUE, SPACING, itk, labels_of, quietly, read, volume, write, write_dicom, write_nibabel

import fastnnunet_loader as fl

ENDINGS = ["nii.gz", "nii", "nrrd", "nhdr", "mha", "mhd", "gipl", "npy", "npz", "nibabel", "dicom"]


def write_as(ending: str, root: Path, array: Any) -> None:
    if ending == "dicom":
        write_dicom(root / "case", array)
    elif ending == "nibabel":
        write_nibabel(root / "case.nii.gz", array)
    else:
        write(root / f"case.{ending}", array)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_voxels(ending: str, tmp_path: Path) -> None:
    image = volume()
    write_as(ending, tmp_path / "images", image[0])
    write_as(ending, tmp_path / "labels", labels_of(image).astype(np.int16 if ending == "dicom" else np.uint8))
    assert quietly(tmp_path / "images", tmp_path / "out", labels=tmp_path / "labels") == ["case"]
    assert np.array_equal(read(tmp_path / "out", "case"), image.astype(np.float32))
    packed = read(tmp_path / "out", "case_seg")
    assert packed.dtype == np.int8
    assert np.array_equal(packed[0], labels_of(image))
    properties = pickle.loads((tmp_path / "out" / "case.pkl").read_bytes())
    spacing = (1.0, 1.0, 1.0) if ending in ("npy", "npz") else SPACING
    assert properties["spacing"] == pytest.approx(spacing[::-1])
    if ending not in ("npy", "npz", "gipl"):  # GIPL has no direction, and its origin is of float32
        assert properties["sitk_stuff"]["origin"] == pytest.approx((-11.0, 7.5, 30.25))
        assert properties["sitk_stuff"]["direction"] == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.mark.parametrize("how", ["files", "4D NIfTI", "4D nibabel", "vectors", "npy"])
def test_channels_in_one_file_or_in_several(how: str, tmp_path: Path) -> None:
    image, root = volume(channels=3), tmp_path / "images"
    root.mkdir()
    if how == "files":
        for channel, array in enumerate(image):
            write(root / f"case_{channel:04d}.nrrd", array)
    elif how == "4D NIfTI":
        sitk.WriteImage(sitk.JoinSeries([itk(array) for array in image]), str(root / "case.nii.gz"))
    elif how == "4D nibabel":
        nibabel.save(nibabel.Nifti1Image(image.transpose(3, 2, 1, 0), np.eye(4)), root / "case.nii")
    elif how == "vectors":
        sitk.WriteImage(sitk.Compose([itk(array) for array in image]), str(root / "case.mha"))
    else:
        write(root / "case.npy", image)
    assert quietly(root, tmp_path / "out") == ["case"]
    assert np.array_equal(read(tmp_path / "out", "case"), image.astype(np.float32))


@pytest.mark.parametrize("ending", ["png", "tif", "nii.gz", "npy"])
def test_a_2d_image_is_one_slice(ending: str, tmp_path: Path) -> None:
    picture = np.clip(volume()[0, 6], 0, 255).astype(np.uint8)
    write(tmp_path / "images" / f"case.{ending}", picture)
    quietly(tmp_path / "images", tmp_path / "out")
    assert np.array_equal(read(tmp_path / "out", "case"), picture[None, None].astype(np.float32))


def test_colours_are_channels(tmp_path: Path) -> None:
    colours = np.clip(volume(channels=3)[:, 6], 0, 255).astype(np.uint8)
    image = sitk.GetImageFromArray(colours.transpose(1, 2, 0), isVector=True)
    (tmp_path / "images").mkdir()
    sitk.WriteImage(image, str(tmp_path / "images" / "case.png"))
    quietly(tmp_path / "images", tmp_path / "out", normalize="rgb")
    assert np.allclose(read(tmp_path / "out", "case")[:, 0], colours / 255)


def test_axes_that_are_not_at_right_angles(tmp_path: Path) -> None:
    """ITK refuses them, nibabel reads them."""
    affine = np.array([[-0.8, 0.3, 0, 11], [0, -0.9, 0, -7], [0, 0.2, 2.5, 30], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(volume()[0].transpose(2, 1, 0), affine)
    image.header.set_qform(np.eye(4), 0)
    (tmp_path / "images").mkdir()
    nibabel.save(image, tmp_path / "images" / "case.nii.gz")
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(tmp_path / "images" / "case.nii.gz"))
    quietly(tmp_path / "images", tmp_path / "out")
    assert np.array_equal(read(tmp_path / "out", "case"), volume().astype(np.float32))


def test_slopes_of_dicom_slices_are_not_rounded(tmp_path: Path) -> None:
    """Where the first slice has whole numbers, SimpleITK would make whole numbers of all."""
    folder = write_dicom(tmp_path / "images" / "case", volume()[0])
    slope = b"\x28\x00\x53\x10\x02\x00\x00\x00"  # (0028,1053), a text of two bytes
    for file in sorted(folder.iterdir())[1:]:
        data = file.read_bytes()
        assert slope + b"1 " in data
        file.write_bytes(data.replace(slope + b"1 ", slope + b".5"))
    quietly(tmp_path / "images", tmp_path / "out")
    packed = read(tmp_path / "out", "case")[0]
    assert np.array_equal(packed[0], volume()[0, 0].astype(np.float32))  # the first name is the first slice
    assert np.array_equal(packed[1:], volume()[0, 1:].astype(np.float32) / 2)


def test_several_series_are_listed_and_one_is_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "case"
    for number, description in enumerate(["thorax", "lung"], 1):
        write_dicom(folder, volume(number)[0], f"1.2.826.0.1.3680043.2.1125.{number}", description)
    with pytest.raises(fl.PreprocessingError) as raised:
        quietly(tmp_path / "images", tmp_path / "out")
    assert "expected one DICOM series; choose one with --series, got" in str(raised.value)
    assert "1.2.826.0.1.3680043.2.1125.2 (lung, 12 files)" in str(raised.value)
    for chosen, seed in (("lung", 2), ("1.2.826.0.1.3680043.2.1125.1", 1)):
        quietly(tmp_path / "images", tmp_path / chosen, series=chosen)
        assert np.array_equal(read(tmp_path / chosen, "case"), volume(seed).astype(np.float32))
    with pytest.raises(fl.PreprocessingError, match="expected one DICOM series 'liver', got"):
        quietly(tmp_path / "images", tmp_path / "liver", series="liver")


def test_a_missing_dicom_slice_is_named(tmp_path: Path) -> None:
    """ITK reads the rest without an error, at wrong places."""
    folder = write_dicom(tmp_path / "images" / "case", volume()[0])
    sorted(folder.iterdir())[4].unlink()
    with pytest.raises(fl.PreprocessingError, match=r"expected slices at equal distances \(2.5 mm\), got 5 mm between .*dcm"):
        quietly(tmp_path / "images", tmp_path / "out")


def test_oblique_headers_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "images" / "case.nii.gz", volume()[0], direction=OBLIQUE)
    quietly(tmp_path / "images", tmp_path / "out")
    properties = pickle.loads((tmp_path / "out" / "case.pkl").read_bytes())
    assert properties["sitk_stuff"]["direction"] == pytest.approx(OBLIQUE, abs=1e-6)
