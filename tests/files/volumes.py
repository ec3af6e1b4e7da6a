"""Rows of volumes: NIfTI by nibabel and SimpleITK; NRRD, MetaImage and GIPL by SimpleITK; TIFF by tifffile."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import tifffile
from nnunetv2.imageio import simpleitk_reader_writer

from .row import SHAPE, row, volume

AFFINE = np.diag([1.2, 1.0, 0.9, 1.0])
SHEARED = np.array([[1.2, 0.5, 0, 0], [0, 1, 0.2, 0], [0, 0, 0.9, 0], [0, 0, 0, 1]])
TURNED = np.array([[0, 1.2, 0, 3], [1, 0, 0, 5], [0, 0, -0.9, 7], [0, 0, 0, 1]])
OBLIQUE = np.array([[1.14, -0.3, 0, 3], [0.37, 0.95, 0, 5], [0, 0, 0.9, 7], [0, 0, 0, 1]])

NIFTI_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
UNUSUAL_TYPES = ("complex64", "complex128")
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
RGBA = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
UNNOTICED = "ITK takes what it has in memory for missing voxels"
INSIDE = "only decompressing all of it shows it"
BY_ITK = [name for name in ("SimpleITKIO", "SimpleITKIOWithReorient") if hasattr(simpleitk_reader_writer, name)]
BY_NIBABEL = ["NibabelIO", "NibabelIOWithReorient"]


def nifti(
    voxels: npt.NDArray[Any],
    ending: str,
    affine: npt.NDArray[Any] = AFFINE,
    kind: type = nibabel.Nifti1Image,
    change: Callable[[Any], None] | None = None,
    scaling: tuple[float, float] | None = None,
    order: str = "<",
) -> Callable[[Path], None]:
    """Return what writes one by nibabel. change: of the header in a .nii.gz. scaling: slope and intercept."""

    def write(folder: Path) -> None:
        header = kind.header_class(endianness=order)
        header.set_data_dtype(voxels.dtype.newbyteorder(order) if voxels.dtype.names is None else voxels.dtype)
        image = kind(voxels, affine, header)
        image.header.set_xyzt_units("mm")
        if scaling is not None:
            image.header.set_slope_inter(*scaling)
        file = folder / f"case_0000{ending}"
        nibabel.save(image, file)
        if change is not None:  # nibabel itself would bring it back into line
            content = gzip.decompress(file.read_bytes())
            header = nibabel.Nifti1Header(content[:348], check=False)
            change(header)
            file.write_bytes(gzip.compress(header.binaryblock + content[348:]))

    return write


def spoiled(write: Callable[[Path], None], spoil: Callable[[bytes], bytes], compressed: bool = False) -> Callable[[Path], None]:
    """The same file with other bytes. compressed: change what is inside."""

    def again(folder: Path) -> None:
        write(folder)
        (file,) = folder.glob("case_0000*")
        content = file.read_bytes()
        file.write_bytes(gzip.compress(spoil(gzip.decompress(content))) if compressed else spoil(content))

    return again


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def last_byte_missing(content: bytes) -> bytes:
    return content[:-1]


def longer(content: bytes) -> bytes:
    return content + b"\0" * 100


def empty(_: bytes) -> bytes:
    return b""


def text(_: bytes) -> bytes:
    return b"this is not an image\n" * 50


def in_parts(content: bytes) -> bytes:
    """gzip of several members, as bgzip and pigz write."""
    whole = gzip.decompress(content)
    return gzip.compress(whole[:500]) + gzip.compress(whole[500:]) + gzip.compress(b"")


def flipped_byte(content: bytes) -> bytes:
    """In the middle of what is compressed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def _nifti_rows() -> None:
    for reader in (*BY_ITK, *BY_NIBABEL):
        first = reader in ("SimpleITKIO", "NibabelIO")
        by_itk = reader in BY_ITK
        cut = UNNOTICED if by_itk else ""
        for dtype in (*NIFTI_TYPES, *UNUSUAL_TYPES):
            row(reader, ".nii.gz", dtype, "plain", nifti(volume(dtype), ".nii.gz"), short=first)
        for dtype in (RGB, RGBA):
            voxels = np.zeros(SHAPE, dtype)
            voxels["R"] = volume(np.uint8)
            row(reader, ".nii.gz", f"RGB{'A' * (dtype == RGBA)}", "plain", nifti(voxels, ".nii.gz"), short=first)
        for ending in (".nii", ".nii.gz"):
            for dtype in ("uint8", "int16", "uint16", "int32", "float32", "float64"):
                write = nifti(volume(dtype), ending, scaling=(0.5, 10))
                row(reader, ending, dtype, "scaled", write, short=first and dtype in ("uint8", "int16", "int32"))
            second = nifti(volume("int16"), ending, kind=nibabel.Nifti2Image)
            row(reader, ending, "int16", "NIfTI-2", second, short=first)
            scaled = nifti(volume("int16"), ending, kind=nibabel.Nifti2Image, scaling=(0.5, 10))
            row(reader, ending, "int16", "NIfTI-2, scaled", scaled, short=first)
            row(reader, ending, "int16", "half of it", spoiled(nifti(volume("int16"), ending), half), refused=cut)
            row(
                reader,
                ending,
                "int16",
                "a byte missing",
                spoiled(nifti(volume("int16"), ending), last_byte_missing),
                refused=cut,
            )
            row(reader, ending, "int16", "longer", spoiled(nifti(volume("int16"), ending), longer))
            row(reader, ending, "int16", "empty", spoiled(nifti(volume("int16"), ending), empty), short=first)
            row(reader, ending, "int16", "text", spoiled(nifti(volume("int16"), ending), text), short=first)
            scaled_half = spoiled(nifti(volume("int16"), ending, scaling=(0.5, 10)), half)
            row(reader, ending, "int16", "scaled, half of it", scaled_half, refused=cut, short=first)
        plain = nifti(volume("int16"), ".nii.gz")
        row(reader, ".nii.gz", "int16", "voxels missing", spoiled(plain, half, compressed=True), refused=cut, short=first)
        row(reader, ".nii.gz", "int16", "longer inside", spoiled(plain, longer, compressed=True), short=first)
        row(reader, ".nii.gz", "int16", "several parts", spoiled(plain, in_parts), short=first)
        row(reader, ".nii.gz", "int16", "a byte changed", spoiled(plain, flipped_byte), late=INSIDE, short=first)
        row(reader, ".nii.gz", "int16", "not compressed", spoiled(plain, gzip.decompress), short=first)
        row(reader, ".nii", "int16", "compressed", spoiled(nifti(volume("int16"), ".nii"), gzip.compress), short=first)
        for order in "<>":
            big = nifti(volume("int16"), ".nii", order=order)
            row(reader, ".nii", "int16", f"{'big' if order == '>' else 'little'} endian", big, short=first)
        row(
            reader,
            ".nii",
            "int16",
            "big endian, scaled",
            nifti(volume("int16"), ".nii", order=">", scaling=(2, 1)),
            short=first,
        )
        for kind, affine in (
            ("shear", SHEARED),
            ("turned", TURNED),
            ("oblique", OBLIQUE),
            ("flipped", np.diag([-1, -1, 1, 1.0])),
        ):
            row(reader, ".nii.gz", "int16", kind, nifti(volume("int16"), ".nii.gz", affine))
        row(reader, ".nii.gz", "int16", "no affine", nifti(volume("int16"), ".nii.gz", change=_no_affine), short=first)
        row(reader, ".nii.gz", "int16", "sform only", nifti(volume("int16"), ".nii.gz", change=_sform_only), short=first)
        row(reader, ".nii.gz", "int16", "spacing 0", nifti(volume("int16"), ".nii.gz", change=_no_spacing))
        row(reader, ".nii.gz", "int16", "spacing below 0", nifti(volume("int16"), ".nii.gz", change=_negative_spacing))
        row(reader, ".nii.gz", "float32", "NaN", nifti(_with(np.nan), ".nii.gz"), short=first)
        row(reader, ".nii.gz", "float32", "infinite", nifti(_with(np.inf), ".nii.gz"), short=first)
        for value in (np.nan, np.inf, -np.inf):
            kind = f"{value}, clipped"
            row(reader, ".nii.gz", "float32", kind, nifti(_with(value), ".nii.gz"), scheme="CTNormalization", short=first)
        row(reader, ".nii.gz", "float32", "constant", nifti(np.full(SHAPE, 3, np.float32), ".nii.gz"), short=first)
        row(reader, ".nii.gz", "float32", "all zero", nifti(np.zeros(SHAPE, np.float32), ".nii.gz"), short=first)
        for shape in (
            (9, 11),
            (9,),
            (9, 11, 1),
            (1, 9, 11),
            (1, 1, 1),
            (7, 9, 11, 1),
            (7, 9, 11, 2),
            (7, 9, 11, 4),
            (7, 9, 11, 1, 3),
            (7, 9, 0),
        ):
            for channels in {1, shape[3] if len(shape) > 3 else 1}:
                name = f"{' x '.join(map(str, shape))}, {channels} channel{'s' * (channels > 1)}"
                row(reader, ".nii.gz", "int16", name, nifti(volume("int16", shape), ".nii.gz"), channels=channels)
        for kind, other in (
            ("another size", nifti(volume("int16", (7, 9, 12)), ".nii.gz")),
            ("another spacing", nifti(volume("int16"), ".nii.gz", np.diag([1.2, 1.1, 0.9, 1]))),
            ("nearly the same spacing", nifti(volume("int16"), ".nii.gz", np.diag([1.2, 1.000004, 0.9, 1]))),
            ("another origin", nifti(volume("int16"), ".nii.gz", AFFINE + np.eye(4, k=3))),
            ("another type", nifti(volume("float64"), ".nii.gz", scaling=(2, 1))),
        ):
            row(reader, ".nii.gz", "int16", f"second channel of {kind}", _two(plain, other), channels=2)
        row(reader, ".nii.gz", "int16", "one channel of two", plain, channels=2, short=first)
        row(reader, ".nii.gz", "int16", "two channels of one", _two(plain, plain), short=first)
        row(reader, ".img", "int16", "pair", nifti(volume("int16"), ".img", kind=nibabel.Nifti1Pair), short=first)
        row(reader, ".hdr", "int16", "pair", nifti(volume("int16"), ".img", kind=nibabel.Nifti1Pair), short=first)
        row(reader, ".mgz", "float32", "plain", _mgz, short=first)


def _mgz(folder: Path) -> None:
    nibabel.save(nibabel.MGHImage(volume("float32"), AFFINE), folder / "case_0000.mgz")


def _sform_only(header: Any) -> None:
    header["qform_code"] = 0


def _no_affine(header: Any) -> None:
    header["qform_code"] = 0
    for line in "xyz":
        header[f"srow_{line}"] = 0


def _no_spacing(header: Any) -> None:
    header["pixdim"][2] = 0


def _negative_spacing(header: Any) -> None:
    header["pixdim"][2] = -1


def _with(value: float) -> npt.NDArray[np.float32]:
    voxels = volume(np.float32).copy()
    voxels[3, 4, 5] = value
    return voxels


def _two(first: Callable[[Path], None], second: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        second(folder)
        (file,) = folder.iterdir()
        file.rename(folder / file.name.replace("_0000", "_0001"))
        first(folder)

    return write


def itk(voxels: npt.NDArray[Any], name: str, *, vector: bool = False, compress: bool = False, direction: Any = None) -> Any:
    """Return what writes one by SimpleITK, (Z, Y, X) as it has them."""

    def write(folder: Path) -> None:
        image = sitk.GetImageFromArray(voxels, isVector=vector)
        image.SetSpacing([1.2, 1.0, 0.9, 1.0][: image.GetDimension()])
        if direction is not None:
            image.SetDirection(direction)
        sitk.WriteImage(image, str(folder / name), useCompression=compress)

    return write


def _itk_rows() -> None:
    types = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
    for reader in BY_ITK:
        first = reader == "SimpleITKIO"
        for ending in (".nrrd", ".mha", ".nii.gz"):
            for dtype in types:
                row(
                    reader,
                    ending,
                    dtype,
                    "by SimpleITK",
                    itk(volume(dtype), f"case_0000{ending}"),
                    short=first and dtype[-1] != "8",
                )
            for dtype in ("complex64", "complex128"):
                row(reader, ending, dtype, "by SimpleITK", itk(volume(dtype), f"case_0000{ending}"), short=first)
            for dtype, count in (("uint8", 3), ("float32", 2), ("int16", 4)):
                voxels = volume(dtype, (*SHAPE, count))
                row(
                    reader,
                    ending,
                    f"vector of {count} {dtype}",
                    "by SimpleITK",
                    itk(voxels, f"case_0000{ending}", vector=True),
                    short=first,
                )
                flat = volume(dtype, (*SHAPE[1:], count))
                row(
                    reader,
                    ending,
                    f"vector of {count} {dtype}",
                    "2D",
                    itk(flat, f"case_0000{ending}", vector=True),
                    short=first,
                )
        for ending in (".nrrd", ".mha"):
            for compress in (False, True):
                word = "compressed" if compress else "raw"
                write = itk(volume("int16"), f"case_0000{ending}", compress=compress)
                row(reader, ending, "int16", word, write, short=first)
                for kind, spoil in (
                    ("half of it", half),
                    ("a byte missing", last_byte_missing),
                    ("longer", longer),
                    ("empty", empty),
                    ("text", text),
                ):
                    row(reader, ending, "int16", f"{word}, {kind}", spoiled(write, spoil), short=first)
            turned = (0, 1, 0, 1, 0, 0, 0, 0, -1)
            row(reader, ending, "int16", "turned", itk(volume("int16"), f"case_0000{ending}", direction=turned), short=first)
            sheared = (1, 0.5, 0, 0, 1, 0, 0, 0, 1)
            row(reader, ending, "int16", "shear", itk(volume("int16"), f"case_0000{ending}", direction=sheared), short=first)
            row(reader, ending, "int16", "2D", itk(volume("int16", (9, 11)), f"case_0000{ending}"), short=first)
            for channels in (1, 2):
                for given in {1, channels}:
                    voxels = volume("int16", (channels, *SHAPE))
                    row(
                        reader,
                        ending,
                        "int16",
                        f"4D of {channels}, {given} channels",
                        itk(voxels, f"case_0000{ending}"),
                        channels=given,
                        short=first,
                    )
        for name, ending in (("case_0000.nhdr", ".nhdr"), ("case_0000.mhd", ".mhd")):
            for compress in (False, True):
                write = itk(volume("int16"), name, compress=compress)
                word = "detached, compressed" if compress else "detached"
                row(reader, ending, "int16", word, write, short=first)
                row(reader, ending, "int16", f"{word}, voxels missing", _without_voxels(write), short=first)
                row(reader, ending, "int16", f"{word}, half of the voxels", _with_half(write), short=first)
        row(reader, ".gipl", "int16", "raw", itk(volume("int16"), "case_0000.gipl"), short=first)
        row(
            reader,
            ".gipl",
            "int16",
            "half of it",
            spoiled(itk(volume("int16"), "case_0000.gipl"), half),
            refused=UNNOTICED,
            short=first,
        )
        row(reader, ".vtk", "int16", "raw", itk(volume("int16"), "case_0000.vtk"), short=first)


def _voxels_of(folder: Path) -> Path:
    (file,) = (file for file in folder.iterdir() if file.suffix not in (".nhdr", ".mhd"))
    return file


def _without_voxels(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def again(folder: Path) -> None:
        write(folder)
        _voxels_of(folder).unlink()

    return again


def _with_half(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def again(folder: Path) -> None:
        write(folder)
        file = _voxels_of(folder)
        file.write_bytes(half(file.read_bytes()))

    return again


def tiff(voxels: npt.NDArray[Any], ending: str = ".tif", spacing: Any = None, **options: Any) -> Callable[[Path], None]:
    """Return what writes one by tifffile, with the spacing beside it."""

    def write(folder: Path) -> None:
        tifffile.imwrite(folder / f"case_0000{ending}", voxels, **{"photometric": "minisblack", **options})
        if spacing is not None:
            (folder / "case.json").write_text(f'{{"spacing": {spacing}}}', encoding="utf-8")

    return write


def _tiff_rows() -> None:
    reader = "Tiff3DIO"
    types = (
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "float32",
        "float64",
        "complex64",
    )
    for dtype in types:
        row(reader, ".tif", dtype, "plain", tiff(volume(dtype)))
    for name, options in (
        ("BigTIFF", {"bigtiff": True}),
        ("deflate", {"compression": "zlib"}),
        ("LZW", {"compression": "lzw"}),
        ("tiles", {"tile": (16, 16)}),
        ("big endian", {"byteorder": ">"}),
        ("ImageJ", {"imagej": True}),
        ("OME", {"ome": True}),
        ("pages of their own", {"metadata": None}),
    ):
        row(reader, ".tif", "uint16", name, tiff(volume("uint16"), **options))
    row(reader, ".tiff", "uint16", "spacing 1.2 1 0.9", tiff(volume("uint16"), ".tiff", [1.2, 1, 0.9]))
    row(reader, ".tif", "uint16", "spacing 1.2 1 0.9", tiff(volume("uint16"), spacing=[1.2, 1, 0.9]))
    row(reader, ".tif", "uint16", "spacing 1.2 1", tiff(volume("uint16"), spacing=[1.2, 1]))
    row(reader, ".tif", "uint16", "spacing 0 1 1", tiff(volume("uint16"), spacing=[0, 1, 1]))
    row(reader, ".tif", "uint16", "spacing in words", tiff(volume("uint16"), spacing='["1", "a", "1"]'))
    row(reader, ".tif", "uint16", "2D", tiff(volume("uint16", (9, 11))))
    row(reader, ".tif", "uint16", "one slice", tiff(volume("uint16", (1, 9, 11))))
    row(reader, ".tif", "uint8", "RGB, 2D", tiff(volume("uint8", (9, 11, 3)), photometric="rgb"))
    row(reader, ".tif", "uint8", "RGB, 3D", tiff(volume("uint8", (7, 9, 11, 3)), photometric="rgb"))
    row(reader, ".tif", "uint16", "4D", tiff(volume("uint16", (2, 7, 9, 11))))
    row(reader, ".tif", "uint16", "two series", _two_series)
    row(reader, ".tif", "float32", "NaN", tiff(_with(np.nan)))
    for kind, spoil in (
        ("half of it", half),
        ("a byte missing", last_byte_missing),
        ("longer", longer),
        ("empty", empty),
        ("text", text),
    ):
        row(reader, ".tif", "uint16", kind, spoiled(tiff(volume("uint16")), spoil))
        row(reader, ".tif", "uint16", f"deflate, {kind}", spoiled(tiff(volume("uint16"), compression="zlib"), spoil))


def _two_series(folder: Path) -> None:
    with tifffile.TiffWriter(folder / "case_0000.tif") as writer:
        writer.write(volume("uint16"), photometric="minisblack")
        writer.write(volume("uint16", (3, 4, 5)), photometric="minisblack")


_nifti_rows()
_itk_rows()
_tiff_rows()
