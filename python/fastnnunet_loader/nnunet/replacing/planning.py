"""nnU-Net's planning with less work: each case is read once, and networks that are only measured have no weights."""

from __future__ import annotations

import contextlib
import functools
import inspect
import pydoc
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ...prediction.originals.followed import is_nnunets
from ...preprocessing.reading import keeping
from .imports import when_imported
from .patches import Patches

__all__ = ["patch_planning"]

MODULE = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
COMMAND = "plan_and_preprocess_entry"
PLANNER = "nnunetv2.experiment_planning.experiment_planners.default_experiment_planner"
ESTIMATE = "static_estimate_VRAM_usage"


def patch_planning(patches: Patches) -> None:
    """Change nnU-Net's command, and its planners. The modules are changed when somebody imports them."""
    _patch_when_imported(patches, MODULE, functools.partial(_read_once, patches))
    _patch_when_imported(patches, PLANNER, functools.partial(_measure_without_weights, patches))


def _patch_when_imported(patches: Patches, name: str, change: Callable[[ModuleType], None]) -> None:
    if name in sys.modules:
        change(sys.modules[name])
    patches.on_undo(when_imported((name,), change))


def _read_once(patches: Patches, module: ModuleType) -> None:
    """What the fingerprint reads of the cases is kept for preprocessing, where memory allows."""
    original: Any = vars(module).get(COMMAND)
    if original is None or not is_nnunets(original, MODULE):
        return

    @functools.wraps(original)
    def command(*args: Any, **kwargs: Any) -> Any:
        with keeping():
            return original(*args, **kwargs)

    command.__module__ = __name__
    patches.set(module, COMMAND, command)


def _measure_without_weights(patches: Patches, module: ModuleType) -> None:
    """Make networks on torch's meta device where the planner only multiplies the shapes of their feature maps.

    It makes one for every patch size that it tries; to fill their weights with random numbers takes most of a planning.
    """
    planner = getattr(module, "ExperimentPlanner", None)
    found = None if planner is None else vars(planner).get(ESTIMATE)
    if not isinstance(found, staticmethod) or not is_nnunets(found.__func__, PLANNER):
        return
    original = found.__func__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def estimate(*args: Any, **kwargs: Any) -> Any:
        import torch

        given = signature.bind(*args, **kwargs).arguments
        # What a network's modules make when they are imported must have values.
        for name in (given.get("arch_class_name"), *_imports_of(given)):
            pydoc.locate(str(name))
        threads = torch.get_num_threads()
        with contextlib.suppress(Exception), torch.device("meta"):
            return original(*args, **kwargs)
        torch.set_num_threads(threads)  # which nnU-Net sets back where all goes well
        return original(*args, **kwargs)  # of a network that looks at its weights; any other error is raised now

    estimate.__module__ = __name__
    patches.set(planner, ESTIMATE, staticmethod(estimate))


def _imports_of(given: dict[str, Any]) -> list[Any]:
    """What the plans name of other modules: convolutions, norms and the like."""
    settings = given.get("arch_kwargs") or {}
    return [settings[name] for name in given.get("arch_kwargs_req_import") or () if settings.get(name) is not None]
