"""Predictions on a CUDA device: `fastnnunet predict` beside nnUNetv2_predict."""

from __future__ import annotations

import prediction_runs
from models import model_folder

from .check import Scene, check


def _both(scene: Scene, *more: str) -> str:
    model = model_folder(scene.dataset, scene.cache)
    images = scene.dataset.raw / scene.dataset.name / "imagesTr"
    ours, theirs = scene.folder / "ours", scene.folder / "theirs"
    prediction_runs.predict(scene.dataset, model, images, ours, "-device", "cuda", *more)
    prediction_runs.nnunet_predict(scene.dataset, model, images, theirs, "-device", "cuda", *more)
    names = {file.name for file in theirs.glob("*.nii.gz")}
    assert names and names == {file.name for file in ours.glob("*.nii.gz")}
    differing = total = 0
    for name in names:
        want, got = prediction_runs.labels(theirs / name), prediction_runs.labels(ours / name)
        assert want.shape == got.shape
        differing += int((want != got).sum())
        total += want.size
    assert differing <= 1e-3 * total, f"{differing} of {total} voxels differ"
    return f"{len(names)} cases; {differing} of {total} voxels differ"


@check("prediction: default", "the segmentations are nnU-Net's on the same device, but for classes that tie in half precision")
def default(scene: Scene) -> str:
    return _both(scene)


@check("prediction: without mirroring", "so they are without mirroring, with the probabilities saved")
def without_mirroring(scene: Scene) -> str:
    return _both(scene, "--disable_tta", "--save_probabilities")
