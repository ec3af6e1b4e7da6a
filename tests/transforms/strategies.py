"""What hypothesis draws for the parity tests: images and segmentations of every kind that a data set may have."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

Draw = Any  # of hypothesis: draw(strategy) is a value

# What the voxels are like. "rounded" has many equal ones, "offset" is a narrow range far from 0, as of CT, "narrow" a few last
# bits. "clipped" have large parts of the lowest value, of the highest, or of both; "masked" is exactly 0 outside of a part.
PLAIN = ("normal", "smooth", "rounded", "offset", "constant", "zero", "tiny", "large")
UNEVEN = ("clipped below", "clipped above", "clipped", "masked", "outlier", "narrow")
NOT_FINITE = ("some nan", "all nan", "some infinite", "both infinities")
HUGE = ("huge",)
KINDS = PLAIN + UNEVEN + NOT_FINITE + HUGE

sizes = st.one_of(st.integers(1, 3), st.integers(4, 9), st.integers(10, 19))
probabilities = st.sampled_from([0, 0.5, 1])
seeds = st.integers(0, 2**31 - 1)


def shapes(dims: tuple[int, ...] = (2, 3), least: int = 1) -> st.SearchStrategy[tuple[int, ...]]:
    """Odd, anisotropic, one voxel thick, smaller than any kernel."""
    axis = sizes.map(lambda n: max(n, least))
    return st.sampled_from(dims).flatmap(lambda d: st.tuples(*[axis] * d))


@st.composite
def images(draw: Draw, shape: tuple[int, ...], kinds: tuple[str, ...] = KINDS, channels: int | None = None) -> np.ndarray:
    """(C, *shape) float32; every channel is of one kind."""
    count = draw(st.integers(1, 4)) if channels is None else channels
    kind = draw(st.sampled_from(kinds))
    rng = np.random.default_rng(draw(seeds))
    image = rng.normal(size=(count, *shape)).astype(np.float32)
    if kind == "smooth":
        for axis in range(1, image.ndim):
            image = np.cumsum(image, axis)
    elif kind == "rounded":
        image = np.round(2 * image)
    elif kind == "offset":
        image = 1000 + image
    elif kind.startswith("clipped"):
        low, high = np.quantile(image, [0.4, 0.7])
        image = np.clip(image, None if kind == "clipped above" else low, None if kind == "clipped below" else high)
    elif kind == "masked":
        image[..., : max(1, shape[-1] // 2)] = 0
    elif kind == "outlier":
        image.reshape(-1)[int(rng.integers(image.size))] = draw(st.sampled_from([1e4, -1e4]))
    elif kind == "narrow":
        image = 1 + np.round(4 * image) * 2**-23
    elif kind in ("constant", "zero"):
        image[:] = 3.5 if kind == "constant" else 0
    elif kind in ("tiny", "large", "huge"):
        image *= {"tiny": 1e-6, "large": 1e6, "huge": 1e30}[kind]
    elif kind == "all nan":
        image[:] = np.nan
    elif kind != "normal":
        values = {"some nan": [np.nan], "some infinite": [np.inf], "both infinities": [np.inf, -np.inf]}[kind]
        places = rng.choice(image.size, min(len(values) * draw(st.integers(1, 2)), image.size), replace=False)
        image.reshape(-1)[places] = np.resize(values, places.size)
    return np.ascontiguousarray(image, np.float32)


@st.composite
def segmentations(
    draw: Draw, shape: tuple[int, ...], channels: int | None = None, labels: tuple[int, ...] | None = None
) -> np.ndarray:
    """(C, *shape) int16; 2 to 120 labels, negative ones and ones above 255 among them, in blocks or voxel by voxel."""
    count = draw(st.integers(1, 3)) if channels is None else channels
    rng = np.random.default_rng(draw(seeds))
    palette = labels
    if palette is None:
        number = draw(st.sampled_from([1, 2, 3, 5, 33, 120]))
        palette = tuple(rng.choice([*range(-3, 300), 1000, -32768, 32767], number, replace=False))
    block = draw(st.sampled_from([1, 3, 5]))
    coarse = rng.choice(palette, (count, *[-(-n // block) for n in shape]))
    for axis, n in enumerate(shape, 1):
        coarse = np.repeat(coarse, block, axis).take(range(n), axis)
    return np.ascontiguousarray(coarse, np.int16)


def intervals(low: float, high: float) -> st.SearchStrategy[Any]:
    """A RandomScalar between these: a number or a pair."""
    number = st.one_of(st.sampled_from([low, high]), st.floats(low, high, allow_subnormal=False))
    return st.one_of(number.map(float), st.tuples(number, number).map(lambda pair: tuple(sorted(map(float, pair)))))
