"""A data set with predictions of two models, as nnU-Net leaves them, and old data sets to convert."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

MODELS = ("2d", "3d_fullres")


def make_scene(dataset: Any, root: Path) -> Path:
    """Write it into `root`: nnUNet_raw, nnUNet_preprocessed, nnUNet_results, `gt`, `predictions`, `Task05_brain`, `old`, `mha`.

    Raw and preprocessed images are links to the data set's own.
    """
    raw = dataset.raw / dataset.name
    for name, folder in (("nnUNet_raw", dataset.raw), ("nnUNet_preprocessed", dataset.preprocessed)):
        (root / name).mkdir(parents=True)
        (root / name / dataset.name).symlink_to(folder / dataset.name)
    (root / "gt").symlink_to(raw / "labelsTr")
    described = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    order = described.get("regions_class_order")
    labels = [v for name, v in described["labels"].items() if name != "ignore"]
    for number, model in enumerate(MODELS):
        trained = root / "nnUNet_results" / dataset.name / f"nnUNetTrainer__nnUNetPlans__{model}"
        for place, label_file in enumerate(sorted((raw / "labelsTr").iterdir())):
            _predict(label_file, trained / f"fold_{place % 2}" / "validation", number + 1, labels, order, described)
        _describe(trained, raw, dataset)
    predictions = root / "predictions"
    predictions.mkdir()
    for validation in sorted((root / "nnUNet_results").glob("*/*3d_fullres/*/validation")):
        shutil.copytree(validation, predictions, dirs_exist_ok=True)
    _describe(predictions, raw, dataset)
    shutil.copytree(predictions, root / "others")
    for file in (root / "nnUNet_results").glob("*/*__2d/*/validation/*"):
        shutil.copy(file, root / "others" / file.name)
    _old(raw, root)
    return root


def _describe(folder: Path, raw: Path, dataset: Any) -> None:
    shutil.copy(raw / "dataset.json", folder / "dataset.json")
    (folder / "plans.json").write_text(json.dumps(dataset.plans), encoding="utf-8")


def _predict(file: Path, folder: Path, number: int, labels: Any, order: Any, described: dict[str, Any]) -> None:
    """Labels, moved and with islands; probabilities to match; and nnU-Net's properties."""
    folder.mkdir(parents=True, exist_ok=True)
    image = sitk.ReadImage(str(file))
    truth = sitk.GetArrayFromImage(image)
    truth[truth == described["labels"].get("ignore", -1)] = 0
    moved = np.roll(truth, number, axis=2)
    rng = np.random.default_rng([number, *file.name.encode()])
    for _ in range(6):
        x, y, z = (int(rng.integers(0, size - 3)) for size in moved.shape)
        moved[x : x + 2, y : y + 3, z : z + 2] = rng.integers(1, 3)
    channels = []
    for label in labels if order is None else [v for v in labels if v != 0]:
        mask = np.isin(moved, label if isinstance(label, list) else [label])
        channels.append(ndimage.gaussian_filter(mask.astype(np.float32), 0.7))
    probabilities = np.stack(channels)
    if order is None:
        probabilities /= probabilities.sum(0)
        moved = probabilities.argmax(0)
    stem = file.name[: -len(".nii.gz")]
    np.savez_compressed(folder / f"{stem}.npz", probabilities=probabilities.astype(np.float32 if number == 1 else np.float16))
    itk = {"spacing": image.GetSpacing(), "origin": image.GetOrigin(), "direction": image.GetDirection()}
    properties = {"sitk_stuff": itk, "spacing": list(image.GetSpacing())[::-1]}
    (folder / f"{stem}.pkl").write_bytes(pickle.dumps(properties))
    predicted = sitk.GetImageFromArray(moved.astype(np.uint8))
    predicted.CopyInformation(image)
    sitk.WriteImage(predicted, str(folder / file.name), True)


def _old(raw: Path, root: Path) -> None:
    task, mha = root / "Task05_brain", root / "mha"
    for folder in (*(task / name for name in ("imagesTr", "imagesTs", "labelsTr")), mha):
        folder.mkdir(parents=True)
    for number, image in enumerate(sorted((raw / "imagesTr").glob("*_0000.nii.gz"))[:3]):
        label = raw / "labelsTr" / image.name.replace("_0000", "")
        both = sitk.JoinSeries([sitk.ReadImage(str(image))] * 2)
        sitk.WriteImage(both, str(task / ("imagesTs" if number == 2 else "imagesTr") / label.name))
        if number < 2:
            shutil.copy(label, task / "labelsTr" / label.name)
        sitk.WriteImage(sitk.ReadImage(str(label)), str(mha / label.name.replace(".nii.gz", ".mha")))
    described = {"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background", "1": "grey", "2": "white"}}
    described |= {"training": [], "test": [], "numTest": 1, "numTraining": 2, "tensorImageSize": "4D", "name": "brain"}
    (task / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
