"""A trainer of a user, found through nnUNet_extTrainer, that writes down which batches it saw.

RECORD_FILE: a line for each batch: phase, epoch, digest. RECORD_EPOCHS: epochs in all. RECORD_STOP_AFTER: Ctrl-C at the
end of that epoch.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def digest_of(batch: dict[str, Any]) -> str:
    target = batch["target"]
    digest = hashlib.sha256(repr(list(batch["keys"])).encode())
    for tensor in [batch["data"], *(target if isinstance(target, list) else [target])]:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


class nnUNetTrainerRecording(nnUNetTrainer):
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("RECORD_EPOCHS", "2"))
        self.num_iterations_per_epoch = 3
        self.num_val_iterations_per_epoch = 2
        self.save_every = 1

    def initialize(self) -> None:
        torch.manual_seed(0)  # the network's first weights
        # On a GPU the loss has no deterministic form; batches do not depend on it.
        torch.use_deterministic_algorithms(True, warn_only=self.device.type != "cpu")
        super().initialize()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._record("train", batch)
        return super().train_step(batch)

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._record("val", batch)
        return super().validation_step(batch)

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        if self.current_epoch == int(os.environ.get("RECORD_STOP_AFTER", "-1")):
            raise KeyboardInterrupt

    def _record(self, phase: str, batch: dict[str, Any]) -> None:
        with Path(os.environ["RECORD_FILE"]).open("a", encoding="utf-8") as file:
            file.write(f"{phase} {self.current_epoch} {digest_of(batch)}\n")
