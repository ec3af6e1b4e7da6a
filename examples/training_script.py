"""A training script of one's own: nnU-Net's trainer, subclassed here, fed by threads of this process.

python examples/training_script.py DATASET CONFIGURATION FOLD [DEVICE]
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

import fastnnunet_loader as fl


class ShortTrainer(nnUNetTrainer):
    """Ten epochs, and twice the share of patches with foreground."""

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("EPOCHS", "10"))
        self.num_iterations_per_epoch = int(os.environ.get("ITERATIONS", "250"))
        self.num_val_iterations_per_epoch = min(50, self.num_iterations_per_epoch)
        self.oversample_foreground_percent = 0.66


def main() -> None:
    dataset, configuration, fold = sys.argv[1:4]
    device = torch.device(sys.argv[4] if len(sys.argv) > 4 else "cuda")
    folder = Path(os.environ["nnUNet_preprocessed"]) / dataset
    plans = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    plans["continue_training"] = False

    fl.install(seed=1234)  # the only line that is not nnU-Net's
    trainer = ShortTrainer(
        plans, configuration, int(fold), json.loads((folder / "dataset.json").read_text(encoding="utf-8")), device
    )
    trainer.run_training()
    trainer.perform_actual_validation()


if __name__ == "__main__":
    main()
