"""Runs `fastnnunet predict` and nnU-Net's own command as a user does: in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

OURS = (sys.executable, "-m", "fastnnunet_loader.cli", "predict")
THEIRS = (
    sys.executable,
    "-c",
    "from nnunetv2.inference.predict_from_raw_data import predict_entry_point as predict; predict()",
)


def private_mounts() -> list[str]:
    """What a command runs under to mount for itself alone; empty where the system does not allow it."""
    for under in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        if shutil.which("unshare") is None:
            break
        probe = [*under, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return under
    return []


def options(model: Path, images: Path, output: Path, *more: str) -> list[str]:
    """What both commands take."""
    trainer, plans, configuration = model.name.split("__")
    chosen = ["-d", model.parent.name, "-tr", trainer, "-p", plans, "-c", configuration, "-device", "cpu"]
    folds = [] if "-f" in more else ["-f", "0"]
    return ["-i", str(images), "-o", str(output), *chosen, *folds, *more]


def environment(dataset: Any, model: Path) -> dict[str, str]:
    """The environment of a user whose nnUNet_results has this model."""
    return {**os.environ, **dataset.env, "nnUNet_results": str(model.parents[1])}


def run(
    command: Sequence[str], dataset: Any, model: Path, images: Path, output: Path, *more: str, under: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*under, *command, *options(model, images, output, *more)],
        env=environment(dataset, model),
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def predict(dataset: Any, model: Path, images: Path, output: Path, *more: str) -> None:
    """Predict with this package."""
    done = run(OURS, dataset, model, images, output, *more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def nnunet_predict(dataset: Any, model: Path, images: Path, output: Path, *more: str) -> None:
    """Predict with nnU-Net."""
    done = run(THEIRS, dataset, model, images, output, *more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def labels(file: Path) -> np.ndarray:
    """A segmentation's voxels."""
    return np.asarray(nibabel.load(file).dataobj)


TIES = 2e-5
"""Share of the voxels that may go to the other of two classes that tie: images are resized in float32 here and in float64 by
nnU-Net, so the network's input differs in its last bits. Logits of the same input are equal (test_windows.py)."""


def assert_same_segmentations(ours: Path, theirs: Path, ties: float = 0.0) -> None:
    """Every file of nnU-Net's is there, and every voxel of every segmentation is the same, but for a share that tie."""
    expected = {file.name for file in theirs.iterdir()}
    assert {file.name for file in ours.iterdir()} == expected
    files = sorted(theirs.glob("*.nii.gz"))
    assert files
    for file in files:
        want, got = labels(file), labels(ours / file.name)
        assert np.count_nonzero(want), "a segmentation of background alone shows nothing"
        assert want.dtype == got.dtype
        assert np.array_equal(nibabel.load(file).affine, nibabel.load(ours / file.name).affine)
        differ = np.count_nonzero(want != got)
        assert differ <= ties * want.size, f"{file.name}: {differ} of {want.size} voxels differ"
