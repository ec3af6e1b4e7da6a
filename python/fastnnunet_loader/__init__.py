"""nnU-Net's training batches from threads of the training process: no worker processes, no shared memory.

import fastnnunet_loader as fl
fl.install()      # every nnU-Net trainer of this process now uses it
"""

from __future__ import annotations

import os as _os

# torch first: the extension uses the libraries that it brings.
import torch as _torch  # noqa: F401

from ._core import __version__
from .compiler import Pipeline, compile_transforms
from .errors import (
    BadCaseError,
    FastnnUNetError,
    LoaderClosedError,
    MemoryBudgetError,
    NotSupportedError,
    ResourceError,
    SampleError,
    StorageError,
    TransformError,
)
from .inference import logits_to_segmentation
from .loader import BadCase, DataLoader, LoaderStats, available_cores, default_threads, memory
from .plugins import get_include, register_transform
from .reproducing import reproduce
from .resampling import resample
from .statistics.model import GpuStats, StageStats


def install(
    threads: int | None = None,
    seed: int | None = None,
    memory_budget: int | str | None = None,
    on_bad_case: str = "raise",
    check_finite: bool = False,
    unrestricted_pickles: bool = False,
    stats: str | _os.PathLike[str] | None = None,
    metrics: str | _os.PathLike[str] | None = None,
    log_stats: bool = False,
    live: bool = False,
    stall_after: float = 60.0,
) -> None:
    """Makes every nnU-Net trainer of this process use this loader, until `uninstall()`. Calling it again changes the settings.

    Args:
        threads: that make samples; None for nnUNet_n_proc_DA where it is set, else every core but one.
        seed: of all batches, below 2**64; None draws one for each training and writes it to its log.
        memory_budget: of the loaders of one training, in bytes or as text ("4GB"); None for half of what is free.
        on_bad_case: "raise", or "skip" to go on without cases whose files cannot be read.
        check_finite: NaN and infinite voxels make a case bad; each voxel that is read is looked at.
        unrestricted_pickles: read properties (`CASE.pkl`) with Python's own unpickler, which runs whatever code a file holds.
            It is for files of your own that hold more than nnU-Net writes. By default such a case is bad.
        stats: a file of JSON lines to which the statistics of the loaders are added, every 10 seconds, after every epoch and at
            the end of a training.
        metrics: an OpenMetrics text file with the same for a node exporter, replaced as a whole each time.
        log_stats: a line with the statistics of each epoch in nnU-Net's log.
        live: statistics in the terminal while training; where the output is no terminal, a line every minute.
        stall_after: seconds; a batch that takes longer is reported once in nnU-Net's log, with what each thread is doing.

    Raises:
        ValueError: an argument is out of range.
        ModuleNotFoundError: nnU-Net is not installed.
    """
    # nnU-Net is imported only where it is wanted: the loader and the pipelines do without.
    from .nnunet import install as install_in_nnunet

    install_in_nnunet(
        threads=threads,
        seed=seed,
        memory_budget=memory_budget,
        on_bad_case=on_bad_case,
        check_finite=check_finite,
        unrestricted_pickles=unrestricted_pickles,
        stats=stats,
        metrics=metrics,
        log_stats=log_stats,
        live=live,
        stall_after=stall_after,
    )


def uninstall() -> None:
    """Undoes install(). Loaders that exist go on."""
    from .nnunet import uninstall as uninstall_from_nnunet

    uninstall_from_nnunet()


__all__ = [
    "BadCase",
    "BadCaseError",
    "DataLoader",
    "FastnnUNetError",
    "GpuStats",
    "LoaderClosedError",
    "LoaderStats",
    "MemoryBudgetError",
    "NotSupportedError",
    "Pipeline",
    "ResourceError",
    "SampleError",
    "StageStats",
    "StorageError",
    "TransformError",
    "__version__",
    "available_cores",
    "compile_transforms",
    "default_threads",
    "get_include",
    "install",
    "logits_to_segmentation",
    "memory",
    "register_transform",
    "reproduce",
    "resample",
    "uninstall",
]
