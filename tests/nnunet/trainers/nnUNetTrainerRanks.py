"""A trainer of a user for two ranks on the CPU, found through nnUNet_extTrainer, that writes down what each rank did.

RANKS: JSON, what it is asked for (see `Asked`). RANKS_RECORD: a folder; each rank adds JSON lines to its own file in it.
"""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from fastnnunet_loader.nnunet import validation_cases

ASKED: dict[str, Any] = {
    "epochs": 2,
    "stop_after": -1,  # InterruptedError on every rank at the end of that epoch, counted from 1
    "own_cases": False,  # each rank trains on cases of its own: those at its number, and every second one from there
    "slow_rank": -1,  # whose transform in Python takes `seconds` in its first two calls
    "seconds": 0.0,
    "failing_rank": -1,  # whose transform in Python fails in its third call
    "oversample": 0.33,
    "alone": -1,  # a rank that makes a further loader, which no other rank has
    "wait_on": -1,  # a rank that waits in its first training step until it is stopped
    **json.loads(os.environ.get("RANKS", "{}")),
}


class InPython(BasicTransform):
    """Sleeps in its first two calls or fails in the third, and changes nothing."""

    def __init__(self, seconds: float, fails: bool) -> None:
        super().__init__()
        self.calls, self.seconds, self.fails = 0, seconds, fails

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        self.calls += 1
        if self.calls <= 2:
            time.sleep(self.seconds)
        elif self.fails:
            raise ArithmeticError("divided by nothing")
        return data_dict


def noting(read: Any, note: Any) -> Any:
    """The function that reads a case of the final validation in full, with a note of each."""

    def first_bad_file(files: Any, *args: Any) -> Any:
        note(read=files.name)
        return read(files, *args)

    return first_bad_file


class nnUNetTrainerRanks(nnUNetTrainer):
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.device, self.grad_scaler = torch.device("cpu"), None
        self.num_epochs = ASKED["epochs"]
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch, self.save_every = 2, 1, 1
        self.oversample_foreground_percent = ASKED["oversample"]

    def initialize(self) -> None:
        torch.manual_seed(0)  # the network's first weights
        torch.set_num_threads(1)
        super().initialize()

    def do_split(self) -> tuple[list[str], list[str]]:
        training, to_validate = super().do_split()
        return (training[self.local_rank :: 2] if ASKED["own_cases"] else training), to_validate

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        number = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        if number in (ASKED["slow_rank"], ASKED["failing_rank"]):
            transforms.transforms.append(InPython(ASKED["seconds"], number == ASKED["failing_rank"]))
        return transforms

    def get_dataloaders(self) -> Any:
        if ASKED["alone"] == self.local_rank:
            self.further = super().get_dataloaders()
        return super().get_dataloaders()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        self.inference_allowed_mirroring_axes = None  # an eighth of the time
        with mock.patch.object(validation_cases, "first_bad_file", noting(validation_cases.first_bad_file, self._record)):
            super().perform_actual_validation(save_probabilities)

    def print_to_log_file(self, *args: Any, **kwargs: Any) -> None:
        if args and str(args[0]).startswith("predicting "):
            self._record(predicts=args[0].split()[1])
        super().print_to_log_file(*args, **kwargs)

    def on_epoch_start(self) -> None:
        super().on_epoch_start()
        for name in ("train", "val"):
            loader = getattr(self, f"dataloader_{name}").loader
            self._record(
                loader=name,
                threads=loader.threads,
                budget=loader.memory_budget,
                seed=loader.seed,
                rank=loader.rank,
                oversample=self.oversample_foreground_percent,
                excluded=loader.state_dict()["excluded"],
            )

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._record_batch("train", batch)
        if ASKED["wait_on"] == self.local_rank:
            self._record(waits=os.getpid())
            time.sleep(600)
        return super().train_step(batch)

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._record_batch("val", batch)
        return super().validation_step(batch)

    def on_epoch_end(self) -> None:
        if ASKED["own_cases"] and ASKED["stop_after"] == self.current_epoch + 1:
            # What is made ahead meets the damaged case, if the batches of the epoch have not; the checkpoint comes after that.
            until = time.monotonic() + 10
            while not self.dataloader_train.loader.state_dict()["excluded"] and time.monotonic() < until:
                time.sleep(0.02)
        super().on_epoch_end()
        if self.current_epoch == ASKED["stop_after"]:
            raise InterruptedError("stopped as asked")

    def _record_batch(self, phase: str, batch: dict[str, Any]) -> None:
        target = batch["target"]
        digest = hashlib.sha256()
        for tensor in [batch["data"], *(target if isinstance(target, list) else [target])]:
            digest.update(tensor.numpy().tobytes())
        self._record(phase=phase, epoch=self.current_epoch, keys=list(batch["keys"]), digest=digest.hexdigest())

    def _record(self, **entry: Any) -> None:
        with Path(os.environ["RANKS_RECORD"], f"{self.local_rank}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
