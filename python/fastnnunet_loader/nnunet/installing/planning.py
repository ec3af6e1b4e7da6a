"""`install()` for the commands that plan and preprocess: what these use of nnU-Net, without importing the rest of it.

Trainers and predictors bring torch's compiler and libraries for plots, and that takes longer than a small data set.
If a planner or a preprocessor imports one of them all the same, everything is installed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from ...known import versions
from ...prediction.replacements.natives import patch_functions
from ...prediction.replacements.options import Options
from ...prediction.replacements.options import install as install_options
from ...preprocessing.replacements import patch_preprocessing
from ...settings import Settings
from ...system import given_threads
from .. import install, uninstall
from ..replacing.imports import when_imported
from ..replacing.patches import Patches
from ..replacing.planning import patch_planning
from ..replacing.pools import patch_pools, patch_progress_bars
from ..runs import installation

__all__ = ["THE_REST", "installed_for_planning"]

THE_REST = (
    "nnunetv2.inference.predict_from_raw_data",
    "nnunetv2.run.run_training",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
)
"""Modules of nnU-Net without which there are no trainers and no predictors."""

_log = logging.getLogger("fastnnunet_loader")


@contextmanager
def installed_for_planning(settings: Settings) -> Iterator[None]:
    """Inside, nnU-Net's functions that plan and preprocess work on threads. Afterwards everything is as it was before.

    Raises:
        NotSupportedError: nnU-Net is older than this package supports.
    """
    before = installation()
    if before is not None or any(name in sys.modules for name in THE_REST):
        kept = None if before is None else before.settings
        install(settings)
        try:
            yield
        finally:
            uninstall() if kept is None else install(kept)
        return
    given_threads()  # a wrong nnUNet_n_proc_DA is reported now
    versions.require()
    if note := versions.note():
        _log.warning("%s", note)
    patches = Patches()

    def install_all(imported: ModuleType) -> None:
        # They import each other; the outermost comes last.
        if any(_half_imported(name) for name in THE_REST if name != imported.__name__):
            return
        patches.undo()
        install(settings)

    stop = when_imported(THE_REST, install_all)
    try:
        install_options(patches, lambda: Options.of(settings))
        patch_functions(patches)
        patch_pools(patches, later=True)
        patch_progress_bars(patches)
        patch_preprocessing(patches)
        patch_planning(patches)
        yield
    finally:
        stop()
        patches.undo()
        uninstall()


def _half_imported(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))
