"""nnU-Net's own data loaders of a planned and preprocessed data set."""

from __future__ import annotations

import json
from typing import Any

import torch


def trainer_of(dataset: Any, configuration: str = "3d_fullres", trainer_class: type | None = None) -> Any:
    """An nnU-Net trainer on the CPU that writes no log."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    folder = dataset.preprocessed / dataset.name
    plans = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    plans["continue_training"] = False
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    trainer = (trainer_class or nnUNetTrainer)(plans, configuration, 0, description, torch.device("cpu"))
    trainer.print_to_log_file = lambda *_, **__: None
    return trainer


def nnunet_loaders(dataset: Any, monkeypatch: Any, configuration: str = "3d_fullres", **settings: Any) -> tuple[Any, Any]:
    """(training, validation): nnUNetDataLoader objects as the trainer makes them. They have started nothing."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")  # so that nnU-Net starts no processes for them
    if "cascade" in configuration:
        dataset.add_previous_stage("nnUNetTrainer")
    trainer = trainer_of(dataset, configuration)
    trainer.initialize()
    for name, value in settings.items():
        setattr(trainer, name, value)
    train, val = trainer.get_dataloaders()
    monkeypatch.delenv("nnUNet_n_proc_DA")
    return train.data_loader, val.data_loader


def nnunet_loader(dataset: Any, transforms: Any, patch_size: tuple[int, ...] = (16, 16, 16), batch_size: int = 2) -> Any:
    """An nnUNetDataLoader of all cases with these transforms and no more."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = dataset.preprocessed / dataset.name
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    labels = PlansManager(str(folder / "nnUNetPlans.json")).get_label_manager(description)
    cases = str(dataset.folder())
    return nnUNetDataLoader(
        infer_dataset_class(cases)(cases), batch_size, patch_size, patch_size, labels,
        oversample_foreground_percent=0.5, transforms=transforms,
    )  # fmt: skip
