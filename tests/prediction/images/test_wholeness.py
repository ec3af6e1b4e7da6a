"""A file that ends before its voxels do: each format, each type, and how many bytes are there."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from fastnnunet_loader.prediction.images import missing_voxels

SHAPE = (7, 6, 5)
INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32)
TYPES = (*INTEGERS, np.uint64, np.int64, np.float32, np.float64)


def voxels(dtype: Any, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def write(file: Path, array: np.ndarray[Any, Any], compressed: bool = False, vector: bool = False) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(file), useCompression=compressed)


def cut(file: Path, missing: int) -> None:
    file.write_bytes(file.read_bytes()[:-missing])


@pytest.mark.parametrize(
    ("ending", "dtype", "certain"),
    [
        *((".nrrd", dtype, False) for dtype in TYPES),
        *((".mha", dtype, False) for dtype in TYPES),
        *((".gipl", dtype, True) for dtype in (*INTEGERS[:4], np.float32, np.float64)),  # ITK writes no others
    ],
)
def test_bytes_that_are_missing_are_counted(tmp_path: Path, ending: str, dtype: Any, certain: bool) -> None:
    file = tmp_path / f"case_0000{ending}"
    write(file, voxels(dtype))
    assert missing_voxels(str(file)) is None
    total = voxels(dtype).nbytes
    for missing in (1, 40):
        write(file, voxels(dtype))
        cut(file, missing)
        lack = missing_voxels(str(file))
        assert lack is not None
        assert lack.expected == f"{total} bytes of voxels, got {total - missing}"
        assert lack.certain == certain


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_nifti_of_each_kind_and_byte_order(tmp_path: Path, kind: Any, order: str, dtype: Any) -> None:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    file = tmp_path / "case_0000.nii"
    nibabel.save(kind(voxels(dtype), np.eye(4), header), file)
    assert missing_voxels(str(file)) is None
    cut(file, 3)
    lack = missing_voxels(str(file))
    assert lack is not None
    total = voxels(dtype).nbytes
    assert (lack.expected, lack.certain) == (f"{total} bytes of voxels, got {total - 3}", True)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_several_values_in_a_voxel_count(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"case_0000{ending}"
    write(file, voxels(np.int16, (*SHAPE, 3)), vector=True)
    assert missing_voxels(str(file)) is None
    cut(file, 1)
    lack = missing_voxels(str(file))
    assert lack is not None
    assert lack.expected == f"{3 * 2 * 210} bytes of voxels, got {3 * 2 * 210 - 1}"


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_compressed_voxels(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"case_0000{ending}"
    write(file, voxels(np.int16, (20, 20, 20)), compressed=True)
    assert file.stat().st_size < 20**3 * 2
    assert missing_voxels(str(file)) is None
    cut(file, 9)
    lack = missing_voxels(str(file))
    assert lack is not None
    assert not lack.certain


@pytest.mark.parametrize(("ending", "beside"), [(".nhdr", ".raw"), (".mhd", ".raw")])
def test_voxels_in_a_file_of_their_own(tmp_path: Path, ending: str, beside: str) -> None:
    file, data = tmp_path / f"case_0000{ending}", tmp_path / f"case_0000{beside}"
    write(file, voxels(np.int16))
    assert data.is_file()
    assert missing_voxels(str(file)) is None
    cut(data, 10)
    lack = missing_voxels(str(file))
    assert lack is not None
    assert lack.expected == "420 bytes of voxels, got 410"
    data.unlink()
    lack = missing_voxels(str(file))
    assert lack is not None
    assert lack.expected == f"the voxels in {data}, got no such file"
    assert not lack.certain


def picture(ending: str) -> Callable[[Path], None]:
    pixels = voxels(np.uint8, (30, 40))
    return lambda file: imageio.v3.imwrite(file, pixels) if ending != ".tif" else tifffile.imwrite(file, pixels)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_pictures(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"case_0000{ending}"
    for missing in (1, 200):
        picture(ending)(file)
        size = file.stat().st_size
        assert missing_voxels(str(file)) is None
        cut(file, missing)
        lack = missing_voxels(str(file))
        assert lack is not None, missing
        assert not lack.certain
        if ending == ".bmp":
            assert lack.expected == f"a file of {size} bytes, got {size - missing}"


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_of_a_tiff(tmp_path: Path, compression: Any) -> None:
    file = tmp_path / "case_0000.tif"
    with tifffile.TiffWriter(file) as tiff:
        for plane in voxels(np.uint16, (5, 30, 40)):
            tiff.write(plane, compression=compression, photometric="minisblack", contiguous=False, metadata=None)
    assert missing_voxels(str(file)) is None


def test_what_is_behind_the_voxels_does_not_matter(tmp_path: Path) -> None:
    for ending in (".nii", ".nrrd", ".mha", ".gipl", ".bmp", ".tif"):
        file = tmp_path / f"case_0000{ending}"
        if ending in (".bmp", ".tif"):
            picture(ending)(file)
        elif ending == ".nii":
            nibabel.save(nibabel.Nifti1Image(voxels(np.int16), np.eye(4)), file)
        else:
            write(file, voxels(np.int16))
        file.write_bytes(file.read_bytes() + b"\0" * 50)
        assert missing_voxels(str(file)) is None, ending


def test_a_gzip_file_that_pads_its_end_is_whole(tmp_path: Path) -> None:
    plain, file = tmp_path / "case_0000.nii", tmp_path / "case_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels(np.int16, (40, 40, 40)), np.eye(4)), plain)
    packing = zlib.compressobj(wbits=31)
    packed = packing.compress(plain.read_bytes()) + packing.flush()
    file.write_bytes(packed + b"\0" * 100)
    assert missing_voxels(str(file)) is None
    middle = len(packed) // 2
    damaged = packed[:middle] + b"\xff" * 50 + packed[middle + 50 :]
    file.write_bytes(damaged)
    # Only the library that decompresses all of it sees damage inside; here its end still fits.
    assert missing_voxels(str(file)) is None
    file.write_bytes(damaged[:-4] + b"\1\0\0\0")
    lack = missing_voxels(str(file))
    assert lack is not None
    assert lack.certain
    assert lack.expected.startswith("compressed voxels, got Error -3")


def test_files_of_which_nothing_is_known(tmp_path: Path) -> None:
    for name in ("case_0000.jpg", "case_0000.nii.gz", "case_0000.nrrd", "case_0000.mha", "case_0000.gipl", "case_0000.tif"):
        (tmp_path / name).write_bytes(b"no image")
        assert missing_voxels(str(tmp_path / name)) is None, name
    assert missing_voxels(str(tmp_path / "none.nii.gz")) is None


def test_damage_behind_the_voxels_of_a_gzip_file_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "case_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels(np.int16, (20, 20, 20)), np.eye(4)), file)
    whole = file.read_bytes()
    file.write_bytes(whole + b"what a program has appended")
    assert missing_voxels(str(file)) is None
    file.write_bytes(whole[: len(whole) // 2] + b"what a program has appended")
    lack = missing_voxels(str(file))
    assert lack is not None
    assert lack.certain


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tif"])
def test_endings_may_have_capital_letters(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"case_0000{ending}"
    if ending in (".png", ".bmp", ".tif"):
        picture(ending)(file)
    elif ending.startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(voxels(np.int16), np.eye(4)), file)
    else:
        write(file, voxels(np.int16))
    file = file.rename(tmp_path / f"CASE_0000{ending.upper()}")
    assert missing_voxels(str(file)) is None
    cut(file, 30)
    assert missing_voxels(str(file)) is not None


def test_a_file_for_each_slice_is_left_to_the_reader(tmp_path: Path) -> None:
    """Their names are a pattern or a list, not the name of one file."""
    nrrd, meta = tmp_path / "case_0000.nhdr", tmp_path / "case_0000.mhd"
    for named in ("slice%03d.raw 1 3 1", "LIST", "LIST 2\none.raw\ntwo.raw"):
        nrrd.write_text(
            f"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 5 3\nencoding: raw\ndata file: {named}\n", encoding="utf-8"
        )
        assert missing_voxels(str(nrrd)) is None, named
    for named in ("slice%03d.raw 1 3 1", "LIST", "LIST 2\none.raw\ntwo.raw\nthree.raw"):
        meta.write_text(f"NDims = 3\nDimSize = 4 5 3\nElementType = MET_SHORT\nElementDataFile = {named}\n", encoding="utf-8")
        assert missing_voxels(str(meta)) is None, named
