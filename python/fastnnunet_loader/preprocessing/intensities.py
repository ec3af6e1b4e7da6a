"""Intensities of the foreground in a data set, as nnU-Net's fingerprint has them: without nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core

__all__ = ["PERCENTILES", "Foreground", "Intensities", "intensity_properties", "percentiles"]

PERCENTILES = (0.5, 50.0, 99.5)

Intensities = Sequence[npt.NDArray[Any]]
"""Arrays of float32, or of int16 for values that NumPy would have in float32; or one array of float64."""


class Foreground:
    """Intensities that are drawn of every case, with nnU-Net's random numbers. Cases may be drawn on several threads.

    Those of a case that are whole numbers, as in most images, are kept in int16.

    Args:
        cases: how many there are.
        channels: of an image.
        samples: intensities of each case, for each channel.
    """

    def __init__(self, cases: int, channels: int, samples: int) -> None:
        self.channels = channels
        self._samples = samples
        self._drawn: list[Intensities] = [[] for _ in range(cases)]

    def draw(self, number: int, image: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> None:
        """Draw of a case. image: (C, X, Y, Z). labels: (X, Y, Z); foreground is what is above 0."""
        self._drawn[number] = _core.draw_foreground(image[: self.channels], labels, samples=self._samples)

    def of(self, channel: int) -> Intensities:
        """What nnU-Net has of a channel: in float64 where a case has no foreground, as NumPy joins them."""
        parts = [drawn[channel] for drawn in self._drawn if drawn]
        if len(parts) == len(self._drawn):
            return parts
        return [np.concatenate([np.empty(0, np.float64), *parts])]


def intensity_properties(values: Intensities, threads: int) -> dict[str, float]:
    """Return what nnU-Net's plans have of a channel as `foreground_intensity_properties_per_channel`."""
    low, median, high = percentiles(values, threads)
    if _as_float32(values):
        mean, std, least, most = _core.moments(values)
    else:
        mean, std, least, most = (float(of(values[0])) for of in (np.mean, np.std, np.min, np.max))
    return {
        "mean": mean,
        "median": float(median),
        "std": std,
        "min": least,
        "max": most,
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }


def percentiles(values: Intensities, threads: int, percents: Sequence[float] = PERCENTILES) -> npt.NDArray[np.float64]:
    """`np.percentile(values, percents)` of many values, with its arithmetic, and without its copy of them."""
    if not _as_float32(values):
        return np.asarray(np.percentile(values[0], percents), np.float64)
    count = sum(part.size for part in values)
    places = np.true_divide(np.array(percents), np.float32(100)) * (count - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, count - 1)
    found = np.array(_core.order_statistics(values, [*lower.tolist(), *upper.tolist()], threads=threads), np.float32)
    before, after = found[: len(lower)], found[len(lower) :]
    share, step = places - lower, after - before
    return np.asarray(np.where(share < 0.5, before + step * share, after - step * (1 - share)), np.float64)


def _as_float32(values: Intensities) -> bool:
    """Whether they are not in float64; no values are left to NumPy, which says so."""
    return any(part.size for part in values) and all(part.dtype != np.float64 for part in values)
