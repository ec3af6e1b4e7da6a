"""One fold of one configuration: how far its training is, and the rest of it."""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ...checkpoints import naming_checkpoints
from ...prediction.session.progress import duration
from .options import Fold, Options

__all__ = ["State", "Training"]

CHECKPOINTS = ("checkpoint_latest.pth", "checkpoint_best.pth")
"""From which nnU-Net continues a training that is not at its end."""


class State(Enum):
    """How far a training is."""

    NEW = "new"
    BEGUN = "begun"
    """There is a checkpoint to continue from."""
    TRAINED = "trained"
    """The final validation, or a part of what it has to write, is missing."""
    FINISHED = "finished"


@dataclass(frozen=True)
class Training:
    """One training."""

    options: Options
    plans: str
    configuration: str
    fold: Fold
    npz: bool = False
    """Whether the final validation has to write probabilities."""
    next_stages: tuple[str, ...] = ()
    """Configurations for which it has to write the labels that they begin with."""

    @property
    def title(self) -> str:
        """Its name as a step."""
        return f"training of {self.configuration}, fold {self.fold}"

    @property
    def model(self) -> Path:
        """The folder of all folds."""
        return self.options.results / f"{self.options.trainer}__{self.plans}__{self.configuration}"

    @property
    def folder(self) -> Path:
        """The folder of this fold."""
        return self.model / f"fold_{self.fold}"

    @property
    def summary(self) -> Path:
        """What the final validation writes last."""
        return self.folder / "validation" / "summary.json"

    def state(self) -> State:
        """Look at its files."""
        final = self.folder / "checkpoint_final.pth"
        if not final.is_file():
            return State.BEGUN if any((self.folder / name).is_file() for name in CHECKPOINTS) else State.NEW
        # The validation of an earlier training may be there still.
        if not self.summary.is_file() or self.summary.stat().st_mtime < final.stat().st_mtime:
            return State.TRAINED
        return State.FINISHED if all(self._is_whole(case) for case in self._validated()) else State.TRAINED

    def dice(self) -> float:
        """The mean over the foreground in the final validation."""
        return float(json.loads(self.summary.read_text(encoding="utf-8"))["foreground_mean"]["Dice"])

    def run(self, tell: Callable[[str], None]) -> str:
        """Train, or go on with it, and validate. Returns what is to be said of it.

        tell: called after each epoch.
        """
        try:
            said = self._train(tell)
        finally:
            _forget_networks(self.options.device)
        return "; ".join(filter(None, (f"Dice {self.dice():.3f}", said)))

    def _train(self, tell: Callable[[str], None]) -> str:
        """Keeps nothing of the network once it has returned."""
        import torch
        from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

        state = self.state()
        continues, only_validation = state is State.BEGUN, state is State.TRAINED
        with naming_checkpoints():
            trainer = get_trainer_from_args(
                self.options.dataset,
                self.configuration,
                self.fold,
                self.options.trainer,
                self.plans,
                continues,
                device=torch.device(self.options.device),
            )
            maybe_load_checkpoint(trainer, continues, only_validation)
            if self.options.device == "cuda":  # as nnUNetv2_train has it
                torch.backends.cudnn.deterministic = False
                torch.backends.cudnn.benchmark = True
            watched = _Watched(trainer, tell)
            if not only_validation:
                trainer.run_training()
            trainer.perform_actual_validation(self.npz)
        return watched.report

    def _validated(self) -> list[str]:
        described = json.loads((self.options.preprocessed / "dataset.json").read_text(encoding="utf-8"))
        ending = str(described["file_ending"])
        return [file.name[: -len(ending)] for file in self.summary.parent.glob(f"*{ending}")]

    def _is_whole(self, case: str) -> bool:
        if self.npz and not all((self.summary.parent / f"{case}{ending}").is_file() for ending in (".npz", ".pkl")):
            return False
        folders = [self.model / "predicted_next_stage" / name for name in self.next_stages]
        return all(any((folder / f"{case}{ending}").is_file() for ending in (".b2nd", ".npz")) for folder in folders)


class _Watched:
    """Tells of a trainer's epochs, and of its loader at the end."""

    def __init__(self, trainer: Any, tell: Callable[[str], None]) -> None:
        self.report = ""
        self._tell = tell
        self._trainer = trainer
        self._started = time.monotonic()
        self._first = int(trainer.current_epoch)
        end_epoch, end_training = trainer.on_epoch_end, trainer.on_train_end

        def on_epoch_end() -> None:
            end_epoch()
            self._tell(self._epoch())

        def on_train_end() -> None:
            self.report = self._loader()
            end_training()

        trainer.on_epoch_end, trainer.on_train_end = on_epoch_end, on_train_end

    def _epoch(self) -> str:
        done, total = int(self._trainer.current_epoch), int(self._trainer.num_epochs)
        parts = [f"epoch {done} of {total}"]
        # A trainer may have a log of its own.
        with contextlib.suppress(AttributeError, AssertionError, IndexError, KeyError, TypeError, ValueError):
            # nnU-Net's estimate, from the patches of its validation batches.
            parts.append(f"Dice of patches {float(self._trainer.logger.get_value('mean_fg_dice', step=-1)):.2f}")
        if self._first < done < total:
            left = (time.monotonic() - self._started) / (done - self._first) * (total - done)
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def _loader(self) -> str:
        loader = getattr(self._trainer.dataloader_train, "loader", None)
        if loader is None or not hasattr(loader, "stats"):
            return ""
        stats = loader.stats()
        return (
            f"{stats.batches} training batches, the first after {stats.first_batch:.2f} s; the training waited "
            f"{stats.waited:.1f} s for batches in all; {stats.threads} thread{'s' * (stats.threads != 1)}, no worker process"
        )


def _forget_networks(device: str) -> None:
    """Give back what the last training took: torch compiles code for a few networks of one class only, and keeps GPU memory."""
    import torch

    gc.collect()
    torch.compiler.reset()
    if device == "cuda":
        torch.cuda.empty_cache()
