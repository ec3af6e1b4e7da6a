"""What a user writes for MONAI's runner. It runs in MONAI's environment."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import torch
from monai.apps.nnunet import nnUNetV2Runner
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def _runner(dataset: str, results: str) -> nnUNetV2Runner:
    folders = {"nnunet_raw": os.environ["nnUNet_raw"], "nnunet_preprocessed": os.environ["nnUNet_preprocessed"]}
    settings = {**folders, "nnunet_results": results, "dataset_name_or_id": dataset}
    return nnUNetV2Runner(settings, trainer_class_name="nnUNetTrainerDemo", export_validation_probabilities=False)


def train() -> None:
    dataset, results = sys.argv[1:]
    _runner(dataset, results).train_single_model(config="3d_fullres", fold=0)
    (fold,) = Path(results).glob("*/*/fold_0")
    assert (fold / "checkpoint_final.pth").is_file()
    assert (fold / "validation" / "summary.json").is_file()


def predict() -> None:
    dataset, results, images, model = sys.argv[1:]
    # The runner's predictor is for CUDA, and nothing says otherwise.
    init = inspect.unwrap(nnUNetPredictor.__init__)
    init.__defaults__ = tuple(torch.device("cpu") if isinstance(value, torch.device) else value for value in init.__defaults__)
    _runner(dataset, results).predict(images, results, model, use_folds=(0,), verbose=False)
