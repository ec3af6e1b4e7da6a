"""The example of a trainer with its own augmentation and loss: found by its name, trained, and native but for its transform."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fastnnunet_loader as fl
from datasets import Dataset

FOLDER = Path(__file__).parents[2] / "examples" / "custom_trainer"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("nnUNetTrainerGentle", FOLDER / "nnUNetTrainerGentle.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_its_own_transform_runs_in_python(example: Any) -> None:
    tree = example.nnUNetTrainerGentle.get_training_transforms(
        (16, 16, 16), (-0.5, 0.5), [[1, 1, 1], [0.5, 0.5, 0.5]], (0, 1, 2), False, use_mask_for_norm=[False]
    )
    pipeline = fl.compile_transforms(tree)
    assert len(pipeline.fallbacks) == 1 and "Gradient" in pipeline.fallbacks[0]
    drawn = {
        type(transform).__name__ for step in range(200) for transform, _ in pipeline.draw((1, 20, 20, 20), seed=1, step=step)
    }
    assert {"SpatialTransform", "ContrastTransform", "Gradient"} <= drawn
    assert "GammaTransform" not in drawn
    image = np.zeros((1, 20, 20, 20), np.float32)
    out = pipeline(image=image, segmentation=np.zeros(image.shape, np.int16), seed=1)
    assert [tuple(target.shape) for target in out["segmentation"]] == [(1, 16, 16, 16), (1, 8, 8, 8)]


@pytest.mark.slow
def test_it_trains(example: Any, nnunet_dataset: Callable[[str], Dataset]) -> None:
    dataset = nnunet_dataset("default")
    options = ["3d_fullres", "0", "-tr", "nnUNetTrainerGentle", "-device", "cpu", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "fastnnunet_loader.cli", "train", dataset.name, *options],
        env={**os.environ, "nnUNet_extTrainer": str(FOLDER), "EPOCHS": "1", "ITERATIONS": "2", "nnUNet_compile": "f"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Gradient" in done.stdout
    (folder,) = (dataset.results / dataset.name).iterdir()
    assert folder.name == "nnUNetTrainerGentle__nnUNetPlans__3d_fullres"
    assert (folder / "fold_0" / "validation" / "summary.json").is_file()


def test_its_loss_weighs_dice_twice(example: Any, nnunet_dataset: Callable[[str], Dataset]) -> None:
    dataset = nnunet_dataset("default")
    description = json.loads((dataset.preprocessed / dataset.name / "dataset.json").read_text(encoding="utf-8"))
    plans = {**dataset.plans, "continue_training": False}
    trainer = example.nnUNetTrainerGentle(plans, "3d_fullres", 0, description, torch.device("cpu"))
    loss = trainer._build_loss()
    assert loss.loss.weight_dice == 2 and loss.loss.weight_ce == 1
