"""What a row of the matrix is: a file that some library writes, and how a reader-writer class of nnU-Net meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ROWS", "Row", "picture", "row", "rows", "volume"]

SHAPE = (7, 9, 11)
"""(X, Y, Z) of volumes."""

Write = Callable[[Path], None]
"""Writes the case `case` into a folder: case_0000 with the row's ending, and case_0001 where there are two channels."""


@dataclass(frozen=True)
class Row:
    """One kind of file. The channels and the normalization are the data set's."""

    reader: str
    ending: str
    voxels: str
    kind: str
    write: Write = field(repr=False)
    channels: int = 1
    scheme: str = "ZScoreNormalization"
    short: bool = True
    """Whether it is among those that are tested each time."""
    refused: str = ""
    """Why this package refuses what nnU-Net predicts."""
    late: str = ""
    """Why what is wrong is found when the case is read, and not before the first case."""

    @property
    def flat(self) -> bool:
        """Whether it is a picture, for a network in 2D."""
        return self.reader == "NaturalImage2DIO" or self.kind.startswith(("2D", "9 x 11,"))

    @property
    def name(self) -> str:
        """To be chosen by."""
        return f"{self.reader} {self.ending} {self.voxels} {self.kind}"


ROWS: list[Row] = []


def row(reader: str, ending: str, voxels: str, kind: str, write: Write, **more: Any) -> None:
    """Add a row."""
    ROWS.append(Row(reader, ending, voxels, kind, write, **more))


def rows(words: list[str]) -> Iterator[Row]:
    """Those whose names have all of the words."""
    return (row for row in ROWS if all(word in row.name for word in words))


def volume(dtype: npt.DTypeLike, shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.generic]:
    """Voxels from 0 to 100, with structure and noise, that every dtype holds. The first plane is zero."""
    generator = np.random.default_rng(3)
    grid = np.indices(shape).sum(axis=0) % 7 * 10 + generator.integers(0, 30, shape)
    grid[:1] = 0 if shape[0] > 1 else grid[:1]
    return (grid % 2 if np.dtype(dtype) == bool else grid).astype(dtype)


def picture(dtype: npt.DTypeLike, *more: int) -> npt.NDArray[np.generic]:
    """A picture (Y, X, ...)."""
    return volume(dtype, (18, 20, *more))
