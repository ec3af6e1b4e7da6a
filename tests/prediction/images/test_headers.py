"""A header says what nnU-Net's reader returns for the same file: channels, size, spacing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from nnunetv2.imageio import nibabel_reader_writer, simpleitk_reader_writer
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

from fastnnunet_loader.prediction.images import Header, of_image, read_header, unwritable

OF_NIFTI = [
    getattr(module, name)
    for module, name in (
        (simpleitk_reader_writer, "SimpleITKIO"),
        (simpleitk_reader_writer, "SimpleITKIOWithReorient"),
        (nibabel_reader_writer, "NibabelIO"),
        (nibabel_reader_writer, "NibabelIOWithReorient"),
    )
    if hasattr(module, name)
]


def assert_read_as(reader: type, file: Path) -> Header:
    """The header is what the reader reads."""
    header = read_header(reader, str(file))
    assert header is not None
    image, properties = reader().read_images([str(file)])
    assert (header.channels, *header.shape) == image.shape
    assert header.spacing == pytest.approx([float(s) for s in properties["spacing"]], rel=1e-6)
    assert header.voxels == image[0].size
    return header


@pytest.mark.parametrize("reader", OF_NIFTI, ids=lambda reader: reader.__name__)
def test_axes_of_every_orientation(reader: type, tmp_path: Path) -> None:
    """Sizes and spacings are of three different axes, whichever way these are turned and flipped."""
    file = tmp_path / "case_0000.nii.gz"
    for number, order in enumerate(itertools.permutations(range(3))):
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for axis, (world, spacing) in enumerate(zip(order, (1.5, 2.5, 3.5), strict=True)):
            affine[world, axis] = spacing * (-1 if number >> axis & 1 else 1)
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), affine), file)
        assert_read_as(reader, file)


@pytest.mark.parametrize("reader", OF_NIFTI, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_bytes_of_a_voxel_while_it_is_read(reader: type, tmp_path: Path, dtype: Any) -> None:
    file = tmp_path / "case_0000.nii.gz"
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), dtype), np.eye(4))
    nibabel.save(image, file)
    kept = 8 if "Nibabel" in reader.__name__ else np.dtype(dtype).itemsize
    header = read_header(reader, str(file))
    assert header is not None
    assert header.itemsize == kept


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6), (2, 4, 5, 6)])
def test_dimensions_by_simpleitk(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = sitk.GetImageFromArray(np.ones(shape, np.float32), isVector=False)
    image.SetSpacing([1.5, 2.5, 3.5, 4.5][: len(shape)])
    file = tmp_path / "case_0000.nrrd"
    sitk.WriteImage(image, str(file))
    header = assert_read_as(SimpleITKIO, file)
    assert ("give each channel a file of its own" in header.unwritable) == (len(shape) == 4)
    _, properties = SimpleITKIO().read_images([str(file)])
    assert unwritable(properties) == header.unwritable


PICTURES: dict[str, tuple[str, tuple[int, ...], Any]] = {
    "grey": (".png", (5, 7), np.uint8),
    "grey of 16 bits": (".png", (5, 7), np.uint16),
    "RGB": (".png", (5, 7, 3), np.uint8),
    "RGBA": (".png", (5, 7, 4), np.uint8),
    "bitmap": (".bmp", (5, 7, 3), np.uint8),
    "TIFF, grey": (".tif", (5, 7), np.uint16),
    "TIFF, RGB": (".tif", (5, 7, 3), np.uint8),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(tmp_path: Path, name: str) -> None:
    ending, shape, dtype = PICTURES[name]
    file = tmp_path / f"case_0000{ending}"
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    if ending == ".tif":
        tifffile.imwrite(file, pixels, photometric="rgb" if len(shape) == 3 else "minisblack")
    else:
        imageio.v3.imwrite(file, pixels)
    header = assert_read_as(NaturalImage2DIO, file)
    assert header.channels == (1 if len(shape) == 2 else shape[2])
    assert header.shape == (1, 5, 7)
    assert header.itemsize == np.dtype(dtype).itemsize


@pytest.mark.parametrize("spacing", [None, [1.5, 2.5, 3.5]])
def test_spacing_beside_a_tiff(tmp_path: Path, capsys: pytest.CaptureFixture[str], spacing: Any) -> None:
    file = tmp_path / "case_0000.tif"
    tifffile.imwrite(file, np.ones((4, 5, 6), np.uint16), photometric="minisblack")
    if spacing is not None:
        (tmp_path / "case.json").write_text(json.dumps({"spacing": spacing}), encoding="utf-8")
    header = assert_read_as(Tiff3DIO, file)
    assert header.shape == (4, 5, 6)
    assert header.spacing == tuple(spacing or (1.0, 1.0, 1.0))
    assert header.itemsize == 2


def _nifti_of_vectors(file: Path) -> None:
    voxels = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), file)


def _nifti_of_four_dimensions(file: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6, 2), np.int16), np.eye(4)), file)


def _flat_tiff(file: Path) -> None:
    tifffile.imwrite(file, np.ones((5, 6), np.uint16))


def _tiff_with(spacing: Any) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        tifffile.imwrite(file, np.ones((4, 5, 6), np.uint16), photometric="minisblack")
        (file.parent / "case.json").write_text(json.dumps({"spacing": spacing}), encoding="utf-8")

    return write


def _many_pages(file: Path) -> None:
    tifffile.imwrite(file, np.ones((9, 5, 6), np.uint8), photometric="minisblack")


@pytest.mark.parametrize(
    ("reader", "ending", "write", "said"),
    [
        (SimpleITKIO, ".nii.gz", _nifti_of_vectors, "one value for each voxel, got 3"),
        (NibabelIO, ".nii.gz", _nifti_of_vectors, "one value for each voxel, got 3: R, G, B"),
        (NibabelIO, ".nii.gz", _nifti_of_four_dimensions, "an image of 3 dimensions, got 4"),
        (Tiff3DIO, ".tif", _flat_tiff, "an image of 3 dimensions, got 2"),
        (Tiff3DIO, ".tif", _tiff_with([1, 2]), r"three numbers as the spacing in .*case\.json, got \[1, 2\]"),
        (Tiff3DIO, ".tif", _tiff_with([1, 2, "3"]), "three numbers as the spacing"),
        (Tiff3DIO, ".tif", _tiff_with([1, 2, 0]), r"three spacings above 0, got \(1\.0, 2\.0, 0\.0\)"),
        (NaturalImage2DIO, ".tif", _many_pages, r"with 3 or 4, got one of shape \(9, 5, 6\)"),
    ],
)
def test_images_that_nnunet_does_not_take(tmp_path: Path, reader: type, ending: str, write: Any, said: str) -> None:
    file = tmp_path / f"case_0000{ending}"
    write(file)
    with pytest.raises(ValueError, match=f"^{said}|{said}$"):
        read_header(reader, str(file))


def test_a_reader_that_is_not_nnunets_is_not_known(tmp_path: Path) -> None:
    class SimpleITKIO:
        """Of the same name as nnU-Net's."""

    class MyIO(NibabelIO):
        """Of nnU-Net's, with another name."""

    file = tmp_path / "case_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)), file)
    assert read_header(SimpleITKIO, str(file)) is None
    assert read_header(MyIO, str(file)) is None


def test_header_of_what_was_read() -> None:
    header = of_image(np.ones((2, 4, 5, 6)), [np.float32(1.5), 2, 3.5], "because")
    assert header == Header(2, (4, 5, 6), (1.5, 2.0, 3.5), 8, "because")
    with pytest.raises(ValueError, match="an image with voxels"):
        of_image(np.ones((2, 4, 0, 6)), [1, 1, 1])
    for wrong in ([1, 1], [1, 1, 0], [1, 1, -1], [1, 1, np.nan], [1, 1, np.inf]):
        with pytest.raises(ValueError, match="three spacings above 0"):
            of_image(np.ones((2, 4, 5, 6)), wrong)


def test_an_affine_with_which_nothing_can_be_written() -> None:
    assert unwritable({"nibabel_stuff": {"original_affine": np.eye(4)}}) == ""
    assert "an affine with which" in unwritable({"nibabel_stuff": {"original_affine": np.diag([0.0, 0.0, 0.0, 1.0])}})
    assert unwritable({"sitk_stuff": {"spacing": (1.0, 1.0, 1.0)}}) == ""
    assert unwritable({}) == ""


@pytest.mark.parametrize("shape", [(3, 7, 4), (4, 7, 4), (4, 7, 3), (3, 3, 3), (4, 4, 4)])
def test_pictures_of_as_many_rows_as_channels(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    file = tmp_path / "case_0000.png"
    imageio.v3.imwrite(file, np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8))
    header = assert_read_as(NaturalImage2DIO, file)
    assert (header.channels, header.shape) == (shape[2], (1, *shape[:2]))
