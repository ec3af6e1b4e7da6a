"""Headers of image files: shape, spacing and dtype, read without the voxels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

__all__ = ["Header", "of_image", "read_header", "unwritable"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Header:
    """Header of one file. Shape (X, Y, Z) and spacing in mm are in the order of the arrays that nnU-Net's reader returns."""

    channels: int
    shape: Shape
    spacing: tuple[float, float, float]
    itemsize: int
    """Bytes of a voxel in the reader's memory."""
    unwritable: str = ""
    """What nnU-Net's writer expects of an image to write its segmentation, and got here; "" if it can write it."""

    @property
    def voxels(self) -> int:
        """Number of voxels of one channel."""
        return math.prod(self.shape)


def read_header(reader: type, file: str) -> Header | None:
    """Read a file's header as nnU-Net's reader-writer class would; return None if the class is not one of nnU-Net's.

    Raises:
        ValueError: nnU-Net does not accept such an image.
        Exception: any error of the library that reads the file.
    """
    read = _READERS.get(reader.__name__) if reader.__module__.startswith("nnunetv2.imageio.") else None
    return None if read is None else read(file)


def of_image(image: npt.NDArray[Any], spacing: Sequence[Any], unwritable: str = "") -> Header:
    """Return the header of an image (C, X, Y, Z) that nnU-Net's reader has read, with its spacing (X, Y, Z) in mm."""
    # Readers keep at most float64.
    return _header(int(image.shape[0]), [int(n) for n in image.shape[1:]], [float(s) for s in spacing], 8, unwritable)


_FOUR_DIMENSIONS = (
    "an image of 2 or 3 dimensions, as nnU-Net's SimpleITKIO can write its segmentation, got 4; "
    "give each channel a file of its own, _0000 and so on"
)


def unwritable(properties: dict[str, Any]) -> str:
    """Return the `Header.unwritable` of an image with these properties."""
    itk, of_nibabel = properties.get("sitk_stuff"), properties.get("nibabel_stuff")
    if isinstance(itk, dict) and "spacing" in itk and len(itk["spacing"]) == 4:
        return _FOUR_DIMENSIONS
    if isinstance(of_nibabel, dict) and "original_affine" in of_nibabel:
        return _unfit(of_nibabel["original_affine"])
    return ""


def _unfit(affine: Any) -> str:
    import nibabel
    import numpy as np

    try:
        nibabel.Nifti1Image(np.zeros((1, 1, 1), np.uint8), affine)
    except Exception as error:
        return f"an affine with which nnU-Net's writer can write a segmentation, got {' '.join(str(error).split())}"
    return ""


def _simple_itk(file: str, reorient: bool = False) -> Header:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    size, spacing = list(reader.GetSize()), [abs(float(s)) for s in reader.GetSpacing()]
    kind = reader.GetPixelID()
    name = sitk.GetPixelIDValueAsString(kind)
    if name.startswith("vector"):  # nnU-Net would take the components for an axis
        raise ValueError(f"one value for each voxel, got {reader.GetNumberOfComponents()}")
    if reorient:
        if len(size) != 3:
            raise ValueError(f"an image of 3 dimensions, the only ones that this reader reorients, got {len(size)}")
        if name.startswith("complex"):
            raise ValueError(f"real voxels, the only ones that this reader reorients, got {name}")
        # The order of axes after DICOMOrient, found with an image of 1 x 2 x 3 voxels.
        probe = sitk.Image([1, 2, 3], sitk.sitkUInt8)
        probe.SetDirection(reader.GetDirection())
        turned = [int(n) - 1 for n in sitk.DICOMOrient(probe, "RAS").GetSize()]
        size, spacing = [size[axis] for axis in turned], [spacing[axis] for axis in turned]
    size, spacing, channels, why = [int(n) for n in size[::-1]], spacing[::-1], 1, ""
    if len(size) == 2:
        size, spacing = [1, *size], [999 * max(spacing), *spacing]
    elif len(size) == 4:
        channels, size, spacing = size[0], size[1:], spacing[1:]
        why = _FOUR_DIMENSIONS
    elif len(size) != 3:
        raise ValueError(f"an image of 2, 3 or 4 dimensions, got {len(size)}")
    item = sitk.GetArrayViewFromImage(sitk.Image([1, 1], kind)).dtype.itemsize
    return _header(channels, size, spacing, item, why)


def _nibabel(file: str, reorient: bool = False) -> Header:
    import nibabel

    image: Any = nibabel.load(file)
    if image.ndim != 3:
        raise ValueError(f"an image of 3 dimensions, got {image.ndim}")
    dtype = image.get_data_dtype()
    if dtype.names is not None:
        raise ValueError(f"one value for each voxel, got {len(dtype.names)}: {', '.join(dtype.names)}")
    axes = [0, 1, 2]
    if reorient:
        turned = [int(axis) for axis in nibabel.orientations.io_orientation(image.affine)[:, 0]]
        axes = [turned.index(axis) for axis in range(3)]
    zooms = image.header.get_zooms()
    size, spacing = [int(image.shape[axis]) for axis in axes], [float(zooms[axis]) for axis in axes]
    # Voxels are read as float64, whatever their type in the file.
    return _header(1, size[::-1], spacing[::-1], max(8, dtype.itemsize), _unfit(image.affine))


def _picture(file: str) -> Header:
    """Read it with the libraries that scikit-image uses, tifffile and imageio."""
    if file.lower().endswith((".tif", ".tiff")):
        shape, item = _series(file)
    else:
        import imageio.v3

        properties = imageio.v3.improps(file)
        shape, item = [int(n) for n in properties.shape], int(properties.dtype.itemsize)
    if len(shape) == 3 and shape[-1] not in (3, 4) and shape[0] in (3, 4):
        shape = [*shape[1:], shape[0]]  # one plane for each channel
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[-1] not in (3, 4)):
        raise ValueError(f"a picture with one value for each pixel, or with 3 or 4, got one of shape {tuple(shape)}")
    height, width, channels = (*shape, 1)[:3]
    return _header(channels, [1, height, width], [999.0, 1.0, 1.0], item)


def _tiff(file: str) -> Header:
    size, item = _series(file)
    if len(size) != 3:
        raise ValueError(f"an image of 3 dimensions, got {len(size)}")
    spacing = [1.0, 1.0, 1.0]
    beside = Path(file[: -len(Path(file).suffix) - len("_0000")] + ".json")
    if beside.is_file():
        import json

        given = json.loads(beside.read_text(encoding="utf-8"))["spacing"]
        if not isinstance(given, list) or len(given) != 3 or not all(isinstance(s, (int, float)) for s in given):
            raise ValueError(f"three numbers as the spacing in {beside}, got {given}")
        spacing = [float(s) for s in given]
    return _header(1, size, spacing, item)


def _series(file: str) -> tuple[list[int], int]:
    """Return the shape and the bytes per value of the first series of a TIFF file, the one that tifffile reads."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        return [int(n) for n in series.shape], int(series.dtype.itemsize)


_READERS: dict[str, Callable[[str], Header]] = {
    "SimpleITKIO": _simple_itk,
    "SimpleITKIOWithReorient": lambda file: _simple_itk(file, reorient=True),
    "NibabelIO": _nibabel,
    "NibabelIOWithReorient": lambda file: _nibabel(file, reorient=True),
    "NaturalImage2DIO": _picture,
    "Tiff3DIO": _tiff,
}


def _header(channels: int, size: list[int], spacing: list[float], item: int, unwritable: str = "") -> Header:
    if len(size) != 3 or min(size) < 1 or channels < 1:
        raise ValueError(f"an image with voxels, got the size {tuple(size)}")
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"three spacings above 0, got {tuple(spacing)}")
    return Header(channels, (size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]), item, unwritable)
