"""Threads in the place of the process pools that nnU-Net's modules make.

| module of nnU-Net | what its pool runs |
|---|---|
| training.nnUNetTrainer.nnUNetTrainer | export of the final validation |
| training.dataloading.utils | unpacking of .npz files |
| evaluation.evaluate_predictions | metrics of a case: evaluate_folder, evaluate_simple, accumulate_crossval_results, training |
| ensembling.ensemble | merging of a case's probabilities: ensemble, find_best_configuration |
| postprocessing.remove_connected_components | postprocessing of a case: determine_postprocessing, apply_postprocessing |
| experiment_planning.verify_dataset_integrity | checks of a case's labels, shapes and spacings |
| experiment_planning.dataset_fingerprint.fingerprint_extractor | intensities of a case |
| preprocessing.preprocessors.default_preprocessor | preprocessing of a case |
| utilities.overlay_plots | pictures of a case |
| utilities.utils | the search for a case's files |
| dataset_conversion.* | conversion of a case |
| inference.JHU_inference | export of a case |

What makes processes in inference.predict_from_raw_data and inference.data_iterators is replaced with the predictor, and what
starts ranks in run.run_training with the ranks. A pool that is made in any other module is left alone.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from ..evaluation.pools import CasePool
from ..prediction.replacements import options
from ..prediction.replacements.pools import ThreadMultiprocessing
from .imports import when_imported
from .patches import Patches

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["LATER", "MODULES", "patch_own_pool", "patch_pools", "patch_progress_bars"]

MODULES = (
    "nnunetv2.ensembling.ensemble",
    "nnunetv2.evaluation.evaluate_predictions",
    "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor",
    "nnunetv2.experiment_planning.verify_dataset_integrity",
    "nnunetv2.postprocessing.remove_connected_components",
    "nnunetv2.preprocessing.preprocessors.default_preprocessor",
    "nnunetv2.training.dataloading.utils",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
    "nnunetv2.utilities.overlay_plots",
    "nnunetv2.utilities.utils",
)
"""Modules of nnU-Net that make pools, and that `install()` imports."""

LATER = (
    "nnunetv2.dataset_conversion.Dataset042_BraTS18",
    "nnunetv2.dataset_conversion.Dataset043_BraTS19",
    "nnunetv2.dataset_conversion.Dataset119_ToothFairy2_All",
    "nnunetv2.dataset_conversion.Dataset120_RoadSegmentation",
    "nnunetv2.dataset_conversion.Dataset137_BraTS21",
    "nnunetv2.dataset_conversion.convert_MSD_dataset",
    "nnunetv2.inference.JHU_inference",
)
"""Modules that make pools and that few programs import: they are changed when somebody does."""


def patch_pools(patches: Patches, *, later: bool = False) -> None:
    """Give nnU-Net's modules that make pools a `multiprocessing` with threads.

    later: import none of them; each is changed when somebody imports it.
    """
    names = (*MODULES, *LATER)
    for name in names:
        if name in LATER or later:
            module = sys.modules.get(name)
        else:
            try:
                module = importlib.import_module(name)
            except ImportError:  # another version of nnU-Net, or without an optional package
                continue
        if module is not None:
            _give_threads(patches, module)

    def imported(module: ModuleType) -> None:
        if options.installed():
            _give_threads(patches, module)

    patches.on_undo(when_imported(names, imported))
    main = sys.modules.get("__main__")
    # `python -m nnunetv2.…` runs a copy of the module.
    if main is not None and getattr(getattr(main, "__spec__", None), "name", "") in names:
        _give_threads(patches, main)


def _give_threads(patches: Patches, module: ModuleType) -> None:
    import multiprocessing

    names, pool = vars(module), multiprocessing.Pool
    if names.get("multiprocessing") is multiprocessing:
        patches.set(module, "multiprocessing", ThreadMultiprocessing(multiprocessing, CasePool))
    if names.get("Pool") == pool:

        def make(*args: Any, **kwargs: Any) -> Any:
            return CasePool(*args, **kwargs) if options.installed() else pool(*args, **kwargs)

        patches.set(module, "Pool", make)


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
