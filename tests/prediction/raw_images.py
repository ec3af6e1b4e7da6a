"""Images to predict: those of a data set, with another voxel size, so that all of them have to be resampled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from scipy.ndimage import zoom


def folder_of_images(dataset: Any) -> Path:
    """The folder of a data set's images."""
    return Path(dataset.raw) / dataset.name / "imagesTr"


def copy_images(dataset: Any, folder: Path, count: int = 2, scale: tuple[float, float, float] = (1.3, 1.2, 1.1)) -> Path:
    """Copy the images of the first cases with voxels that are `scale` times smaller."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder_of_images(dataset).iterdir()):
        if int(file.name.split("_")[1]) >= count:
            continue
        image = nibabel.load(file)
        if scale == (1, 1, 1):
            shutil.copy(file, folder / file.name)
            continue
        voxels = zoom(np.asarray(image.dataobj, np.float32), scale, order=1)
        voxels[voxels < 1] = 0
        affine = image.affine @ np.diag([*(1 / np.asarray(scale)), 1])
        nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), affine), folder / file.name)
    return folder


def cut_images(dataset: Any, folder: Path, count: int, shape: tuple[int, int, int]) -> Path:
    """Write images of so many voxels, each another part of one of a data set's images."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = sorted(folder_of_images(dataset).glob("*_0000.nii.gz"))
    for number in range(count):
        image = nibabel.load(whole[number % len(whole)])
        begin = [(have - want) // 2 + number // len(whole) for have, want in zip(image.shape, shape, strict=True)]
        part = image.slicer[tuple(slice(first, first + want) for first, want in zip(begin, shape, strict=True))]
        nibabel.save(part, folder / f"brain_{number:03}_0000.nii.gz")
    return folder


def images_of(folder: Path, case: str) -> list[str]:
    """The files of a case, one for each channel."""
    return [str(file) for file in sorted(folder.glob(f"{case}_*"))]


def description(dataset: Any) -> dict[str, Any]:
    """A data set's dataset.json."""
    content: dict[str, Any] = json.loads((Path(dataset.raw) / dataset.name / "dataset.json").read_text(encoding="utf-8"))
    return content
