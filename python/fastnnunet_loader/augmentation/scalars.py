"""Callable scalars of batchgeneratorsv2's transforms, for distributions that they do not have themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Peak", "Range", "Ranges", "Sigmas", "elastic_peak", "peak_of_noise"]

Range = tuple[float, float]
_LEAST_SMOOTH = 0.75  # sigma below which neighbours are as good as independent


@dataclass(frozen=True)
class Ranges:
    """A callable scalar that is uniform in a range of its own for each axis, or a function of such a number."""

    ranges: tuple[Range, ...]
    of: str = "x"
    """"x", "1/x" or "exp(x)"."""
    each: tuple[float, ...] = ()
    """By which the number of each axis is divided: sizes of a patch."""

    def __call__(self, *_: Any, dim: int | None = None, **__: Any) -> float:
        """Draw from NumPy's generator."""
        x = self._function(float(np.random.uniform(*self.ranges[dim or 0])))
        return x / self.each[dim or 0] if self.each else x

    @property
    def bounds(self) -> Range:
        """The least and the largest number of all axes."""
        ends = [self._function(end) for ends in self.ranges for end in ends]
        return min(ends), max(ends)

    def _function(self, x: float) -> float:
        if self.of == "x":
            return x
        return 1 / x if self.of == "1/x" else math.exp(x)


@dataclass(frozen=True)
class Peak:
    """The largest displacement of an elastic deformation: a magnitude times the peak of smoothed noise of that scale."""

    magnitude: Range
    size: tuple[int, ...]

    def __call__(self, *_: Any, dim: int | None = None, deformation_scale: float, **__: Any) -> float:
        """Draw from NumPy's generator."""
        sigma = deformation_scale * self.size[dim or 0]
        return float(np.random.uniform(*self.magnitude)) * elastic_peak(sigma, self.size)


def elastic_peak(sigma: float, size: Sequence[int]) -> float:
    """Return the largest value to expect of uniform noise from -1 to 1 that a Gaussian of `sigma` voxels has smoothed.

    Its standard deviation is 1/sqrt(3) times the norm of the kernel, sqrt(1 / (2 sqrt(pi) sigma)) for each axis.
    """
    kernel = math.pow(2 * math.sqrt(math.pi) * max(sigma, _LEAST_SMOOTH), -len(size))
    return math.sqrt(kernel / 3) * peak_of_noise(sigma, size)


def peak_of_noise(sigma: float, size: Sequence[int]) -> float:
    """Return the median of the largest absolute value of noise of deviation 1 that a Gaussian has smoothed, around its borders.

    sigma and size are in voxels. A level is reached as often as the field's excursion above it has a Euler characteristic, in
    the mean (Adler, The Geometry of Random Fields, 1981, theorem 5.3.1): with probability 1/2 if that is ln 2 for both signs.
    """
    axes = len(size)
    volume = math.prod(n / (math.sqrt(2) * max(sigma, _LEAST_SMOOTH)) for n in size)

    def reached(level: float) -> float:
        polynomial = level if axes == 2 else level * level - 1
        return 2 * volume * polynomial * math.exp(-level * level / 2) / math.pow(2 * math.pi, (axes + 1) / 2)

    low, high = math.sqrt(3), 10.0  # it falls from there on
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) > math.log(2) else (low, middle)
    return low


@dataclass(frozen=True)
class Sigmas:
    """A range for each axis of a blur, which is told the axis from 1 on."""

    ranges: tuple[Range, ...]

    def __call__(self, _shape: Any, dim: int | None = None, **__: Any) -> float:
        """Draw from NumPy's generator."""
        return float(np.random.uniform(*self.ranges[(dim or 1) - 1]))
