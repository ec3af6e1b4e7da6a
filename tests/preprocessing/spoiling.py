"""Damages raw images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK


def as_nrrd(*folders: Path) -> None:
    """Rewrite a raw data set, the first folder, as NRRD: readers of NIfTI read 0 for NaN. The others have a dataset.json."""
    for file in folders[0].rglob("*.nii.gz"):
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)), str(file).replace(".nii.gz", ".nrrd"))
        file.unlink()
    for folder in folders:
        description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        description["file_ending"] = ".nrrd"
        (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")


def add_nan(file: Path) -> None:
    """Make one voxel NaN."""
    image = SimpleITK.ReadImage(str(file))
    voxels = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    voxels[20, 20, 20] = np.nan
    damaged = SimpleITK.GetImageFromArray(voxels)
    damaged.CopyInformation(image)
    SimpleITK.WriteImage(damaged, str(file))
