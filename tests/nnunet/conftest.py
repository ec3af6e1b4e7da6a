"""What the tests of trainers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_runs import TRAINERS


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
