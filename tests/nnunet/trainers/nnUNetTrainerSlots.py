"""A trainer of a user with a small network, found through nnUNet_extTrainer, that writes down the samples of each rank.

SLOTS: JSON, what it is asked for. SLOTS_RECORD: a folder; each rank adds JSON lines to its own file in it.
"""

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

ASKED: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 3,  # which two ranks divide into 2 and 1
    "killed": [],  # [rank, epoch]: SIGKILL before its first step of that epoch, unless torchrun has restarted it
    "lost": [],  # the same, with the torchrun that started it
    "failing": [],  # [rank, epoch]: an error there, unless torchrun has restarted it
    **json.loads(os.environ.get("SLOTS", "{}")),
}


def contents(batch: dict[str, Any]) -> list[str]:
    """The digest of each sample of a batch."""
    target = batch["target"]
    found = []
    for slot, key in enumerate(batch["keys"]):
        digest = hashlib.sha256(key.encode())
        for tensor in [batch["data"], *(target if isinstance(target, list) else [target])]:
            digest.update(tensor[slot].numpy().tobytes())
        found.append(digest.hexdigest()[:16])
    return found


class Network(torch.nn.Module):
    """One convolution."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.decoder = torch.nn.Conv3d(channels, classes, 3, padding=1)  # nnU-Net asks it for deep supervision

    def forward(self, images: torch.Tensor) -> Any:
        return self.decoder(images)


class nnUNetTrainerSlots(nnUNetTrainer):
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.configuration_manager.configuration["batch_size"] = ASKED["batch_size"]
        self.num_epochs, self.enable_deep_supervision = ASKED["epochs"], False
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch, self.save_every = 2, 1, 1

    def initialize(self) -> None:
        torch.manual_seed(0)  # the network's first weights
        super().initialize()

    @staticmethod
    def build_network_architecture(
        plans_manager: Any, configuration_manager: Any, num_input_channels: int, num_output_channels: int, _: bool = True
    ) -> Any:
        return Network(num_input_channels, num_output_channels)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        here = [self.local_rank, self.current_epoch]
        if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
            if ASKED["lost"] == here:
                os.kill(os.getppid(), signal.SIGKILL)
            if here in (ASKED["killed"], ASKED["lost"]):
                os.kill(os.getpid(), signal.SIGKILL)
            if ASKED["failing"] == here:
                raise ArithmeticError("divided by nothing")
        self._record("train", batch)
        return super().train_step(batch)

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._record("val", batch)
        return super().validation_step(batch)

    def _record(self, phase: str, batch: dict[str, Any]) -> None:
        attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        entry = {"attempt": attempt, "phase": phase, "epoch": self.current_epoch, "slots": contents(batch)}
        with Path(os.environ["SLOTS_RECORD"], f"{self.local_rank}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry | {"threads": torch.get_num_threads(), "device": str(self.device)}) + "\n")
