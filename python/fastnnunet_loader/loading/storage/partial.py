"""Files that have parts of their sources. Behind the bytes of the source, a byte for each piece is 1 where the piece is there.

A piece is on the disk before its byte is written, and nothing takes it back: whoever is killed in between leaves a piece that
is fetched again. The core reads the files, and describes them as `FileParts`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...operating_system import make_sparse
from .places import Stamp
from .ranges import Ranges

__all__ = ["REQUEST", "Partial"]

PIECE = 4096
"""Bytes of a piece, those of a block of most file systems: a disk has room for what is there, and for no more."""

REQUEST = 128 << 10
"""Bytes that take about as long as a request takes without them. Parts with fewer bytes between them are fetched together."""


@dataclass(frozen=True)
class Partial:
    """A file of the cache that has parts of its source, or all of it."""

    place: str
    stamp: Stamp
    """Of the source."""
    file: Path
    whole: bool = False
    """Whether it is a copy without a map of pieces."""

    @property
    def content(self) -> int:
        """A number that another content of the source would not have."""
        return int(self.stamp.digest, 16)

    @property
    def size(self) -> int:
        """Bytes of the file with its map, those included that are not there."""
        return self.stamp.size if self.whole else self._map + self._pieces

    @property
    def _pieces(self) -> int:
        return -(-self.stamp.size // PIECE)

    @property
    def _map(self) -> int:
        return self._pieces * PIECE

    def make(self) -> None:
        """Make the file, without any part; it appears at once."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_name(f".0.{self.file.name}.part")
        with part.open("wb") as target:
            make_sparse(target)
            target.truncate(self.size)
        part.replace(self.file)

    def missing(self, ranges: Ranges) -> list[tuple[int, int]]:
        """Return what has to be fetched so that ranges are there.

        Raises:
            FileNotFoundError: the file was removed.
        """
        noted, found = self._noted(), list[list[int]]()
        for begin, end in sorted(ranges):
            for piece in range(begin // PIECE, -(-end // PIECE)):
                if noted[piece] == 1 or (found and piece < found[-1][1]):
                    continue
                if found and piece - found[-1][1] <= REQUEST // PIECE:
                    found[-1][1] = piece + 1
                else:
                    found.append([piece, piece + 1])
        return [(first * PIECE, min(last * PIECE, self.stamp.size)) for first, last in found]

    def write(self, parts: Iterable[tuple[int, bytes]]) -> None:
        """Write parts that begin and end with a piece, at these bytes of the source.

        Raises:
            OSError: the disk is full, or the file was removed.
        """
        parts = list(parts)
        with self.file.open("r+b") as target:
            for begin, data in parts:
                target.seek(begin)
                target.write(data)
            target.flush()
            os.fsync(target.fileno())
            for begin, data in parts:
                target.seek(self._map + begin // PIECE)
                target.write(b"\1" * -(-len(data) // PIECE))

    def _noted(self) -> bytes:
        with self.file.open("rb") as source:
            source.seek(self._map)
            found = source.read(self._pieces)
        if len(found) != self._pieces:
            raise FileNotFoundError(self.file)
        return found
