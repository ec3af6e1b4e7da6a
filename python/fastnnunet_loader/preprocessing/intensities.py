"""Intensities of the foreground in a data set, as nnU-Net's fingerprint has them: without nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core

__all__ = ["PERCENTILES", "Foreground", "intensity_properties", "percentiles"]

PERCENTILES = (0.5, 50.0, 99.5)


class Foreground:
    """Intensities that are drawn of every case, with nnU-Net's random numbers. Cases may be drawn on several threads.

    Args:
        cases: how many there are.
        channels: of an image.
        samples: intensities of each case, for each channel.
    """

    def __init__(self, cases: int, channels: int, samples: int) -> None:
        self.channels = channels
        self._samples = samples
        self._drawn = np.empty((channels, cases * samples), np.float32)
        self._is_there = [True] * cases

    def draw(self, number: int, image: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> None:
        """Draw of a case. image: (C, X, Y, Z). labels: (X, Y, Z); foreground is what is above 0."""
        first = number * self._samples
        voxels = _core.draw_foreground(image[: self.channels], labels, self._drawn, first=first, samples=self._samples)
        self._is_there[number] = voxels > 0

    def leave_out(self, number: int) -> None:
        """Take nothing of a case."""
        self._is_there[number] = False

    def of(self, channel: int) -> npt.NDArray[Any]:
        """What nnU-Net has of a channel: in float64 where a case has no foreground, as NumPy joins them."""
        all_of_it: npt.NDArray[Any] = self._drawn[channel]
        if all(self._is_there):
            return all_of_it
        parts = all_of_it.reshape(len(self._is_there), self._samples)[np.array(self._is_there)]
        return np.asarray(parts.reshape(-1), np.float64)


def intensity_properties(values: npt.NDArray[Any], threads: int) -> dict[str, float]:
    """Return what nnU-Net's plans have of a channel as `foreground_intensity_properties_per_channel`."""
    low, median, high = percentiles(values, threads)
    if values.dtype == np.float32 and values.size:
        mean, std, least, most = _core.moments(values)
    else:
        mean, std, least, most = (float(of(values)) for of in (np.mean, np.std, np.min, np.max))
    return {
        "mean": mean,
        "median": float(median),
        "std": std,
        "min": least,
        "max": most,
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }


def percentiles(values: npt.NDArray[Any], threads: int, percents: Sequence[float] = PERCENTILES) -> npt.NDArray[np.float64]:
    """`np.percentile(values, percents)` of many values, with its arithmetic, and without its copy of them."""
    if values.dtype != np.float32 or not values.size:
        return np.asarray(np.percentile(values, percents), np.float64)
    places = np.true_divide(np.array(percents), np.float32(100)) * (values.size - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, values.size - 1)
    found = np.array(_core.order_statistics(values, [*lower.tolist(), *upper.tolist()], threads=threads), np.float32)
    before, after = found[: len(lower)], found[len(lower) :]
    share, step = places - lower, after - before
    return np.asarray(np.where(share < 0.5, before + step * share, after - step * (1 - share)), np.float64)
