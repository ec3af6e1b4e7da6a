"""nnUNetv2_plan_and_preprocess reads each case once, where memory allows: preprocessing takes what the fingerprint has read."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

from ...prediction.originals.followed import is_nnunets
from ...preprocessing.reading import keeping
from .imports import when_imported
from .patches import Patches

__all__ = ["patch_planning"]

MODULE = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
COMMAND = "plan_and_preprocess_entry"


def patch_planning(patches: Patches) -> None:
    """Keep cases from the beginning to the end of nnU-Net's command. Its module is changed when somebody imports it."""

    def imported(module: ModuleType) -> None:
        original: Any = vars(module).get(COMMAND)
        if original is None or not is_nnunets(original, MODULE):
            return

        @functools.wraps(original)
        def command(*args: Any, **kwargs: Any) -> Any:
            with keeping():
                return original(*args, **kwargs)

        command.__module__ = __name__
        patches.set(module, COMMAND, command)

    if MODULE in sys.modules:
        imported(sys.modules[MODULE])
    patches.on_undo(when_imported((MODULE,), imported))
