"""Whether an image file is truncated, as far as that can be told without decompressing it."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Lack", "missing_voxels"]

TEXT = 2**20
"""Bytes at the beginning of a file within which a text header ends."""

BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")


@dataclass(frozen=True)
class Lack:
    """What a file lacks."""

    expected: str
    """ "1000 bytes of voxels, got 500"."""
    certain: bool
    """Whether voxels are certainly missing; if not, the library that reads the file decides."""


def missing_voxels(file: str) -> Lack | None:
    """Return what is missing at the end of a file; None if it is complete, or of a kind that is not checked.

    If the file may look truncated for another reason, such as bytes that some writer appends, the Lack is not certain.
    Never raises.
    """
    name = file.lower()
    looks: Callable[[Path], Lack | None] | None = next((look for ending, look in _LOOKS if name.endswith(ending)), None)
    if looks is None:
        return None
    try:
        return looks(Path(file))
    except Exception:  # a header that only the library that reads it understands
        return None


def _lack(expected: int, found: int, certain: bool = False) -> Lack | None:
    return None if found >= expected else Lack(f"{expected} bytes of voxels, got {max(0, found)}", certain)


def _nifti(path: Path) -> Lack | None:
    """Check a NIfTI file, compressed or not. ITK replaces missing voxels by arbitrary values without an error.

    A compressed file ends with the size of its content. Only if that does not fit, the file is decompressed in small pieces:
    a complete file may consist of several parts.
    """
    import nibabel

    with path.open("rb") as stream:
        begin = stream.read(2**16)
    compressed = begin[:2] == b"\x1f\x8b"
    if compressed and not path.name.lower().endswith(".gz"):
        return None
    if compressed:  # ITK reads others as they are, also with an ending of .gz
        begin = zlib.decompressobj(wbits=31).decompress(begin, 1024)
    kind: Any = (
        nibabel.Nifti2Header if 540 in (int.from_bytes(begin[:4], order) for order in BYTE_ORDERS) else nibabel.Nifti1Header
    )
    header = kind(begin[: kind.template_dtype.itemsize], check=False)
    offset = int(header.get_data_offset())
    # The type in the file, not the one after scaling with a slope.
    expected = math.prod(int(n) for n in header.get_data_shape()) * int(header.get_data_dtype().itemsize)
    size = path.stat().st_size
    if not compressed:
        return _lack(expected, size - offset, certain=True)
    with path.open("rb") as stream:
        stream.seek(max(0, size - 4))
        at_end = int.from_bytes(stream.read(4), "little")
    if (at_end - offset - expected) % 2**32 <= 2**20:
        return None
    found, whole, error = _inflated(path)
    if error:  # damage behind the voxels does not matter
        return None if found - offset >= expected else Lack(f"compressed voxels, got {error}", certain=True)
    if not whole:
        return Lack(f"{expected} bytes of voxels, got an end after {max(0, found - offset)}", certain=True)
    return _lack(expected, found - offset, certain=True)


def _inflated(path: Path) -> tuple[int, bool, str]:
    """Return the decompressed size of a gzip file in bytes, whether its last part is complete, and an error text or ""."""
    found, whole = 0, False
    inflate = zlib.decompressobj(wbits=31)
    with path.open("rb") as stream:
        while data := stream.read(2**20):
            while data:
                try:
                    found += len(inflate.decompress(data))
                except zlib.error as error:
                    return found, False, str(error)
                data, whole = inflate.unused_data, inflate.eof
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=31)
                    data = data.lstrip(b"\0")  # some writers pad the end
    return found, whole, ""


def _nrrd(path: Path) -> Lack | None:
    with path.open("rb") as stream:
        head, blank, _ = stream.read(TEXT).partition(b"\n\n")
    fields = {}
    for line in head.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon and not value.startswith("="):
            fields[key.strip().lower().replace(" ", "")] = value.strip()
    detached = fields.get("datafile")
    if detached is None and not blank:
        return None
    if detached is not None and (detached.upper().startswith("LIST") or len(detached.split()) > 1):
        return None  # a file for each slice
    file = path if detached is None else path.parent / detached
    if not file.is_file():
        return Lack(f"the voxels in {file}, got no such file", certain=False)
    start = len(head) + len(blank) if detached is None else 0
    expected = math.prod(int(n) for n in fields["sizes"].split()) * _bytes_of(fields["type"])
    size, encoding = file.stat().st_size, fields.get("encoding", "").lower()
    if encoding == "raw":
        return _lack(expected, size - start)
    if encoding in ("gzip", "gz"):
        with file.open("rb") as stream:
            stream.seek(max(0, size - 4))
            at_end = int.from_bytes(stream.read(4), "little")
        if at_end != expected % 2**32:
            return Lack(f"{expected} bytes of compressed voxels, got an end that says {at_end}", certain=False)
    return None


def _bytes_of(kind: str) -> int:
    """Return the bytes of a value of one of NRRD's types."""
    words = kind.lower().replace("_t", "").split()
    names = {"char": 1, "short": 2, "int": 4, "long": 8, "float": 4, "double": 8}
    if (bits := re.fullmatch(r"u?int(8|16|32|64)", words[-1])) is not None:
        return int(bits[1]) // 8
    size = next((word for word in words if word in ("char", "short", "long")), words[-1])  # of "long long int"
    return names.get(size, 4 if size in ("signed", "unsigned") else 1)


def _meta_image(path: Path) -> Lack | None:
    with path.open("rb") as stream:
        begin = stream.read(TEXT)
    match = re.search(rb"^ElementDataFile *= *(.*?)\r?\n", begin, re.MULTILINE)
    if match is None:
        return None
    lines = begin[: match.start()].decode("utf-8", "replace").splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    named = match[1].decode("utf-8", "replace").strip()
    local = named.upper() == "LOCAL"
    if not local and (named.upper().startswith("LIST") or "%" in named):
        return None  # a file for each slice
    file = path if local else path.parent / named
    if not file.is_file():
        return Lack(f"the voxels in {file}, got no such file", certain=False)
    found = file.stat().st_size - (match.end() if local else 0)
    if fields.get("CompressedData", "").lower() == "true":
        return _lack(int(fields["CompressedDataSize"]), found)
    sizes = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "DOUBLE": 8}
    kind = fields["ElementType"].upper().removeprefix("MET_").removesuffix("_ARRAY")
    item = 8 if "LONG" in kind else sizes[kind.removeprefix("U")]
    values = int(fields.get("ElementNumberOfChannels", "1"))
    return _lack(math.prod(int(n) for n in fields["DimSize"].split()) * item * values, found)


GIPL_HEADER = 256
GIPL_BYTES = {1: 1 / 8, 7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}


def _gipl(path: Path) -> Lack | None:
    """Check a GIPL file, for which ITK also replaces missing voxels by arbitrary values."""
    with path.open("rb") as stream:
        begin = stream.read(10)
    sizes = [max(1, int.from_bytes(begin[at : at + 2], "big")) for at in range(0, 8, 2)]
    expected = int(math.prod(sizes) * GIPL_BYTES[int.from_bytes(begin[8:10], "big")])
    return _lack(expected, path.stat().st_size - GIPL_HEADER, certain=True)


def _png(path: Path) -> Lack | None:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 12))
        return None if stream.read()[4:8] == b"IEND" else Lack("a PNG to its end, got one that is cut off", certain=False)


def _bmp(path: Path) -> Lack | None:
    with path.open("rb") as stream:
        begin = stream.read(6)
    expected, found = int.from_bytes(begin[2:6], "little"), path.stat().st_size
    return None if found >= expected else Lack(f"a file of {expected} bytes, got {found}", certain=False)


def _tiff(path: Path) -> Lack | None:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        if series.is_multifile:
            return None
        if series.dataoffset is not None:
            end = int(series.dataoffset) + int(series.nbytes)
        else:
            pages = [page for page in series.pages if page is not None]
            parts = [part for page in pages for part in zip(page.dataoffsets, page.databytecounts, strict=False)]
            end = max((int(offset) + int(count) for offset, count in parts), default=0)
    found = path.stat().st_size
    return None if found >= end else Lack(f"a file of {end} bytes, got {found}", certain=False)


_LOOKS: tuple[tuple[str, Callable[[Path], Lack | None]], ...] = (
    (".nii", _nifti),
    (".nii.gz", _nifti),
    (".nrrd", _nrrd),
    (".nhdr", _nrrd),
    (".mha", _meta_image),
    (".mhd", _meta_image),
    (".gipl", _gipl),
    (".png", _png),
    (".bmp", _bmp),
    (".tif", _tiff),
    (".tiff", _tiff),
)
