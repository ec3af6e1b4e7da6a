"""Where the voxels of an image lie in the patient, and how an array is turned into another orientation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Grid", "Turn", "difference", "turn_to"]

APART = 0.1
"""Of the smallest spacing. Corners of two images that are farther apart than this lie on different grids."""


@dataclass(frozen=True)
class Grid:
    """The voxels of a file. Axes are in the order of arrays, (X, Y, Z): the last one is the file's first.

    Origin and direction are SimpleITK's: mm towards left, posterior and superior, axes in the order of the file.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    """In mm. Of a 2D image, the first one is nnU-Net's: 999 times the larger of the two."""
    origin: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()
    """Row by row. Empty, as is the origin, if the file does not tell: NumPy's files, and pictures."""

    @property
    def told(self) -> bool:
        """Whether the file tells where its voxels lie."""
        return bool(self.direction)

    @property
    def flat(self) -> bool:
        """Whether it is a 2D image."""
        return self.shape[0] == 1 and len(self.direction) != 9

    @property
    def code(self) -> str:
        """The orientation, such as RAS: where the file's axes point to."""
        import nibabel

        return "".join(nibabel.aff2axcodes(self._affine()))[::-1]

    def columns(self) -> npt.NDArray[np.float64]:
        """Where a step of one voxel along each axis of the array leads to, (3, 3), a column for each axis; mm, LPS."""
        matrix = np.array(self.direction, float).reshape(3, 3)[:, ::-1]
        return np.asarray(matrix * np.array(self.spacing))

    def corners(self) -> npt.NDArray[np.float64]:
        """The centres of the voxels at the eight corners, (8, 3), in mm."""
        at = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (np.array(self.shape) - 1)
        return np.asarray(np.array(self.origin) + at @ self.columns().T)

    def _affine(self) -> npt.NDArray[np.float64]:
        """From voxels of the array to mm towards right, anterior and superior, as nibabel has it."""
        affine = np.eye(4)
        affine[:3, :3] = np.diag((-1, -1, 1)) @ self.columns()
        return affine


@dataclass(frozen=True)
class Turn:
    """Another order of axes, and axes that are reversed, as an array (C, X, Y, Z) is read."""

    axes: tuple[int, ...] = (0, 1, 2)
    """For each axis of the result, that of the array."""
    reversed: tuple[int, ...] = ()
    """Axes of the array."""

    def of_array(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array (C, X, Y, Z) in the other orientation, in C order."""
        for axis in self.reversed:
            array = np.flip(array, axis + 1)
        return np.ascontiguousarray(array.transpose(0, *(axis + 1 for axis in self.axes)))

    def of_grid(self, grid: Grid) -> Grid:
        """Return where the turned voxels lie."""
        if self == Turn():
            return grid
        columns, origin = grid.columns(), np.array(grid.origin)
        for axis in self.reversed:
            origin = origin + (grid.shape[axis] - 1) * columns[:, axis]
            columns[:, axis] *= -1
        columns = columns[:, self.axes]
        spacing = [grid.spacing[axis] for axis in self.axes]
        x, y, z = (grid.shape[axis] for axis in self.axes)
        direction = (columns / np.array(spacing))[:, ::-1]
        return replace(
            grid,
            shape=(x, y, z),
            spacing=(spacing[0], spacing[1], spacing[2]),
            origin=tuple(origin.tolist()),
            direction=tuple(direction.ravel().tolist()),
        )


def turn_to(grid: Grid, orientation: str | None) -> Turn:
    """Return what turns an image so that the file's axes point to, for example, right, anterior and superior (RAS)."""
    if orientation is None:
        return Turn()
    from nibabel import orientations

    wanted = orientations.axcodes2ornt(tuple(reversed(orientation)))
    # For each axis of the array: the axis that it becomes, and -1 if it is reversed.
    moves = orientations.ornt_transform(orientations.io_orientation(grid._affine()), wanted)
    return Turn(
        tuple(int(axis) for axis in np.argsort(moves[:, 0])),
        tuple(axis for axis, (_, sign) in enumerate(moves) if sign < 0),
    )


def difference(found: Grid, expected: Grid) -> tuple[str, str] | None:
    """Return what was expected of an image that lies where another one does, and what it has; None if it does."""
    if found.shape != expected.shape:
        return f"the size {expected.shape}", str(found.shape)
    if not (found.told and expected.told) or len(found.direction) != len(expected.direction):
        return None
    if found.flat or len(found.direction) != 9:
        spacing = found.spacing[1:], expected.spacing[1:]
        if all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(*spacing, strict=True)):
            return None
        return f"the spacing {_numbers(spacing[1])} mm", _numbers(spacing[0])
    apart = float(np.abs(found.corners() - expected.corners()).max())
    if apart <= APART * min(expected.spacing):
        return None
    # In the order of the header, as other programs show it.
    if any(not math.isclose(a, b, rel_tol=1e-3) for a, b in zip(found.spacing, expected.spacing, strict=True)):
        return f"the spacing {_numbers(expected.spacing[::-1])} mm", _numbers(found.spacing[::-1])
    if not np.allclose(found.direction, expected.direction, atol=1e-3):
        if found.code != expected.code:
            return f"the orientation {expected.code}", found.code
        return f"the direction {_numbers(expected.direction)}", _numbers(found.direction)
    return f"the origin {_numbers(expected.origin)} mm", _numbers(found.origin)


def _numbers(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.6g}' for value in values)})"
