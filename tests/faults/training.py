"""A training of nnU-Net's own trainer that raises in the middle."""

from __future__ import annotations

import os
from typing import Any

import torch

import fastnnunet_loader as fl

from .scene import Scene


def train_until(scene: Scene, error: Exception) -> tuple[Any, Exception | None]:
    """Train on the CPU; the third step raises. Returns the trainer and what run_training raised."""
    from nnunetv2.run.run_training import get_trainer_from_args
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    own = scene.root / "nnUNet_results"
    own.mkdir()
    fl.install(threads=2, seed=1)
    os.environ["nnUNet_results"] = str(own)
    trainer: Any = get_trainer_from_args(
        os.environ["FAULTS_DATASET"], "3d_fullres", 0, "nnUNetTrainer", "nnUNetPlans", False, torch.device("cpu")
    )
    trainer.steps = 0
    step = nnUNetTrainer.train_step

    def failing(batch: Any) -> Any:
        trainer.steps += 1
        if trainer.steps == 3:
            raise error
        return step(trainer, batch)

    trainer.train_step = failing
    trainer.num_iterations_per_epoch = 5
    try:
        trainer.run_training()
    except Exception as raised:
        return trainer, raised
    finally:
        fl.uninstall()
    return trainer, None
