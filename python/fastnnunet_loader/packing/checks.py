"""What is checked of a case: of all its headers before the first case is read, and of its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PreprocessingError
from ..loading.reading.patience import Patience, may_pass
from ..prediction.images import Header
from .cases import PackCase, bad
from .formats import Look, load, look
from .grids import Grid, Turn, difference, turn_to

__all__ = ["Checks", "Seen", "check_numbers", "labels_of", "voxels_of"]

LARGEST_LABEL = 32767


@dataclass(frozen=True)
class Seen:
    """What the headers of a case say."""

    case: PackCase
    grid: Grid
    """Of its first image."""
    turn: Turn
    channels: int
    itemsize: int
    """Bytes of a voxel, of the images and their label together."""
    target_channels: int

    @property
    def header(self) -> Header:
        """Of the image as it is turned."""
        grid = self.turn.of_grid(self.grid)
        return Header(self.channels, grid.shape, grid.spacing, self.itemsize)


@dataclass
class Checks:
    """Reads headers.

    Args:
        orientation: that images are to have, such as RAS, or None.
        needs_spacing: whether images are resized.
        image_spacing: in mm in the order of the file's axes, of files that do not tell theirs.
        series: of DICOM.
        ignore_headers: whether images, labels and targets may lie on different grids of the same size.
        channels: that each case must have; None for those of the first.
        patience: with files.
    """

    orientation: str | None
    needs_spacing: bool
    image_spacing: Sequence[float] | None
    series: str | None
    ignore_headers: bool
    channels: int | None
    patience: Patience

    def check(self, cases: Sequence[PackCase]) -> tuple[list[Seen], list[PreprocessingError]]:
        """Return what the headers of the cases say, and an error for each of the others."""
        good: list[Seen] = []
        errors = []
        for case in cases:
            try:
                good.append(self._check(case, good[0] if good else None))
            except PreprocessingError as error:
                errors.append(error)
                if may_pass(error):  # do not wait again, for every file of the same server
                    self.patience = replace(self.patience, seconds=0.0)
        return good, errors

    def _check(self, case: PackCase, first: Seen | None) -> Seen:
        looks = [self._look(case, file, "image") for file in case.images]
        grid = looks[0].grid
        for file, found in zip(case.images[1:], looks[1:], strict=True):
            self._same(case, file, found, case.images[0], grid)
        channels = sum(found.header.channels for found in looks)
        wanted = self.channels
        if wanted is None and first is not None:
            wanted = first.channels
        if wanted is not None and channels != wanted:
            source = "the plans have" if self.channels is not None or first is None else f"case {first.case.name} has"
            raise bad(case.name, ", ".join(case.images), f"expected {wanted} channels, as {source}, got {channels}")
        itemsize, target_channels = max(found.header.itemsize for found in looks), 0
        if case.label is not None:
            found = self._look(case, case.label, "label")
            if found.header.channels != 1:
                raise bad(case.name, case.label, f"expected labels with 1 channel, got {found.header.channels}")
            self._same(case, case.label, found, case.images[0], grid)
            itemsize += found.header.itemsize
        if case.target is not None:
            found = self._look(case, case.target, "target")
            self._same(case, case.target, found, case.images[0], grid)
            target_channels = found.header.channels
        return Seen(case, grid, self._turn(case, grid), channels, itemsize, target_channels)

    def _turn(self, case: PackCase, grid: Grid) -> Turn:
        if not grid.told and self.needs_spacing and self.image_spacing is None:
            reason = "expected a file that tells the spacing of its voxels, got one that does not; give it with --image-spacing"
            raise bad(case.name, case.images[0], reason)
        if self.orientation is None:
            return Turn()
        if not grid.told or grid.flat:
            raise bad(case.name, case.images[0], "expected a 3D image with an orientation, got one without")
        try:
            return turn_to(grid, self.orientation)
        except Exception as error:
            raise bad(case.name, case.images[0], f"expected an image with an orientation, got {error}") from error

    def _same(self, case: PackCase, file: str, found: Look, other: str, grid: Grid) -> None:
        differs = difference(found.grid, replace(grid, direction=(), origin=()) if self.ignore_headers else grid)
        if differs is not None:
            raise bad(case.name, file, f"expected {differs[0]} of {Path(other).name}, got {differs[1]}")

    def _look(self, case: PackCase, file: str, what: str) -> Look:
        try:
            return self.patience.reading([file], lambda: look(file, what, self.series, self.image_spacing))
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            if type(error) is ValueError and said.startswith("expected"):
                reason = said
            else:
                reason = f"expected an image that can be read, got {type(error).__name__}: {said}"
            raise bad(case.name, file, reason) from error


def voxels_of(case: PackCase, files: Sequence[str], what: str, seen: Seen, series: str | None, patience: Patience) -> Any:
    """Return the voxels of files, one for each channel or one with all, turned: (C, X, Y, Z) in C order.

    Raises:
        PreprocessingError: one of them cannot be read, or is not what its header said.
    """
    read: list[npt.NDArray[Any]] = []
    for file in files:
        try:
            voxels = patience.reading([file], partial(load, file, what, series), were_there=True)
        except Exception as error:
            said = " ".join(str(error).split())[:300] or "no reason"
            reason = f"expected an image that can be read, got {type(error).__name__}: {said}"
            raise PreprocessingError(case=case.name, stage="read", file=file, reason=reason) from error
        if voxels.shape[1:] != seen.grid.shape:
            reason = f"expected the size {seen.grid.shape}, as its header said, got {voxels.shape[1:]}"
            raise PreprocessingError(case=case.name, stage="read", file=file, reason=reason)
        read.append(voxels)
    joined = read[0] if len(read) == 1 else np.concatenate(read)
    read.clear()
    return seen.turn.of_array(joined)


def check_numbers(case: PackCase, files: Sequence[str], voxels: npt.NDArray[np.float32]) -> None:
    """Raise PreprocessingError if an image (C, X, Y, Z) has voxels that are NaN or infinite."""
    for channel, volume in enumerate(voxels):
        # One number tells: a sum in float64 cannot overflow, NaN and infinity stay in it.
        if np.isfinite(volume.sum(dtype=np.float64)):
            continue
        odd = int(volume.size - np.count_nonzero(np.isfinite(volume)))
        file = files[channel] if len(files) == len(voxels) else ", ".join(files)
        reason = f"expected numbers that float32 holds, got {odd} of {volume.size} voxels of channel {channel} NaN or infinite"
        raise PreprocessingError(case=case.name, stage="read", file=file, reason=reason)


def labels_of(case: PackCase, file: str, voxels: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """Return labels (1, X, Y, Z) in int16.

    Raises:
        PreprocessingError: they are not whole numbers from 0 to 32767.
    """
    lowest, highest = voxels.min(), voxels.max()
    with np.errstate(invalid="ignore"):
        labels = voxels.astype(np.int16)
    same = voxels.dtype.kind in "biu" or np.array_equal(labels, voxels)  # NaN differs from itself
    if lowest >= 0 and highest <= LARGEST_LABEL and same:
        return labels
    odd = voxels[(labels != voxels) | ~(voxels >= 0) | ~(voxels <= LARGEST_LABEL)]
    reason = f"expected whole numbers from 0 to {LARGEST_LABEL} as labels, got {odd[0]:g} and others in {odd.size} voxels"
    raise PreprocessingError(case=case.name, stage="read", file=file, reason=reason)
