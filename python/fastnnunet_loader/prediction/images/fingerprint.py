"""Warnings about images that differ much from the training images, by nnU-Net's dataset_fingerprint.json and the plans."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .headers import Header

__all__ = ["Fingerprint", "intensity_warnings"]

FAR_SPACING = 2.0
"""A spacing this many times larger or smaller than any of the training images causes a warning."""

FAR_EXTENT = 3.0
"""The same for sizes in mm. Training images were cropped, and larger fields of view are common."""

FAR_RANGE = 10.0
"""A range of intensities this many times narrower than that of the training's foreground causes a warning."""

KEEPS_SCALE = ("CTNormalization", "NoNormalization", "RGBTo01Normalization")
"""Normalisations that depend on the absolute intensities; others use the statistics of each image."""


class Fingerprint:
    """Spacings and sizes of the training images."""

    def __init__(self, spacings: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]) -> None:
        self._spacings = np.asarray(spacings, float)  # (cases, 3)
        self._extents = self._spacings * np.asarray(shapes, float)

    @classmethod
    def read(cls, model: Path) -> Fingerprint | None:
        """Read the file that a training writes beside its plans; return None if it is missing or has another form."""
        try:
            content = json.loads((model / "dataset_fingerprint.json").read_text(encoding="utf-8"))
            found = cls(content["spacings"], content["shapes_after_crop"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found._extents.ndim == 2 and found._extents.shape[1] == 3 and len(found._extents) else None

    def warnings(self, case: str, header: Header) -> Iterator[str]:
        """Yield a warning if spacing or size are far outside the range of the training images."""
        extent = [n * s for n, s in zip(header.shape, header.spacing, strict=True)]
        yield from _outside(case, "a spacing", header.spacing, self._spacings, FAR_SPACING)
        yield from _outside(case, "a size", extent, self._extents, FAR_EXTENT)


def _outside(case: str, what: str, found: Sequence[float], known: npt.NDArray[np.float64], far: float) -> Iterator[str]:
    lowest, highest = known.min(axis=0), known.max(axis=0)
    if any(value * far < low or value > far * high for value, low, high in zip(found, lowest, highest, strict=True)):
        ranges = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in zip(lowest, highest, strict=True))
        got = ", ".join(f"{value:.4g}" for value in found)
        yield f"[{case}] {what} of ({got}) mm is far from the training's ({ranges})"


def intensity_warnings(
    case: str, image: npt.NDArray[Any], schemes: Sequence[str], foreground: dict[str, dict[str, float]]
) -> Iterator[str]:
    """Yield a warning for each channel whose intensities are far outside those of the training's foreground.

    image: (C, X, Y, Z). schemes: normalisation of each channel. foreground: the plans'
    `foreground_intensity_properties_per_channel`.
    """
    for channel, (volume, scheme) in enumerate(zip(image, schemes, strict=False)):
        known = foreground.get(str(channel))
        if scheme not in KEEPS_SCALE or not known:
            continue
        low, high = float(known["percentile_00_5"]), float(known["percentile_99_5"])
        darkest, brightest = float(volume.min()), float(volume.max())
        if brightest < low or darkest > high or (brightest - darkest) * FAR_RANGE < high - low:
            yield (
                f"[{case}] intensities from {darkest:.4g} to {brightest:.4g} in channel {channel} are far from the training's "
                f"({low:.4g} to {high:.4g})"
            )
