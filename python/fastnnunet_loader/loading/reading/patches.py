"""A part of a case as nnU-Net crops it, before any transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ... import _core

__all__ = ["Patch", "read_patch"]


@dataclass(frozen=True)
class Patch:
    """A part of a case, before any transform."""

    case: str
    forced_foreground: bool
    window: tuple[tuple[int, int], ...]  # (lower, upper) on each axis of the case; it may reach beyond the image
    image: npt.NDArray[np.float32]  # (C, X, Y, Z) or (C, Y, Z)
    segmentation: npt.NDArray[np.int16]
    """(C', X, Y, Z) or (C', Y, Z); a cascade's previous stage is the last channel. Images without labels have C' = 0."""
    target: npt.NDArray[np.float32] | None = None  # regression target (C", X, Y, Z) or (C", Y, Z)


def read_patch(case: _core.CaseFiles, forced: bool, lower: Sequence[int], upper: Sequence[int], dims: int) -> Patch:
    """Read the patch from `lower` to `upper`, one number for each axis of the case.

    Raises:
        StorageError: a file of the case cannot be read.
    """
    image = _core.open_volume(case.image, "data").read_image(lower, upper)
    if case.segmentation == Path():
        segmentation = np.empty((0, *image.shape[1:]), np.int16)
    else:
        segmentation = _core.open_volume(case.segmentation, "seg").read_segmentation(lower, upper)
    if case.previous != Path():
        previous = _core.open_volume(case.previous, "seg").read_segmentation(lower, upper)
        segmentation = np.concatenate([segmentation, previous])
    target = None
    if case.regression != Path():
        target = _core.open_volume(case.regression, "target").read_image(lower, upper)
    if dims == 2:
        image, segmentation, target = image[:, 0], segmentation[:, 0], None if target is None else target[:, 0]
    return Patch(case.name, forced, tuple(zip(lower, upper, strict=True)), image, segmentation, target)
