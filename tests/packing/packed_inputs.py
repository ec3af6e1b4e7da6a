"""Images to pack, written by the libraries that users write them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import blosc2
import nibabel
import numpy as np
import SimpleITK as sitk

import fastnnunet_loader as fl

SHAPE = (12, 20, 26)
SPACING = (0.8, 0.9, 2.5)
"""In the order of the file's axes."""

OBLIQUE = (0.9950041652780258, -0.09983341664682815, 0.0, 0.09983341664682815, 0.9950041652780258, 0.0, 0.0, 0.0, 1.0)


def volume(seed: int = 0, channels: int = 1, shape: tuple[int, ...] = SHAPE) -> Any:
    """(C, X, Y, Z) int16: smooth, with a dark border."""
    generator = np.random.default_rng(seed)
    grids = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    ball = 900 * np.exp(-3 * sum(grid**2 for grid in grids))
    made = ball + generator.normal(0, 40, (channels, *shape))
    made[:, :2] = made[..., :3] = 0
    return np.rint(made).astype(np.int16)


def labels_of(image: Any) -> Any:
    """(X, Y, Z) uint8: three classes."""
    return np.digitize(image[0], (300, 500, 700)).astype(np.uint8)


def itk(array: Any, spacing: tuple[float, ...] = SPACING, direction: tuple[float, ...] | None = None) -> Any:
    """An image of an array (X, Y, Z) or (Y, Z)."""
    image = sitk.GetImageFromArray(array)
    dims = image.GetDimension()
    image.SetSpacing(spacing[:dims])
    image.SetOrigin((-11.0, 7.5, 30.25)[:dims])
    if direction is not None:
        image.SetDirection(direction)
    return image


def write(file: Path, array: Any, **geometry: Any) -> Path:
    """Write one channel."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".npy":
        np.save(file, array)
    elif file.suffix == ".npz":
        np.savez_compressed(file, data=array)
    else:
        sitk.WriteImage(itk(array, **geometry), str(file))
    return file


def write_nibabel(file: Path, array: Any) -> Path:
    """Write an array (X, Y, Z) as `itk` would, with nibabel."""
    file.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag((-SPACING[0], -SPACING[1], SPACING[2], 1.0))
    affine[:3, 3] = (11.0, -7.5, 30.25)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine), file)
    return file


def write_dicom(folder: Path, array: Any, series: str = "1.2.826.0.1.3680043.2.1125.1", description: str = "thorax") -> Path:
    """Write an array (X, Y, Z) as a series: a file for each slice, in an order that names do not tell."""
    folder.mkdir(parents=True, exist_ok=True)
    image = itk(array)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(image.GetDepth()):
        one = image[:, :, number]
        place = image.TransformIndexToPhysicalPoint((0, 0, number))
        for key, value in {
            "0008|0060": "CT", "0008|103e": description, "0020|000e": series, "0020|0013": str(number + 1),
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0008|0018": f"{series}.{number + 1}", "0018|0050": str(SPACING[2]),
            "0020|0032": "\\".join(map(str, place)), "0020|0037": "1\\0\\0\\0\\1\\0", "0028|1053": "1", "0028|1052": "0",
        }.items():  # fmt: skip
            one.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{(number * 50) % 97:02d}-{series[-3:]}.dcm"))
        writer.Execute(one)
    return folder


def write_cases(root: Path, count: int = 3, channels: int = 1) -> tuple[Path, Path]:
    """Write NIfTI files of some cases with labels; return both folders."""
    for number in range(count):
        image = volume(number, channels)
        for channel, array in enumerate(image):
            ending = f"_{channel:04d}" if channels > 1 else ""
            write(root / "images" / f"case_{number}{ending}.nii.gz", array)
        write(root / "labels" / f"case_{number}.nii.gz", labels_of(image))
    return root / "images", root / "labels"


def read(folder: Path, name: str) -> Any:
    """The voxels of NAME.b2nd, (C, X, Y, Z)."""
    return blosc2.open(urlpath=str(folder / f"{name}.b2nd"), mode="r")[:]


def quietly(*args: Any, **options: Any) -> list[str]:
    """Pack without a word."""
    return fl.pack(*args, **{"threads": 2, "say": lambda _: None, **options})
