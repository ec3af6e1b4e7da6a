"""Probabilities that nnU-Net's predictor saved, read a channel at a time from several files at once."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

__all__ = ["Files", "open_all"]

_MEMBER = "probabilities.npy"


class Files:
    """`probabilities` (C, X, Y, Z) of several .npz files of one shape."""

    def __init__(self, members: Sequence[IO[bytes]], dtypes: Sequence[np.dtype[Any]], shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._members = members
        self._dtypes = dtypes

    def sums(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the sum over the files, (X, Y, Z), of one channel after another: always the same array."""
        voxels = self.shape[1:]
        total = np.empty(voxels, np.float32)
        planes = {dtype: np.empty(voxels, dtype) for dtype in set(self._dtypes)}
        for _ in range(self.shape[0]):
            for number, (member, dtype) in enumerate(zip(self._members, self._dtypes, strict=True)):
                plane = total if number == 0 and dtype == np.float32 else planes[dtype]
                _fill(member, plane)
                if number > 0:
                    total += plane
                elif plane is not total:
                    total[...] = plane
            yield total
        for member in self._members:
            member.read(1)  # its checksum is compared at its end


@contextlib.contextmanager
def open_all(names: Sequence[Any]) -> Iterator[Files | None]:
    """Open them; None if they are not what nnU-Net's predictor writes, or not of one shape."""
    with contextlib.ExitStack() as stack:
        members, dtypes, shapes = [], [], set()
        for name in names:
            found = _open(stack, name)
            if found is None:
                break
            member, dtype, shape = found
            members.append(member)
            dtypes.append(dtype)
            shapes.add(shape)
        whole = len(members) == len(names) and len(shapes) == 1
        yield Files(members, dtypes, shapes.pop()) if whole else None


def _open(stack: contextlib.ExitStack, name: Any) -> tuple[IO[bytes], np.dtype[Any], tuple[int, ...]] | None:
    try:
        archive = stack.enter_context(zipfile.ZipFile(name))
        member = stack.enter_context(archive.open(_MEMBER))
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
        else:
            return None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None  # nnU-Net's own function says what is wrong
    if fortran or dtype not in (np.float32, np.float16) or not dtype.isnative or len(shape) != 4 or math.prod(shape) == 0:
        return None
    return member, dtype, tuple(int(size) for size in shape)


def _fill(member: IO[bytes], plane: npt.NDArray[Any]) -> None:
    """Read the bytes of an array. Raises EOFError where the member ends before."""
    target = plane.reshape(-1).view(np.uint8).data
    at = 0
    while at < len(target):
        # In pieces: what zipfile reads is copied into the array.
        read = member.read(min(1 << 18, len(target) - at))
        if not read:
            raise EOFError(f"expected {len(target)} bytes for each channel, got {at} for the last")
        target[at : at + len(read)] = read
        at += len(read)
