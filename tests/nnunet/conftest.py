"""What the tests of trainers share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from training_runs import TRAINERS

PLANS: dict[str, Any] = {
    "configurations": {
        "2d": {"data_identifier": "nnUNetPlans_2d"},
        "3d_lowres": {"data_identifier": "nnUNetPlans_3d_lowres", "next_stage": "3d_cascade_fullres"},
        "3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"},
        "3d_large": {"inherits_from": "3d_fullres", "batch_size": 4},
        "3d_larger": {"inherits_from": "3d_large"},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "one": {"inherits_from": "other"},
        "other": {"inherits_from": "one"},
    }
}


@pytest.fixture
def environment(nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A data set, and results that are this test's own."""
    dataset = nnunet_dataset("default")
    for name, value in dataset.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINERS))
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    return dataset


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nnU-Net's folders with one data set that was planned, and preprocessed for 3d_fullres only."""
    for name in ("nnUNet_preprocessed", "nnUNet_results", "nnUNet_raw"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    dataset = tmp_path / "nnUNet_preprocessed" / "Dataset900_brains"
    (dataset / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    (dataset / "nnUNetPlans_3d_fullres" / "case.pkl").touch()
    for name in ("nnUNetPlans", "Mine"):
        (dataset / f"{name}.json").write_text(json.dumps(PLANS), encoding="utf-8")
    (dataset / "dataset.json").write_text("{}", encoding="utf-8")
    return dataset
