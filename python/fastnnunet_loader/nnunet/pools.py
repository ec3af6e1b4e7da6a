"""Threads in the place of nnU-Net's process pools: of unpacking, of the final validation's export, of the metrics."""

from __future__ import annotations

import sys
import threading
from typing import Any

from ..prediction.replacements.pools import ThreadMultiprocessing
from .patches import Patches

__all__ = ["patch_own_pool", "patch_pools", "patch_progress_bars"]


def patch_pools(patches: Patches) -> None:
    """Give nnU-Net's modules that make pools in a training a `multiprocessing` with threads."""
    import multiprocessing

    from nnunetv2.evaluation import evaluate_predictions
    from nnunetv2.training.dataloading import utils
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer

    for module in (trainer, evaluate_predictions, utils):
        patches.set(module, "multiprocessing", ThreadMultiprocessing(multiprocessing))


def patch_own_pool(cls: Any, patches: Patches) -> None:
    """A trainer with a validation of its own takes its pool from its own module's `multiprocessing`."""
    import multiprocessing

    module = sys.modules.get(cls.__module__)
    if "perform_actual_validation" in vars(cls) and getattr(module, "multiprocessing", None) is multiprocessing:
        patches.set(module, "multiprocessing", ThreadMultiprocessing(multiprocessing))


def patch_progress_bars(patches: Patches) -> None:
    """Give tqdm a lock of this process: its own lies in shared memory, for other processes that write to the terminal."""
    from tqdm import tqdm

    before, lock = vars(tqdm).get("_lock"), threading.RLock()
    tqdm.set_lock(lock)

    def undo() -> None:
        if vars(tqdm).get("_lock") is not lock:
            return
        if before is None:
            del tqdm._lock
        else:
            tqdm.set_lock(before)

    patches.on_undo(undo)
