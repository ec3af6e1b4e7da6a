"""Trainers of users, made from a script as nnU-Net makes them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class Short(nnUNetTrainer):  # type: ignore[misc]
    """Two epochs of two batches."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 2, 1
        self.save_every = 1


def prepared(dataset: Any, trainer: str | type[nnUNetTrainer], start: bool = True) -> Any:
    """A trainer of that name or class, with its loaders built as a training builds them."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # nnU-Net's own
        if not isinstance(trainer, str):
            patch.setattr(run_training, "recursive_find_trainer_class_by_name", lambda _: trainer)
        name = trainer if isinstance(trainer, str) else trainer.__name__
        made = run_training.get_trainer_from_args(dataset.name, "3d_fullres", 0, name, device=torch.device("cpu"))
        made.initialize()
        if start:
            made.on_train_start()
    return made
