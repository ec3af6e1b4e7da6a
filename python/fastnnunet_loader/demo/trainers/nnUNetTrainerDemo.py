"""A trainer that nnU-Net finds through ``nnUNet_extTrainer``, as users' own trainers are found."""

import os
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerDemo(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with a schedule of seconds.

    FASTNNUNET_DEMO_EPOCHS, FASTNNUNET_DEMO_ITERATIONS and FASTNNUNET_DEMO_VAL_ITERATIONS change it.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("FASTNNUNET_DEMO_EPOCHS", "2"))
        self.num_iterations_per_epoch = int(os.environ.get("FASTNNUNET_DEMO_ITERATIONS", "3"))
        self.num_val_iterations_per_epoch = int(os.environ.get("FASTNNUNET_DEMO_VAL_ITERATIONS", "2"))
