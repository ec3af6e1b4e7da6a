"""One case beside nnU-Net's own `run_case_save`, over schemes of normalisation, spacings, axes and labels."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from same_cases import assert_same_cases

from fastnnunet_loader.loading.reading.patience import Patience
from fastnnunet_loader.prediction.session.memory import Budget
from fastnnunet_loader.preprocessing.case import CasePreprocessor
from fastnnunet_loader.preprocessing.cases import TrainingCase


def both(
    dataset: Any, tmp_path: Path, changes: dict[str, Any], of_plans: dict[str, Any], case: TrainingCase, json: Any, threads: int
) -> list[str]:
    """Preprocess a case with both, compare, and return what was said."""
    plans = copy.deepcopy(dataset.plans)
    plans.update(of_plans)
    plans["configurations"]["3d_fullres"].update(changes)
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    said: list[str] = []
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    preprocessor = DefaultPreprocessor(verbose=False)
    target = str(tmp_path / "theirs" / case.name)
    preprocessor.run_case_save(target, list(case.images), case.label, manager, configuration, json)
    ours = CasePreprocessor(preprocessor, manager, configuration, json, said.append, Budget(2**33), Patience(0.0, said.append))
    assert ours.changes == ""
    ours.run(case, tmp_path / "ours", threads)
    assert_same_cases(tmp_path / "ours", tmp_path / "theirs", 1)
    return said


def case_of(dataset: Any) -> TrainingCase:
    folder = dataset.raw / dataset.name
    return TrainingCase(
        "brain_000", (str(folder / "imagesTr" / "brain_000_0000.nii.gz"),), str(folder / "labelsTr" / "brain_000.nii.gz")
    )


def json_of(dataset: Any) -> dict[str, Any]:
    from batchgenerators.utilities.file_and_folder_operations import load_json

    content: dict[str, Any] = load_json(str(dataset.raw / dataset.name / "dataset.json"))
    return content


ISOTROPIC = {"spacing": [3.1, 2.7, 3.6]}
THICK = {"spacing": [9.5, 2.7, 3.6]}


@pytest.mark.parametrize("changes", [ISOTROPIC, THICK, {"spacing": [2.9, 3.3]}], ids=["3d", "thick", "2d"])
@pytest.mark.parametrize(
    ("scheme", "masked"),
    [
        ("ZScoreNormalization", False),
        ("ZScoreNormalization", True),
        ("CTNormalization", False),
        ("NoNormalization", True),
        ("RescaleTo01Normalization", False),
        ("RGBTo01Normalization", False),
    ],
)
def test_every_scheme_and_spacing(
    nnunet_dataset: Any, tmp_path: Path, scheme: str, masked: bool, changes: dict[str, Any]
) -> None:
    dataset = nnunet_dataset()
    case, scaled = case_of(dataset), tmp_path / "image_0000.nii.gz"
    image = SimpleITK.Cast(SimpleITK.ReadImage(case.images[0]), SimpleITK.sitkFloat32)
    voxels = SimpleITK.GetArrayFromImage(image)
    voxels *= 250 / voxels.max()  # also within the range of a picture
    voxels[:3] = 0
    changed = SimpleITK.GetImageFromArray(voxels)
    changed.CopyInformation(image)
    SimpleITK.WriteImage(changed, str(scaled))
    changes = {**changes, "normalization_schemes": [scheme], "use_mask_for_norm": [masked]}
    if len(changes["spacing"]) == 2:
        changes["patch_size"] = [56, 48]
    case = TrainingCase(case.name, (str(scaled),), case.label)
    assert both(dataset, tmp_path, changes, {"transpose_forward": [1, 0, 2]}, case, json_of(dataset), 3) == []


def test_many_labels(nnunet_dataset: Any, tmp_path: Path) -> None:
    """Whose resizing nnU-Net does label by label."""
    dataset = nnunet_dataset()
    case, labels = case_of(dataset), tmp_path / "labels.nii.gz"
    image = SimpleITK.ReadImage(case.label)
    voxels = SimpleITK.GetArrayFromImage(image).astype(np.int16)
    x, y, z = np.indices(voxels.shape)
    voxels = np.where(voxels > 0, 1 + (x // 9 * 49 + y // 9 * 7 + z // 9) % 140, 0).astype(np.int16)
    many = SimpleITK.GetImageFromArray(voxels)
    many.CopyInformation(image)
    SimpleITK.WriteImage(many, str(labels))
    assert len(np.unique(voxels)) > 60
    assert voxels.max() > 127
    json = json_of(dataset)
    json["labels"] = {"background": 0, **{f"label {n}": n for n in range(1, int(voxels.max()) + 1)}}
    both(dataset, tmp_path, ISOTROPIC, {}, TrainingCase(case.name, case.images, str(labels)), json, 2)


def test_labels_that_are_no_whole_numbers_are_nnunets(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset()
    case, labels = case_of(dataset), tmp_path / "labels.nii.gz"
    image = SimpleITK.Cast(SimpleITK.ReadImage(case.label), SimpleITK.sitkFloat32) * 1.25
    SimpleITK.WriteImage(image, str(labels))
    both(dataset, tmp_path, ISOTROPIC, {}, TrainingCase(case.name, case.images, str(labels)), json_of(dataset), 1)
