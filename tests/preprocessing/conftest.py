"""Fixtures of the tests of preprocessing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastnnunet_loader as fl


@pytest.fixture
def planned(nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that gives a data set, and a folder for nnU-Net's preprocessed data that has its plans only."""

    def factory(variant: str = "default") -> tuple[Any, Path]:
        dataset = nnunet_dataset(variant)
        folder = tmp_path / "nnUNet_preprocessed" / dataset.name
        folder.mkdir(parents=True)
        for name in ("nnUNetPlans.json", "dataset.json"):
            shutil.copy(dataset.preprocessed / dataset.name / name, folder / name)
        monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
        return dataset, folder

    return factory


@pytest.fixture
def installed() -> Any:
    """This package is under nnU-Net."""
    fl.install(threads=2)
    yield
    fl.uninstall()
