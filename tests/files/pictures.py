"""Rows of pictures, 2D: PNG and BMP by Pillow and imageio, TIFF by tifffile and Pillow."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from .row import picture, row
from .volumes import empty, half, last_byte_missing, longer, spoiled, text

READER = "NaturalImage2DIO"


def pillow(mode: str, ending: str = ".png", **options: Any) -> Callable[[Path], None]:
    """Return what writes a picture of a mode by Pillow."""

    def write(folder: Path) -> None:
        gray = Image.fromarray(np.asarray(picture(np.uint8)))
        if mode == "I;16":
            image = Image.fromarray(np.asarray(picture(np.uint16)))
        elif mode == "P":
            colors = Image.merge("RGB", [gray, gray.rotate(90, expand=False), gray.rotate(180)])
            image = colors.quantize(16)
        elif mode in ("1", "L", "I", "F"):
            image = gray.convert(mode)
        else:
            image = gray.convert("RGBA").convert(mode)
        image.save(folder / f"case_0000{ending}", **options)

    return write


def by_imageio(voxels: npt.NDArray[Any], ending: str = ".png") -> Callable[[Path], None]:
    """Return what writes one by imageio."""

    def write(folder: Path) -> None:
        imageio.v3.imwrite(folder / f"case_0000{ending}", voxels)

    return write


def png16(channels: int) -> Callable[[Path], None]:
    """Return what writes a PNG of 16 bits for each channel, which neither Pillow nor imageio can."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    def write(folder: Path) -> None:
        voxels = picture(">u2", channels) * np.array(300, ">u2")
        rows = b"".join(b"\0" + line.astype(">u2").tobytes() for line in voxels)
        head = struct.pack(">IIBBBBB", voxels.shape[1], voxels.shape[0], 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
        content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (folder / "case_0000.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)

    return write


def huge(ending: str) -> Callable[[Path], None]:
    """Return what writes a picture of 196 megapixels, most of it empty."""

    def write(folder: Path) -> None:
        voxels = np.zeros((14000, 14000), np.uint8)
        voxels[1000:1030, 2000:2040] = picture(np.uint8)[:1, :1] + 90
        if ending == ".tif":
            tifffile.imwrite(folder / "case_0000.tif", voxels, compression="zlib")
        else:
            Image.fromarray(voxels).save(folder / f"case_0000{ending}")

    return write


def tiff(voxels: npt.NDArray[Any], **options: Any) -> Callable[[Path], None]:
    """Return what writes one by tifffile."""

    def write(folder: Path) -> None:
        tifffile.imwrite(folder / "case_0000.tif", voxels, **options)

    return write


def palette_tiff(folder: Path) -> None:
    colors = np.random.default_rng(1).integers(0, 2**16, (3, 256)).astype(np.uint16)
    tifffile.imwrite(folder / "case_0000.tif", picture(np.uint8), photometric="palette", colormap=colors)


for _mode, _channels in (("1", 1), ("L", 1), ("LA", 1), ("P", 1), ("RGB", 3), ("RGBA", 4), ("I;16", 1)):
    for _given in sorted({_channels, 1, 3, 4} if _mode in ("LA", "P") else {_channels, 1}):
        row(READER, ".png", _mode, f"by Pillow, {_given} channels", pillow(_mode), channels=_given)
row(READER, ".png", "P", "transparent, 4 channels", pillow("P", transparency=0), channels=4)
row(READER, ".png", "P", "transparent, 3 channels", pillow("P", transparency=0), channels=3)
row(READER, ".png", "RGB", "transparent, 3 channels", pillow("RGB", transparency=(1, 2, 3)), channels=3)
row(READER, ".png", "RGB", "transparent, 4 channels", pillow("RGB", transparency=(1, 2, 3)), channels=4)
row(READER, ".png", "L", "transparent", pillow("L", transparency=3))
for _bits in (1, 2, 4):
    row(READER, ".png", "P", f"{_bits} bits, 3 channels", pillow("P", bits=_bits), channels=3)
row(READER, ".png", "uint8", "by imageio", by_imageio(picture(np.uint8)))
row(READER, ".png", "uint16", "by imageio", by_imageio(picture(np.uint16)))
row(READER, ".png", "uint8", "RGB by imageio", by_imageio(picture(np.uint8, 3)), channels=3)
row(READER, ".png", "uint16", "RGB", png16(3), channels=3)
row(READER, ".png", "uint16", "RGBA", png16(4), channels=4)
row(READER, ".png", "uint16", "LA, 1 channel", png16(2))
row(READER, ".png", "uint16", "LA, 4 channels", png16(2), channels=4)
row(
    READER,
    ".png",
    "uint8",
    "animated, 3 channels",
    lambda folder: Image.fromarray(picture(np.uint8, 3)).save(
        folder / "case_0000.png", save_all=True, append_images=[Image.fromarray(picture(np.uint8, 3)[::-1])]
    ),
    channels=3,
)
for _kind, _spoil in (
    ("half of it", half),
    ("a byte missing", last_byte_missing),
    ("longer", longer),
    ("empty", empty),
    ("text", text),
):
    row(READER, ".png", "uint8", _kind, spoiled(pillow("L"), _spoil))
    row(READER, ".png", "uint8", f"RGB, {_kind}", spoiled(pillow("RGB"), _spoil), channels=3)
    row(READER, ".bmp", "uint8", _kind, spoiled(pillow("L", ".bmp"), _spoil))
    row(READER, ".tif", "uint16", _kind, spoiled(tiff(picture(np.uint16)), _spoil))
    row(READER, ".tif", "uint16", f"deflate, {_kind}", spoiled(tiff(picture(np.uint16), compression="zlib"), _spoil))
for _mode, _channels in (("1", 1), ("L", 1), ("P", 3), ("RGB", 3)):
    row(READER, ".bmp", _mode, f"by Pillow, {_channels} channels", pillow(_mode, ".bmp"), channels=_channels)
for _mode, _channels in (
    ("1", 1),
    ("L", 1),
    ("LA", 1),
    ("P", 1),
    ("P", 3),
    ("RGB", 3),
    ("RGBA", 4),
    ("CMYK", 4),
    ("I;16", 1),
    ("I", 1),
    ("F", 1),
):
    row(READER, ".tif", _mode, f"by Pillow, {_channels} channels", pillow(_mode, ".tif"), channels=_channels)
for _dtype in (
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
):
    row(READER, ".tif", _dtype, "gray", tiff(picture(_dtype)))
    if _dtype not in ("bool", "complex64"):
        row(READER, ".tif", _dtype, "RGB", tiff(picture(_dtype, 3), photometric="rgb"), channels=3)
        row(READER, ".tif", _dtype, "4 channels", tiff(picture(_dtype, 4), photometric="minisblack"), channels=4)
for _count in (3, 4):
    _planes = np.moveaxis(picture(np.float32, _count), -1, 0)
    row(
        READER,
        ".tif",
        "float32",
        f"{_count} planes",
        tiff(_planes, photometric="rgb", planarconfig="separate"),
        channels=_count,
    )
    row(READER, ".tif", "float32", f"{_count} pages", tiff(_planes, photometric="minisblack"), channels=_count)
row(READER, ".tif", "float32", "2 channels", tiff(picture(np.float32, 2), photometric="minisblack"), channels=2)
row(READER, ".tif", "float32", "5 channels", tiff(picture(np.float32, 5), photometric="minisblack"), channels=5)
row(READER, ".tif", "uint8", "4D", tiff(picture(np.uint8, 5, 3), photometric="rgb"), channels=3)
row(READER, ".tif", "uint8", "palette", palette_tiff)
row(READER, ".tif", "uint8", "palette, 3 channels", palette_tiff, channels=3)
row(READER, ".tif", "uint16", "BigTIFF", tiff(picture(np.uint16), bigtiff=True))
row(READER, ".tif", "uint16", "LZW", tiff(picture(np.uint16), compression="lzw"))
row(READER, ".tif", "uint16", "JPEG 2000", tiff(picture(np.uint16), compression="jpeg2000"))
row(READER, ".tif", "float32", "NaN", tiff(np.where(picture(np.float32) == 20, np.nan, picture(np.float32)).astype(np.float32)))
for _ending in (".png", ".tif", ".bmp"):
    row(READER, _ending, "uint8", "196 megapixels", huge(_ending), short=False)
