"""Each of MONAI's dictionary transforms that has a native counterpart, in the order of MONAI's documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .building import Building, InPython
from .scalars import Peak, Ranges, elastic_peak

__all__ = ["KNOWN", "MOVES", "SPATIAL"]


def _pair(value: Any, around: float = 0.0) -> tuple[float, float]:
    """Return the range of one of MONAI's parameters: a number r is from -r to r."""
    if isinstance(value, (list, tuple)):
        return float(value[0]) + around, float(value[1]) + around
    return -abs(float(value)) + around, abs(float(value)) + around


def _each(values: Sequence[Any], axes: int, around: float = 0.0) -> list[tuple[float, float]]:
    """Return a range for each axis; those that are missing stay as they are."""
    given = [_pair(value, around) for value in values if value is not None][:axes]
    return given + [(around, around)] * (axes - len(given))


def _some(values: Sequence[tuple[float, float]], idle: float = 0.0) -> bool:
    return any(low != idle or high != idle for low, high in values)


def _of_keys(b: Building, t: Any, values: Sequence[Any]) -> tuple[str, str | None]:
    """Return a setting of the image, and that of the labels, or None if there are none."""
    given = {str(key): str(getattr(value, "value", value)) for key, value in zip(t.keys, values, strict=True)}
    return given[b.keys[0]], given[b.keys[1]] if len(b.keys) > 1 else None


def _modes(b: Building, t: Any) -> bool:
    """Whether the image is of the nearest voxel. Notes differences of interpolation."""
    image, labels = _of_keys(b, t, t.mode)
    if image not in ("bilinear", "trilinear", "linear", "nearest"):
        b.differ(t, f"the image is interpolated linearly, not '{image}'")
    if labels not in ("nearest", None):
        b.differ(t, f"labels are those of the nearest voxel, not '{labels}', which makes labels that there are not")
    return image == "nearest"


_BORDERS = {"reflection": "reflection", "reflect": "reflection", "border": "border", "edge": "border", "zeros": "zeros"}


def _borders(b: Building, t: Any) -> dict[str, Any]:
    if b.margin:
        b.differ(t, "corners are filled with the volume around the patch")
        return {}
    image, labels = _of_keys(b, t, t.padding_mode)
    for mode in (image, labels or image):
        if mode not in _BORDERS:
            raise InPython(f"padding_mode is {mode!r}")
    return {"padding": _BORDERS[image], "label_padding": _BORDERS[labels or image]}


def _turned(b: Building, t: Any, rotation: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the angles of each axis as batchgeneratorsv2 wants them."""
    if len(b.patch) == 2:
        return [rotation[0]] * 2  # the last one counts
    if sum(low != 0 or high != 0 for low, high in rotation) > 1:
        b.differ(t, "axes are turned in the order Z, Y, X, not X, Y, Z")
    return rotation


def _affine(b: Building, t: Any) -> Iterator[Any]:
    affine = t.rand_affine
    yield _of_grid(b, t, affine.rand_affine_grid, affine.spatial_size)


def _of_grid(b: Building, t: Any, grid: Any, spatial_size: Any, **elastic: Any) -> Any:
    axes = len(b.patch)
    rotation = _each(grid.rotate_range, 1 if axes == 2 else 3)
    scaling = _each(grid.scale_range, axes, 1.0)
    for name in ("shear", "translate"):
        if _some(_each(getattr(grid, f"{name}_range"), 6)):
            raise InPython(f"{name}_range is not 0")
    size = [] if spatial_size is None else [spatial_size] * axes if isinstance(spatial_size, int) else list(spatial_size)
    if any(n > 0 and n != p for n, p in zip(size, b.patch, strict=False)):
        raise InPython(f"spatial_size {tuple(size)} is not the patch size")
    scaled = _some(scaling, 1.0)
    return b.spatial(
        t.prob,
        rotation=_turned(b, t, rotation) if _some(rotation) else (),
        scaling=None if not scaled else scaling[0] if len(set(scaling)) == 1 else Ranges(tuple(scaling)),
        nearest=_modes(b, t),
        **_borders(b, t),
        **elastic,
    )


def _elastic(b: Building, t: Any) -> Iterator[Any]:
    if len(b.patch) != 3:
        raise InPython("the patch is 2D")
    elastic = t.rand_3d_elastic
    low, high = (float(n) for n in elastic.sigma_range)
    size = tuple(b.patch)
    reach = float(elastic.magnitude_range[1]) * elastic_peak(low, size)
    b.differ(t, "displacements are normal and not uniform before they are smoothed, sigma is drawn for each axis")
    magnitude = Peak((float(elastic.magnitude_range[0]), float(elastic.magnitude_range[1])), size)
    yield _of_grid(b, t, elastic.rand_affine_grid, elastic.spatial_size, sigma=(low, high), magnitude=magnitude, reach=reach)


def _rotate(b: Building, t: Any) -> Iterator[Any]:
    rotate = t.rand_rotate
    if not rotate.keep_size:
        raise InPython("keep_size is False")
    if any(t.align_corners):
        raise InPython("align_corners is True")
    ranges = [tuple(map(float, r)) for r in (rotate.range_x, rotate.range_y, rotate.range_z)]
    rotation: list[Any] = ranges[:1] if len(b.patch) == 2 else ranges
    if _some(rotation):
        yield b.spatial(t.prob, rotation=_turned(b, t, rotation), nearest=_modes(b, t), **_borders(b, t))


def _zoom(b: Building, t: Any) -> Iterator[Any]:
    zoom = t.rand_zoom
    if not zoom.keep_size:
        raise InPython("keep_size is False")
    axes = len(b.patch)
    ranges = [(float(low), float(high)) for low, high in zip(zoom.min_zoom, zoom.max_zoom, strict=True)]
    same = len(ranges) == 1
    if len(ranges) == 2 and axes == 3:
        raise InPython("two zooms are of three axes")
    nearest = _modes(b, t)
    scaling = Ranges(tuple(ranges * axes if same else ranges), of="1/x")
    yield b.spatial(t.prob, scaling=scaling, same_scale=same, nearest=nearest, **_borders(b, t))


def _flip(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform

    axis = t.flipper.spatial_axis
    axes = list(range(len(b.patch))) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    axes = [int(a) % len(b.patch) for a in axes]
    if len(axes) == 1:
        yield b.mirror(axes[0], t.prob)
    elif len(axes) == 2:  # both at once are half a turn
        b.mirrored.update(axes)
        yield b.with_probability(t.prob, Rot90Transform(1, (2,), set(axes)))
    else:
        raise InPython("native mirrors choose each axis on its own")


def _axis_flip(b: Building, t: Any) -> Iterator[Any]:
    yield b.one_of([1] * len(b.patch), [[b.mirror(axis, t.prob)] for axis in range(len(b.patch))])


def _rotate90(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform

    first, second = (int(axis) % len(b.patch) for axis in t.spatial_axes)
    turns = tuple(range(1, int(t.max_k) + 1))
    if any(k % 2 for k in turns) and b.patch[first] != b.patch[second]:
        raise ValueError(
            f"[{type(t).__name__}] expected a patch of equal size along axes {first} and {second}, got {b.patch}: patches "
            "would be of several shapes"
        )
    if first > second:  # batchgeneratorsv2 sorts the axes, which turns the other way
        turns = tuple(4 - k for k in turns)
    yield b.with_probability(t.prob, Rot90Transform(1, turns, {first, second}))


def _noise(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform

    noise = t.rand_gaussian_noise
    if noise.mean != 0:
        raise InPython("mean is not 0")
    std = float(noise.std)
    amount = (0.0, std) if noise.sample_std else std
    yield b.with_probability(t.prob, GaussianNoiseTransform(amount, p_per_channel=1, synchronize_channels=True))


def _shift(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform

    if t.shifter.channel_wise:
        raise InPython("channel_wise is True")
    if any(key is not None for key in t.factor_key):
        raise InPython("it has a factor_key")
    low, high = (float(n) for n in t.shifter.offsets)
    # If it is the same for all channels, batchgeneratorsv2 draws it uniformly from mu to sigma.
    yield b.with_probability(t.prob, BrightnessAdditiveTransform(low, high, synchronize_channels=True))


def _factors(scaler: Any) -> tuple[float, float]:
    return 1 + float(scaler.factors[0]), 1 + float(scaler.factors[1])


def _scale(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform

    scaler = t.scaler
    yield b.with_probability(t.prob, MultiplicativeBrightnessTransform(_factors(scaler), not scaler.channel_wise, 1))


def _scale_fixed_mean(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform

    scaler = t.scaler
    if not scaler.fixed_mean:
        raise InPython("fixed_mean is False")
    if not scaler.channel_wise:
        b.differ(t, "the mean and the range that stay are those of each channel, not of all together")
    contrast = ContrastTransform(_factors(scaler), bool(scaler.preserve_range), not scaler.channel_wise, 1)
    yield b.with_probability(t.prob, contrast)


def _contrast(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform

    adjuster = t.adjuster
    b.differ(t, "the range and the statistics are those of each channel, not of all together")
    gamma = (float(adjuster.gamma[0]), float(adjuster.gamma[1]))
    inverted, retained = float(adjuster.invert_image), float(adjuster.retain_stats)
    yield b.with_probability(t.prob, GammaTransform(gamma, inverted, True, 1, retained))


def _smooth(b: Building, t: Any) -> Iterator[Any]:
    smooth = t.rand_smooth
    sigmas = [tuple(map(float, s)) for s in (smooth.sigma_x, smooth.sigma_y, smooth.sigma_z)][: len(b.patch)]
    b.differ(t, "beyond its borders the image is mirrored, not 0")
    if len(set(sigmas)) > 1:
        b.differ(t, "each channel has a sigma of its own, since those of the axes are from different ranges")
    yield b.with_probability(t.prob, b.blur(sigmas))  # type: ignore[arg-type]


def _low_resolution(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform

    down, up = (str(getattr(mode, "value", mode)) for mode in (t.downsample_mode, t.upsample_mode))
    if not down.startswith("nearest") or up not in ("trilinear", "bilinear", "linear") or t.align_corners:
        raise InPython(f"modes are {down!r} and {up!r}")
    if down == "nearest":
        b.differ(t, "voxels are those nearest to the middle of a larger one ('nearest-exact'), not to its first corner")
    zoom = (float(t.zoom_range[0]), float(t.zoom_range[1]))
    low = SimulateLowResolutionTransform(zoom, True, True, ignore_axes=None, allowed_channels=None, p_per_channel=1)
    yield b.with_probability(t.prob, low)


def _dropout(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform

    dropper = t.dropper
    if not dropper.dropout_holes:
        raise InPython("dropout_holes is False")
    if not isinstance(dropper.fill_value, (int, float)):
        raise InPython("the value of each voxel is drawn")
    least = _sizes(dropper.spatial_size, b.patch)
    most = least if dropper.max_spatial_size is None else _sizes(dropper.max_spatial_size, b.patch)
    sizes = [[low, high + 1] for low, high in zip(least, most, strict=True)]
    holes = int(dropper.holes)
    number = (holes, holes + 1 if dropper.max_holes is None else int(dropper.max_holes) + 1)
    b.differ(t, "each channel has rectangles of its own")
    if number[1] > 2 and least != most:
        b.differ(t, "sizes are drawn apart from each other; MONAI's are never smaller than the one before")
    blank = BlankRectangleTransform(sizes, float(dropper.fill_value), number, force_square=False, p_per_channel=1)
    yield b.with_probability(t.prob, blank)


def _sizes(size: Any, patch: Sequence[int]) -> list[int]:
    given = [size] * len(patch) if isinstance(size, int) else list(size)
    return [min(int(n), p) if n and n > 0 else p for n, p in zip(given, patch, strict=True)]


SPATIAL = ("RandAffine", "RandRotate", "RandZoom", "Rand3DElastic")

MOVES = (*SPATIAL, "RandFlip", "RandAxisFlip", "RandRotate90")

KNOWN: dict[str, Callable[[Building, Any], Iterator[Any]]] = {
    "RandAffine": _affine,
    "Rand3DElastic": _elastic,
    "RandRotate": _rotate,
    "RandZoom": _zoom,
    "RandFlip": _flip,
    "RandAxisFlip": _axis_flip,
    "RandRotate90": _rotate90,
    "RandGaussianNoise": _noise,
    "RandShiftIntensity": _shift,
    "RandScaleIntensity": _scale,
    "RandScaleIntensityFixedMean": _scale_fixed_mean,
    "RandAdjustContrast": _contrast,
    "RandGaussianSmooth": _smooth,
    "RandSimulateLowResolution": _low_resolution,
    "RandCoarseDropout": _dropout,
}
"""By the name of a dictionary transform, without the d."""
