"""Real images that pyradiomics carries in its source distribution for its own tests (BSD 3-Clause licence).

CTs of two chests have what a brain has not: large parts of one value, for nnU-Net clips CTs (`CTNormalization`) and air lies
below. The two brains are MR of few, thick slices.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

PACKAGE, VERSION = "pyradiomics", "3.0.1"
FETCH = Path(__file__).parents[1] / "scripts" / "source_archive.py"
NAMES = ("lung1", "lung2", "brain1", "brain2")


def scans_folder(cache: Path) -> Path:
    """The folder with `lung1_image.nrrd`, `lung1_label.nrrd`, `brain1_image.nrrd` and so on, fetched now if the cache has none.

    Safe to call from several processes at once.
    """
    root = cache / f"{PACKAGE}-{VERSION}-chests-and-brains"
    if root.is_dir():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="scans-") as scratch:
        command = [sys.executable, str(FETCH), PACKAGE, VERSION, scratch]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        if done.returncode != 0:
            raise RuntimeError(f"[{PACKAGE}] expected the source distribution, got:\n{done.stdout}")
        (archive,) = Path(scratch).glob("*.tar.gz")
        unpacked = Path(scratch, "scans")
        unpacked.mkdir()
        with tarfile.open(archive) as files:
            for name in [f"{scan}_{kind}.nrrd" for scan in NAMES for kind in ("image", "label")] + ["LICENSE.txt"]:
                (member,) = (m for m in files.getmembers() if m.isfile() and Path(m.name).name == name)
                content = files.extractfile(member)
                assert content is not None
                (unpacked / name).write_bytes(content.read())
        try:
            unpacked.rename(root)
        except OSError:
            if not root.is_dir():  # else another process was faster
                raise
    return root


@functools.cache
def _chest(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization

    read = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(folder / f"{name}_{kind}.nrrd")) for kind in ("image", "label")]
    # Every third voxel in plane: 1.7 to 1.9 mm, beside 5 mm between planes.
    image, lesion = (array[:, ::3, ::3] for array in read)
    labels = np.where(lesion > 0, 2, np.where(image < -500, 1, 0)).astype(np.int16)
    labels[image <= -1000] = -1
    # As nnU-Net's fingerprint of a data set with lung and lesion.
    foreground = image[labels > 0]
    properties = {
        "mean": float(foreground.mean()),
        "std": float(foreground.std()),
        "percentile_00_5": float(np.percentile(foreground, 0.5)),
        "percentile_99_5": float(np.percentile(foreground, 99.5)),
    }
    clipped = CTNormalization(False, properties).run(image.astype(np.float32), None)
    return np.ascontiguousarray(clipped, np.float32), labels


def chest(
    folder: Path, channels: int, shape: tuple[int, ...], *, segmentation_channels: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a CT as nnU-Net clips and normalises it: image (C, *shape) float32 and labels (C', *shape) int16.

    Labels: -1 air, 1 lung, 2 lesion, 0 the rest. A good part of the voxels has the lowest value and more have the highest one.
    Further channels are further crops; what lies outside of the scan is of the lowest value, too.
    """
    rng = np.random.default_rng(seed)
    images, segmentations = [], []
    for _ in range(max(channels, segmentation_channels)):
        image, labels = _chest(NAMES[int(rng.integers(len(NAMES)))], folder)
        sizes = (1,) * (3 - len(shape)) + tuple(shape)
        starts = [int(rng.integers(0, max(1, n - s + 1))) for n, s in zip(image.shape, sizes, strict=True)]
        box = tuple(slice(a, min(a + s, n)) for a, s, n in zip(starts, sizes, image.shape, strict=True))
        missing = [(0, s - (b.stop - b.start)) for b, s in zip(box, sizes, strict=True)]
        images.append(np.pad(image[box], missing, constant_values=image.min()).reshape(shape))
        segmentations.append(np.pad(labels[box], missing, constant_values=-1).reshape(shape))
    return np.stack(images[:channels]), np.stack(segmentations[:segmentation_channels])
