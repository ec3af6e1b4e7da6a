"""What the files of a case say of themselves, without reading their voxels."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Header", "read_header", "truncation"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Header:
    """Of one file. Shape and spacing are in the order of the arrays that nnU-Net's reader returns."""

    channels: int
    shape: Shape
    spacing: tuple[float, float, float]
    itemsize: int
    """Bytes of a voxel as the reader keeps it while it reads."""
    data_bytes: int
    """Of all voxels in the file, before compression."""

    @property
    def voxels(self) -> int:
        """Of one channel."""
        return math.prod(self.shape)


def read_header(reader: type, file: str) -> Header | None:
    """Read a file's header as nnU-Net's reader-writer class would; None where that class is not known here.

    Raises whatever the library that reads such files raises, and ValueError for images that nnU-Net does not take.
    """
    read = _READERS.get(reader.__name__) if reader.__module__.startswith("nnunetv2.imageio.") else None
    return None if read is None else read(file)


def _simple_itk(file: str) -> Header:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    size = [int(n) for n in reader.GetSize()[::-1]]
    spacing = [abs(float(s)) for s in reader.GetSpacing()[::-1]]
    if (components := reader.GetNumberOfComponents()) != 1:
        raise ValueError(f"one value for each voxel, got {components}")
    channels = 1
    if len(size) == 2:
        size, spacing = [1, *size], [999 * max(spacing), *spacing]
    elif len(size) == 4:
        channels, size, spacing = size[0], size[1:], spacing[1:]
    elif len(size) != 3:
        raise ValueError(f"an image of 2, 3 or 4 dimensions, got {len(size)}")
    item = sitk.Image([1] * 2, reader.GetPixelID()).GetSizeOfPixelComponent()
    return _header(channels, size, spacing, item, item)


def _nibabel(file: str, reorient: bool = False) -> Header:
    import nibabel

    image: Any = nibabel.load(file)
    if image.ndim != 3:
        raise ValueError(f"an image of 3 dimensions, got {image.ndim}")
    axes = [0, 1, 2]
    if reorient:
        turned = [int(axis) for axis in nibabel.orientations.io_orientation(image.affine)[:, 0]]
        axes = [turned.index(axis) for axis in range(3)]
    zooms = image.header.get_zooms()
    size, spacing = [int(image.shape[axis]) for axis in axes], [float(zooms[axis]) for axis in axes]
    # Voxels are read as float64, whatever they are in the file.
    return _header(1, size[::-1], spacing[::-1], 8, image.get_data_dtype().itemsize)


def _picture(file: str) -> Header:
    from PIL import Image

    with Image.open(file) as picture:
        width, height = picture.size
        bands = len(picture.getbands())
        if picture.mode == "P":  # a palette, which the reader resolves
            bands = 4 if "transparency" in picture.info else 3
    channels = bands if bands in (3, 4) else 1
    return _header(channels, [1, height, width], [999.0, 1.0, 1.0], 2, 2)


def _tiff(file: str) -> Header:
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        size, item = [int(n) for n in series.shape], int(series.dtype.itemsize)
    if len(size) != 3:
        raise ValueError(f"an image of 3 dimensions, got {len(size)}")
    spacing = [1.0, 1.0, 1.0]
    beside = Path(file[: -len(Path(file).suffix) - len("_0000")] + ".json")
    if beside.is_file():
        import json

        spacing = [float(s) for s in json.loads(beside.read_text(encoding="utf-8"))["spacing"]]
    return _header(1, size, spacing, item, item)


_READERS: dict[str, Callable[[str], Header]] = {
    "SimpleITKIO": _simple_itk,
    "NibabelIO": _nibabel,
    "NibabelIOWithReorient": lambda file: _nibabel(file, reorient=True),
    "NaturalImage2DIO": _picture,
    "Tiff3DIO": _tiff,
}


def _header(channels: int, size: list[int], spacing: list[float], item: int, item_in_file: int) -> Header:
    if min(size) < 1 or channels < 1:
        raise ValueError(f"an image with voxels, got the size {tuple(size)}")
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"a spacing above 0, got {tuple(spacing)}")
    shape, of_voxels = (size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2])
    return Header(channels, shape, of_voxels, item, channels * math.prod(size) * item_in_file)


def truncation(file: str, header: Header) -> str | None:
    """Say what is missing at the end of a NIfTI file, or None where it is whole or of another kind.

    A compressed file ends with the size of its content. Only where that does not fit is the file decompressed, in small
    pieces: files of several parts are whole all the same.
    """
    path = Path(file)
    size = path.stat().st_size
    if file.endswith(".nii"):
        return None if size >= header.data_bytes else f"{header.data_bytes} bytes of voxels, got {size}"
    if not file.endswith(".nii.gz"):
        return None
    with path.open("rb") as stream:
        stream.seek(max(0, size - 4))
        at_end = int.from_bytes(stream.read(4), "little")
        # Before the voxels come 348 bytes of header (540 in NIfTI-2), four or more of extensions.
        if 0 < (at_end - header.data_bytes) % 2**32 <= 2**20:
            return None
        stream.seek(0)
        found, whole = 0, False
        inflate = zlib.decompressobj(wbits=31)
        while data := stream.read(2**20):
            while data:
                try:
                    found += len(inflate.decompress(data))
                except zlib.error as error:
                    return f"compressed voxels, got {error}"
                data, whole = inflate.unused_data, inflate.eof
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=31)
                    data = data.lstrip(b"\0")  # some writers pad the end
    if not whole or found < header.data_bytes:
        return f"{header.data_bytes} bytes of voxels, got an end after {found}"
    return None
