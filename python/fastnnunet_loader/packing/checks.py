"""What is checked of a case: of all its headers before the first case is read, and of its voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PreprocessingError
from ..loading.reading.patience import Patience, may_pass
from ..prediction.images import Header
from ..threads import Executor
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
    slices: Mapping[str, tuple[str, ...]]
    """Of each file: those of a DICOM series, in order."""

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
        said_by: who says how many channels.
        patience: with files.
    """

    orientation: str | None
    needs_spacing: bool
    image_spacing: Sequence[float] | None
    series: str | None
    ignore_headers: bool
    channels: int | None
    said_by: str
    patience: Patience

    def check(self, cases: Sequence[PackCase], threads: int) -> tuple[list[Seen], list[PreprocessingError]]:
        """Return what the headers of the cases say, and an error for each of the others. Headers are read on threads."""
        good: list[Seen] = []
        errors = []
        pool = Executor(threads, "headers")
        try:
            # Reading waits for a disk or a server; comparing takes no time, and begins with the first case.
            for case, found in zip(cases, pool.map(self._headers, cases), strict=True):
                try:
                    if isinstance(found, PreprocessingError):
                        raise found
                    good.append(self._check(case, found, good[0] if good else None))
                except PreprocessingError as error:
                    errors.append(error)
        finally:
            pool.shutdown(cancel_futures=True)
        return good, errors

    def _headers(self, case: PackCase) -> dict[str, Look] | PreprocessingError:
        """What the headers of each file of a case say, or the error of one."""
        try:
            kinds = {"image": case.images, "label": (case.label,), "target": (case.target,)}
            return {file: self._look(case, file, what) for what, files in kinds.items() for file in files if file is not None}
        except PreprocessingError as error:
            if may_pass(error):  # do not wait again, for every file of the same server
                self.patience = replace(self.patience, seconds=0.0)
            return error

    def _check(self, case: PackCase, headers: dict[str, Look], first: Seen | None) -> Seen:
        looks = [headers[file] for file in case.images]
        grid = looks[0].grid
        for file, found in zip(case.images[1:], looks[1:], strict=True):
            self._same(case, file, found, case.images[0], grid)
        channels = sum(found.header.channels for found in looks)
        wanted = self.channels
        if wanted is None and first is not None:
            wanted = first.channels
        if wanted is not None and channels != wanted:
            source = self.said_by if self.channels is not None or first is None else f"case {first.case.name} has"
            raise bad(case.name, ", ".join(case.images), f"expected {wanted} channels, as {source}, got {channels}")
        itemsize, target_channels = max(found.header.itemsize for found in looks), 0
        if case.label is not None:
            found = headers[case.label]
            if found.header.channels != 1:
                raise bad(case.name, case.label, f"expected labels with 1 channel, got {found.header.channels}")
            self._same(case, case.label, found, case.images[0], grid)
            itemsize += found.header.itemsize
        if case.target is not None:
            found = headers[case.target]
            self._same(case, case.target, found, case.images[0], grid)
            target_channels = found.header.channels
            if first is not None and first.target_channels not in (0, target_channels):
                expected = f"expected {first.target_channels} channels of the target, as case {first.case.name} has"
                raise bad(case.name, case.target, f"{expected}, got {target_channels}")
        slices = {file: found.slices for file, found in headers.items()}
        return Seen(case, grid, self._turn(case, grid), channels, itemsize, target_channels, slices)

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


def voxels_of(case: PackCase, files: Sequence[str], what: str, seen: Seen, patience: Patience) -> Any:
    """Return the voxels of files, one for each channel or one with all, turned: (C, X, Y, Z) in C order.

    Raises:
        PreprocessingError: one of them cannot be read, or is not what its header said.
    """
    read: list[npt.NDArray[Any]] = []
    for file in files:
        try:
            voxels = patience.reading([file], partial(load, file, what, seen.slices[file]), were_there=True)
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
