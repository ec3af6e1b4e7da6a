"""nnU-Net's training batches from threads of the training process: no worker processes, no shared memory.

import fastnnunet_loader as fl
fl.install()      # every nnU-Net trainer of this process now uses it
"""

from __future__ import annotations

import importlib as _importlib
import os as _os
from collections.abc import Collection as _Collection
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import Literal as _Literal

from .settings import MAX_SKIPPED as _MAX_SKIPPED
from .settings import PATIENCE as _PATIENCE
from .settings import STALL_AFTER as _STALL_AFTER
from .settings import STATS_EVERY as _STATS_EVERY
from .settings import Settings as _Settings

if _TYPE_CHECKING:
    from ._core import __version__
    from .errors import (
        BadCaseError,
        FastnnUNetError,
        LoaderClosedError,
        MemoryBudgetError,
        NotSupportedError,
        PredictionError,
        RankError,
        ResourceError,
        SampleError,
        StallError,
        StorageError,
        TransformError,
    )
    from .loading.loader import BadCase, DataLoader, LoaderStats, Memory, Patch, available_cores, default_threads, dump, memory
    from .loading.statistics import GpuStats, StageStats
    from .nnunet.reproducing import reproduce
    from .prediction.export.segmentation import SegmentationStream, logits_to_segmentation
    from .prediction.preprocessing.resampling import resample
    from .transforms.pipeline import DrawnParameters, Pipeline, Stage, compile_transforms
    from .transforms.plugins import get_include, register_transform
else:
    # The modules that hold these names.
    _HOMES = (
        "errors",
        "transforms.pipeline",
        "prediction.export.segmentation",
        "loading.loader",
        "transforms.plugins",
        "prediction.preprocessing.resampling",
        "loading.statistics",
        "_core",
        "nnunet.reproducing",
    )

    def __getattr__(name: str) -> _Any:
        """Find a name when it is first used, so that what needs no torch, such as `fastnnunet run`, starts without it."""
        if name not in __all__ and name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # torch first: the extension uses the libraries that it brings.
        _importlib.import_module("torch")
        if name in _HOMES:
            return _importlib.import_module(f".{name}", __name__)
        home = next(module for module in map(__getattr__, _HOMES) if name in getattr(module, "__all__", dir(module)))
        value = globals()[name] = getattr(home, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def install(
    *,
    threads: int | None = None,
    seed: int | None = None,
    memory_budget: int | str | None = None,
    on_bad_case: _Literal["raise", "skip"] = "raise",
    max_skipped: float = _MAX_SKIPPED,
    patience: float = _PATIENCE,
    check_finite: bool = False,
    unrestricted_pickles: bool = False,
    leave_to_nnunet: _Collection[_Literal["training", "validation"]] = (),
    stats: str | _os.PathLike[str] | None = None,
    stats_every: float = _STATS_EVERY,
    metrics: str | _os.PathLike[str] | None = None,
    log_stats: bool = False,
    live: bool = False,
    stall_after: float = _STALL_AFTER,
    abort_after: float | None = None,
) -> None:
    """Makes every nnU-Net trainer of this process use this loader, until `uninstall()`. Calling it again changes the settings.

    Args:
        threads: that make samples; None for nnUNet_n_proc_DA where it is set, but no more than the cores;
            else every core but one, and at most 8.
        seed: of all batches, below 2**64; None draws one for each training and writes it to its log.
        memory_budget: of the loaders of one training, in bytes or as text ("4GB"); None for half of what is free, and at
            most 32 GiB. Only a budget that is given refuses what does not fit: otherwise the loaders take the least that they
            need, and predictions go on one by one, with a warning.
        on_bad_case: "raise", or "skip" to go on without cases whose files cannot be read.
        max_skipped: share of a loader's cases that "skip" may go on without, rounded down; at least one may always be skipped.
            With more, the training ends with an error that lists them.
        patience: seconds that a file is tried again where the disk or the file server does not answer (EIO, ESTALE, ETIMEDOUT
            and the like), or where a file that was there is gone; 0 to give up at once. Meanwhile the log tells of a stall.
        check_finite: NaN and infinite voxels make a case bad; each voxel that is read is looked at.
        unrestricted_pickles: read properties (`CASE.pkl`) with Python's own unpickler, which runs whatever code a file holds.
            It is for files of your own that hold more than nnU-Net writes. By default such a case is bad.
        leave_to_nnunet: "training", "validation" or both: these loaders stay nnU-Net's, with its worker processes. For trainers
            with slow transforms in Python that hold Python's lock.
        stats: a file of JSON lines to which the statistics of the loaders are added, now and then, after every epoch and at the
            end of a training. At 64 MiB it becomes FILE.1, in the place of an older one, and a new one begins.
        stats_every: seconds from one line of a loader in it to the next. Times of stages are in those after epochs only.
        metrics: a file with the same for the textfile collector of Prometheus' node exporter, which reads *.prom. It is
            replaced as a whole every 10 seconds, and needs prometheus_client.
        log_stats: a line with the statistics of each epoch in nnU-Net's log.
        live: statistics in the terminal while training; where the output is no terminal, a line every minute.
        stall_after: seconds; a batch that takes longer is reported once in nnU-Net's log, with what each thread is doing.
        abort_after: seconds; a batch that takes longer ends the training with a StallError, so that a batch system can start
            it again: `--c` goes on from the last checkpoint. None waits for ever.

    Raises:
        ValueError: an argument is out of range, or a file of the statistics holds something else.
        ModuleNotFoundError: nnU-Net, or what `metrics` needs, is not installed.
    """
    # nnU-Net is imported only where it is wanted: the loader and the pipelines do without.
    from .nnunet import install as install_in_nnunet

    install_in_nnunet(
        _Settings(
            threads=threads,
            seed=seed,
            memory_budget=memory_budget,
            on_bad_case=on_bad_case,
            max_skipped=max_skipped,
            patience=patience,
            check_finite=check_finite,
            unrestricted_pickles=unrestricted_pickles,
            leave_to_nnunet=leave_to_nnunet,
            stats=stats,
            stats_every=stats_every,
            metrics=metrics,
            log_stats=log_stats,
            live=live,
            stall_after=stall_after,
            abort_after=abort_after,
        )
    )


def uninstall() -> None:
    """Undoes install(), except for what others have replaced since. Loaders that exist go on."""
    from .nnunet import uninstall as uninstall_from_nnunet

    uninstall_from_nnunet()


__all__ = [
    "BadCase",
    "BadCaseError",
    "DataLoader",
    "DrawnParameters",
    "FastnnUNetError",
    "GpuStats",
    "LoaderClosedError",
    "LoaderStats",
    "Memory",
    "MemoryBudgetError",
    "NotSupportedError",
    "Patch",
    "Pipeline",
    "PredictionError",
    "RankError",
    "ResourceError",
    "SampleError",
    "SegmentationStream",
    "Stage",
    "StageStats",
    "StallError",
    "StorageError",
    "TransformError",
    "__version__",
    "available_cores",
    "compile_transforms",
    "default_threads",
    "dump",
    "get_include",
    "install",
    "logits_to_segmentation",
    "memory",
    "register_transform",
    "reproduce",
    "resample",
    "uninstall",
]
