"""Raw nnU-Net data sets from one real brain.

Every case is the MNI152 template under its own seeded affine and smooth deformation, with its own contrast, bias field
and noise. The tissue labels are deformed with it, so a network has something true to learn.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[np.float32]
"""3D of shape XYZ."""
Labels = npt.NDArray[np.uint8]
"""3D of shape XYZ."""

_TISSUE_THRESHOLD = 0.4
"""A voxel is tissue where grey or white matter has at least this share of it."""


@dataclass(frozen=True)
class Anatomy:
    """Where the voxels of a case are in the brain."""

    left: Volume
    """At least 0.5 in the left half of the brain."""
    where: Volume
    """The place of each voxel in the template: 4D of shape 3XYZ, in voxels of the template."""
    template: tuple[int, ...]
    """The shape of the template."""


@dataclass(frozen=True)
class Variant:
    """What distinguishes one data set from another; another variant makes nnU-Net plan another pipeline."""

    channels: tuple[str, ...] = ("T1",)
    labels: dict[str, int | list[int]] = field(default_factory=lambda: {"background": 0, "grey": 1, "white": 2})
    regions_class_order: tuple[int, ...] = ()
    air: float = 8.0
    """Mean intensity outside the head. 0 leaves exact zeros there, as skull-stripped images have: nnU-Net then
    normalises within the nonzero mask."""
    margin_mm: tuple[float, float] = (4.0, 16.0)
    """Range of the free space left around the brain on each side."""
    slices: int = 1
    """How many slices are averaged into one."""
    relabel: Callable[[Labels, Anatomy, np.random.Generator], Labels] | None = None
    """Makes other labels of background, grey and white matter (0, 1, 2), 3D of shape XYZ."""


@dataclass(frozen=True)
class _Brain:
    """The template on a regular grid; all volumes of one shape XYZ, values 0 to 1."""

    t1: Volume
    grey: Volume
    white: Volume
    left: Volume
    """1 in the left half of space, 0 in the right."""
    resolution: float


def _load_brain(resolution: int) -> _Brain:
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    image = load_mni152_template(resolution=resolution)
    t1 = np.clip(np.asarray(image.dataobj, dtype=np.float32), 0, None)
    grey = np.clip(np.asarray(load_mni152_gm_template(resolution=resolution).dataobj, dtype=np.float32), 0, 1)
    white = np.clip(np.asarray(load_mni152_wm_template(resolution=resolution).dataobj, dtype=np.float32), 0, 1)
    x = image.affine[0, 3] + image.affine[0, 0] * np.arange(t1.shape[0])
    left = np.broadcast_to((x < 0).astype(np.float32)[:, None, None], t1.shape)
    return _Brain(t1, grey, white, np.ascontiguousarray(left), float(resolution))


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], spacing: float) -> Volume:
    """Draw a smooth random volume of the given shape with values around 0 and unit deviation.

    spacing: distance of its control points, in voxels.
    """
    from scipy.ndimage import zoom

    coarse = rng.standard_normal([max(4, round(n / spacing) + 3) for n in shape])
    return np.asarray(zoom(coarse, [n / c for n, c in zip(shape, coarse.shape, strict=True)], order=3), np.float32)


def _deformation(rng: np.random.Generator, shape: tuple[int, ...], resolution: float) -> Volume:
    """Draw, for every voxel of a case, where in the template it lies: 4D of shape 3XYZ, in voxels."""
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_euler("xyz", rng.uniform(-10, 10, 3), degrees=True).as_matrix()
    matrix = rotation @ np.diag(rng.uniform(0.92, 1.1, 3))
    centre = (np.asarray(shape) - 1) / 2
    grid = np.stack(np.meshgrid(*(np.arange(n) - c for n, c in zip(shape, centre, strict=True)), indexing="ij"))
    where = np.einsum("ij,jxyz->ixyz", matrix, grid) + centre[:, None, None, None]
    for axis in range(3):
        where[axis] += 2.5 / resolution * _smooth_field(rng, shape, 30.0 / resolution)
    return np.asarray(where, np.float32)


def _box_of(mask: npt.NDArray[np.bool_], margins: npt.NDArray[np.int_]) -> tuple[slice, ...]:
    """Return the bounding box of a mask, grown by margins of shape (3, 2) voxels and clipped to the volume."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low, high = int(used[0]) - int(margins[axis, 0]), int(used[-1]) + 1 + int(margins[axis, 1])
        box.append(slice(max(0, low), min(mask.shape[axis], high)))
    return tuple(box)


def _average_slices(volume: Volume, count: int) -> Volume:
    if count == 1:
        return volume
    kept = volume.shape[2] // count * count
    return np.asarray(volume[..., :kept].reshape(*volume.shape[:2], -1, count).mean(-1), np.float32)


def _contrast(
    rng: np.random.Generator, channel: int, t1: Volume, grey: Volume, white: Volume, spec: Variant, resolution: float
) -> Volume:
    """Draw the intensities of one channel from deformed tissue maps."""
    if channel == 0:
        signal = t1 ** rng.uniform(0.8, 1.25)
    else:
        # Fluid bright, white matter dark: the order that a T2-weighted image has.
        fluid = np.clip(t1 * 3, 0, 1) * np.clip(1 - grey - white, 0, 1)
        signal = rng.uniform(0.85, 1.0) * fluid + rng.uniform(0.5, 0.6) * grey + rng.uniform(0.25, 0.35) * white
    bias = np.exp(0.1 * _smooth_field(rng, signal.shape, 60.0 / resolution))
    image = rng.uniform(500, 900) * signal * bias
    noise = rng.standard_normal((2, *signal.shape)).astype(np.float32) * 10.0
    # The magnitude of a complex signal: what a scanner's noise is, in air too.
    noisy = np.hypot(image + noise[0], noise[1])
    if spec.air == 0:
        noisy = np.where(t1 > 0.02, noisy, 0)
    else:
        noisy = noisy + spec.air
    return np.asarray(noisy, np.float32)


def _make_case(rng: np.random.Generator, brain: _Brain, spec: Variant) -> tuple[list[Volume], Labels]:
    from scipy.ndimage import map_coordinates

    where = _deformation(rng, brain.t1.shape, brain.resolution)
    t1, grey, white, left = (
        np.asarray(map_coordinates(v, where, order=1, mode="constant", cval=0.0), np.float32)
        for v in (brain.t1, brain.grey, brain.white, brain.left)
    )
    margins = np.round(rng.uniform(*spec.margin_mm, (3, 2)) / brain.resolution).astype(int)
    box = _box_of(t1 > 0.02, margins)
    t1, grey, white, left = (_average_slices(v[box], spec.slices) for v in (t1, grey, white, left))

    tissue = np.maximum(grey, white) > _TISSUE_THRESHOLD
    labels = np.where(tissue, np.where(white > grey, 2, 1), 0).astype(np.uint8)
    if spec.relabel is not None:
        labels = spec.relabel(labels, Anatomy(left, where[(slice(None), *box)], brain.t1.shape), rng)
    images = [_contrast(rng, c, t1, grey, white, spec, brain.resolution) for c in range(len(spec.channels))]
    return images, labels


def build_dataset(
    raw: Path,
    dataset_id: int,
    name: str,
    variant: Variant | None = None,
    cases: int = 6,
    resolution: float = 4.0,
    seed: int = 0,
) -> Path:
    """Write a raw nnU-Net data set and return its folder, ``raw/DatasetXXX_NAME``.

    variant: None for T1-weighted images with grey and white matter. cases: how many, at least 2. resolution: in whole
    millimetres, at least 1. The same arguments give the same files. Raises ValueError for arguments outside these limits.
    """
    if cases < 2 or resolution < 1 or resolution != int(resolution):
        raise ValueError(
            f"[build_dataset] expected cases >= 2 and a resolution of whole millimetres, got {cases} and {resolution}"
        )
    import nibabel

    spec = variant or Variant()
    folder = raw / f"Dataset{dataset_id:03d}_{name}"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)

    brain = _load_brain(int(resolution))
    affine = np.diag([resolution, resolution, resolution * spec.slices, 1.0])
    for index in range(cases):
        images, labels = _make_case(np.random.default_rng([seed, index]), brain, spec)
        case = f"brain_{index:03d}"
        for channel, image in enumerate(images):
            nibabel.save(nibabel.Nifti1Image(image, affine), folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "labelsTr" / f"{case}.nii.gz")

    description: dict[str, Any] = {
        "channel_names": {str(i): channel for i, channel in enumerate(spec.channels)},
        "labels": spec.labels,
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "description": "Deformed copies of the MNI ICBM152 template with grey and white matter",
    }
    if spec.regions_class_order:
        description["regions_class_order"] = list(spec.regions_class_order)
    (folder / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return folder
