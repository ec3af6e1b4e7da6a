"""`install()` and `uninstall()`: everything that is replaced in nnU-Net and around it, and put back."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from ...evaluation import natives
from ...known import versions
from ...prediction.replacements.install import patch_predictor
from ...prediction.replacements.options import Options
from ...preprocessing.replacements import patch_preprocessing
from ...settings import Settings
from ...statistics.places import missing, taken
from ...system import given_threads
from ..augmenter import patch_augmenters
from ..checkpoint import patch_torch
from ..distributed.spawning import Spawning
from ..replacing.patches import Patches
from ..replacing.planning import patch_planning
from ..replacing.pools import patch_pools, patch_progress_bars
from ..runs import Installation, installation, set_installation
from ..trainer import patch_trainer

__all__ = ["install", "uninstall"]

_log = logging.getLogger("fastnnunet_loader")


def _patch_ranks(patches: Patches) -> None:
    """With -num_gpus nnU-Net starts a process for each rank."""
    import torch.multiprocessing
    from nnunetv2.run import run_training

    def settings() -> Settings | None:
        installed = installation()
        return None if installed is None else installed.settings

    patches.set(run_training, "mp", Spawning(torch.multiprocessing, settings, install))


def _patch_compiler(patches: Patches) -> None:
    """Keep torch.compile's compiler in this process, unless the user has chosen otherwise."""
    name = "TORCHINDUCTOR_COMPILE_THREADS"
    if name in os.environ:
        return
    os.environ[name] = "1"

    def unset() -> None:
        if os.environ.get(name) == "1":
            del os.environ[name]

    patches.on_undo(unset)
    # The variable is read once, when this module is imported.
    config: Any = sys.modules.get("torch._inductor.config")
    if config is None:
        return
    before = config.compile_threads
    config.compile_threads = 1

    def restore() -> None:
        if config.compile_threads == 1:
            config.compile_threads = before

    patches.on_undo(restore)


def _prediction_options() -> Options:
    installed = installation()
    assert installed is not None
    return Options.of(installed.settings)


def install(settings: Settings) -> None:
    """See `fastnnunet_loader.install`."""
    stats, metrics = (None if file is None else Path(file) for file in (settings.stats, settings.metrics))
    if metrics is not None and (package := missing()):
        raise ModuleNotFoundError(f"[metrics] {package}")
    if problem := taken(stats, metrics):
        raise ValueError(problem)
    given_threads()  # a wrong nnUNet_n_proc_DA is reported now
    installed = installation()
    if installed is not None:
        installed.settings = settings
        return
    assert natives is not None  # importing it made the stand-ins
    versions.require()
    note = versions.note()
    if note is not None:
        _log.warning("%s", note)
    patches = Patches()
    set_installation(Installation(settings, patches, [] if note is None else [note]))
    try:
        _patch_compiler(patches)
        patch_augmenters(patches)
        patch_torch(patches)
        patch_pools(patches)
        patch_progress_bars(patches)
        patch_trainer(patches)
        _patch_ranks(patches)
        patch_predictor(patches.set, _prediction_options)
        patch_preprocessing(patches)
        patch_planning(patches)
    except BaseException:
        uninstall()
        raise


def uninstall() -> None:
    """See `fastnnunet_loader.uninstall`."""
    installed = installation()
    if installed is not None:
        set_installation(None)
        installed.patches.undo()
