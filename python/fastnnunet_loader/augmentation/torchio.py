"""TorchIO's transforms as native ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .building import Building, InPython
from .called import called_torchio
from .scalars import Ranges, peak_of_noise
from .tree import Augmentation, checked_size, require_transforms

__all__ = ["from_torchio"]

# Whole volumes are made ready when the folder is made.
_BEFORE = (
    "ToCanonical",
    "Resample",
    "Resize",
    "CropOrPad",
    "Crop",
    "Pad",
    "EnsureShapeMultiple",
    "ToReferenceSpace",
    "CopyAffine",
    "Mask",
    "To",
    "ZNormalization",
    "RescaleIntensity",
    "HistogramStandardization",
    "Clamp",
    "PCA",
    "NormalizationTransform",
)
_SPATIAL = ("RandomAffine", "RandomElasticDeformation")


def from_torchio(
    transform: Any,
    patch_size: Sequence[int],
    *,
    image_key: str = "image",
    label_key: str | None = "label",
    report: Callable[[str], None] | None = print,
) -> Augmentation:
    """Build the closest native transforms to TorchIO's.

    Known random transforms become native ones with the same distributions; the others run in Python, on patches, with random
    numbers of the sample, so that batches do not depend on the number of threads. Preprocessing is left out, since a
    folder has volumes that are ready. TorchIO transforms whole volumes before a sampler cuts patches; here patches are cut
    as much larger as spatial transforms need. Millimetres are voxels, as in TorchIO for tensors.

    Args:
        transform: torchio.Compose, a list of transforms, or one.
        patch_size: what the network gets, in voxels.
        image_key: the name of the image in subjects.
        label_key: the name of the label map, or None without labels. In batches, the loader's own keys are used.
        report: is told each difference; None for nobody.

    Returns:
        The transforms with the sizes of patches, and in `.differences` what differs from TorchIO, a sentence each.

    Raises:
        ValueError: a transform includes or excludes other images, or an argument is out of range.
        ModuleNotFoundError: batchgeneratorsv2 is not installed.
    """
    require_transforms()
    keys = (image_key,) if label_key is None else (image_key, label_key)
    building = Building("TorchIO", checked_size(patch_size), keys, lambda one: called_torchio(one, image_key, label_key))
    building.margin = True
    built = list(_translated(building, transform))
    if report is not None:
        for difference in building.differences:
            report(difference)
    return building.finished(built)


def _translated(b: Building, tree: Any) -> Iterator[Any]:
    own = type(tree).__module__.startswith("torchio.")
    name = type(tree).__name__ if own else ""
    if isinstance(tree, (list, tuple)):
        for child in tree:
            yield from _translated(b, child)
        return
    if name in ("Compose", "OneOf"):
        try:
            yield from list(_compose(b, tree) if name == "Compose" else _one_of(b, tree))
        except InPython as reason:
            yield from b.called(tree, str(reason))
        return
    if name in _BEFORE:
        b.differ(tree, "left out, since the volumes of a folder are ready: apply it when it is made")
        return
    function = _KNOWN.get(name)
    if function is None:
        yield from b.called(tree, "it has no native counterpart")
        return
    if _chosen(b, tree, name):
        yield from b.translated(tree, function)
    else:
        yield from b.called(tree, "it includes or excludes images")


def _chosen(b: Building, t: Any, name: str) -> bool:
    """Whether the transform is of the images that the native one is of."""
    moves = name in _SPATIAL or name == "RandomFlip"
    wanted = set(b.keys) if moves else {b.keys[0]}
    chosen = (set(t.include) if t.include is not None else set(b.keys)) - set(t.exclude or ())
    if unknown := chosen - set(b.keys):
        raise ValueError(f"[{name}] expected images among {', '.join(b.keys)}, got {', '.join(sorted(unknown))}")
    return t.keep is None and chosen >= wanted and (not moves or chosen == wanted)


def _compose(b: Building, t: Any) -> Iterator[Any]:
    inside = [one for child in t.transforms for one in _translated(b, child)]
    if t.probability >= 1 or not inside:
        yield from inside
    else:
        yield b.with_probability(t.probability, *inside)


def _one_of(b: Building, t: Any) -> Iterator[Any]:
    ways = [list(_translated(b, one)) for one in t.transforms_dict]
    yield b.with_probability(t.probability, b.one_of(list(t.transforms_dict.values()), ways))


def _triple(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return three ranges of TorchIO's six numbers."""
    return [(float(low), float(high)) for low, high in zip(values[::2], values[1::2], strict=True)]


def _modes(b: Building, t: Any) -> bool:
    if t.image_interpolation not in ("linear", "nearest"):
        b.differ(t, f"the image is interpolated linearly, not '{t.image_interpolation}'")
    if t.label_interpolation != "nearest" and len(b.keys) > 1:
        b.differ(t, f"labels are those of the nearest voxel, not '{t.label_interpolation}'")
    return bool(t.image_interpolation == "nearest")


def _affine(b: Building, t: Any) -> Iterator[Any]:
    axes = len(b.patch)
    if any(value != 0 for value in t.translation):
        raise InPython("translation is not 0")
    if t.center != "image":
        raise InPython("center is not 'image'")
    if t.default_pad_label != 0:
        raise InPython("default_pad_label is not 0")
    # Of the objects, not of the grid.
    degrees = [(-math.radians(high), -math.radians(low)) for low, high in _triple(t.degrees)]
    rotation = [degrees[2]] * 2 if axes == 2 else degrees
    scales = _triple(t.scales)[:axes]
    scaled = any(scale != (1, 1) for scale in scales)
    if sum(angles != (0, 0) for angles in degrees) > 1 and axes == 3:
        b.differ(t, "axes are turned in the order Z, Y, X, not Y, X, Z")
    b.differ(t, "it turns around the middle of a patch, not of the volume; beyond the volume, images are 0")
    yield b.spatial(
        t.probability,
        rotation=rotation if any(angles != (0, 0) for angles in rotation) else (),
        scaling=Ranges(tuple(scales), of="1/x") if scaled else None,
        same_scale=t.isotropic,
        nearest=_modes(b, t),
    )


def _elastic(b: Building, t: Any) -> Iterator[Any]:
    axes = len(b.patch)
    if axes == 2:
        raise InPython("the patch is 2D")
    b.differ(
        t,
        "displacements are smoothed noise, as large as the B-spline's in its middle, of a volume as large as the patch; no "
        "borders are locked",
    )
    # A cubic B-spline is as wide as a Gaussian of 1/sqrt(3) of the distance of control points.
    apart = [size / (n - 3) for size, n in zip(b.patch, t.num_control_points, strict=True)]
    sigma = [(h / math.sqrt(3), h / math.sqrt(3)) for h in apart]
    # In the middle, uniform numbers from -1 to 1 with the spline's weights have this deviation.
    deviation = math.sqrt(1 / 3 * _SQUARES**3)
    peaks = [deviation * float(d) * peak_of_noise(s, b.patch) for d, (s, _) in zip(t.max_displacement, sigma, strict=True)]
    magnitude = Ranges(tuple((peak, peak) for peak in peaks))
    yield b.spatial(t.probability, sigma=sigma, magnitude=magnitude, reach=max(peaks), nearest=_modes(b, t))


_SQUARES = 151 / 315
"""Mean over all places of the sum of squares of a cubic B-spline's weights: its convolution with itself at 0."""


def _flip(b: Building, t: Any) -> Iterator[Any]:
    axes = []
    for axis in t.axes:
        if isinstance(axis, str):
            b.differ(t, "names of axes are those of volumes with the axes right, anterior, superior")
            axis = _AXES[axis[0].upper()]
        if axis < len(b.patch):
            axes.append(axis)
    if axes:
        yield b.with_probability(t.probability, *(b.mirror(axis, t.flip_probability) for axis in axes))


_AXES = {"L": 0, "R": 0, "A": 1, "P": 1, "S": 2, "I": 2}


def _noise(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform

    if tuple(t.mean_range) != (0, 0):
        raise InPython("mean is not 0")
    std = (float(t.std_range[0]), float(t.std_range[1]))
    yield b.with_probability(t.probability, GaussianNoiseTransform(std, p_per_channel=1, synchronize_channels=True))


def _blur(b: Building, t: Any) -> Iterator[Any]:
    sigmas = _triple(t.std_ranges)[: len(b.patch)]
    if len(set(sigmas)) > 1:
        b.differ(t, "each channel has a deviation of its own, since those of the axes are from different ranges")
    yield b.with_probability(t.probability, b.blur(sigmas))


def _gamma(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform

    b.differ(t, "it is of intensities between the least and the largest of the patch, not of the values themselves")
    low, high = (float(n) for n in t.log_gamma_range)
    gamma = Ranges(((low, high),), of="exp(x)")
    yield b.with_probability(
        t.probability, GammaTransform(gamma, 0, synchronize_channels=False, p_per_channel=1, p_retain_stats=0)
    )


def _anisotropy(b: Building, t: Any) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform

    if not t.scalars_only and len(b.keys) > 1:
        raise InPython("scalars_only is False")
    if t.image_interpolation != "linear":
        raise InPython(f"image_interpolation is {t.image_interpolation!r}")
    axes = [axis for axis in t.axes if axis < len(b.patch)]
    b.differ(t, "voxels beyond the last thick slice are the slice's, not 0")
    low, high = (float(n) for n in t.downsampling_range)
    ways = []
    for axis in axes:
        others = tuple(other for other in range(len(b.patch)) if other != axis)
        scale = Ranges(((low, high),), of="1/x")
        ways.append(SimulateLowResolutionTransform(scale, True, True, others, None, 1))
    yield b.with_probability(t.probability, b.one_of([1] * len(ways), [[way] for way in ways]))


_KNOWN: dict[str, Callable[[Building, Any], Iterator[Any]]] = {
    "RandomAffine": _affine,
    "RandomElasticDeformation": _elastic,
    "RandomFlip": _flip,
    "RandomAnisotropy": _anisotropy,
    "RandomNoise": _noise,
    "RandomBlur": _blur,
    "RandomGamma": _gamma,
}
