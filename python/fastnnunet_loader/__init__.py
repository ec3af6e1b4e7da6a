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

from .settings import Settings as _Settings

if _TYPE_CHECKING:
    from . import augmentation
    from ._core import __version__
    from .errors import (
        BadCaseError,
        FastnnUNetError,
        LoaderClosedError,
        MemoryBudgetError,
        NotSupportedError,
        PredictionError,
        PreprocessingError,
        RankError,
        ResourceError,
        SampleError,
        StallError,
        StorageError,
        TransformError,
    )
    from .loading.loader import (
        BadCase,
        Batch,
        DataLoader,
        LoaderStats,
        Memory,
        Patch,
        available_cores,
        default_threads,
        dump,
        memory,
    )
    from .loading.statistics import GpuStats, StageStats
    from .nnunet.reproducing import reproduce
    from .packing.pack import pack
    from .prediction.export.segmentation import SegmentationStream, logits_to_segmentation
    from .prediction.preprocessing.resampling import resample
    from .prediction.volume.grid import grid
    from .prediction.volume.predict import predict_volume
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
        "packing.pack",
        "_core",
        "prediction.volume.grid",
        "prediction.volume.predict",
        "nnunet.reproducing",  # after all that does without nnU-Net
        "augmentation",
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


# install() is written by `python scripts/settings.py --write`, from settings.py.
def install(
    *,
    threads: int | None = None,
    seed: int | None = None,
    memory_budget: int | str | None = None,
    on_bad_case: _Literal["raise", "skip"] = "raise",
    max_skipped: float = 0.05,
    patience: float = 300.0,
    stall_after: float = 60.0,
    abort_after: float | None = None,
    check_finite: bool = False,
    unrestricted_pickles: bool = False,
    cache_dir: str | _os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    leave_to_nnunet: _Collection[_Literal["training", "validation"]] = (),
    live: bool = False,
    log_stats: bool = False,
    stats: str | _os.PathLike[str] | None = None,
    stats_every: float = 60.0,
    metrics: str | _os.PathLike[str] | None = None,
) -> None:
    """Makes every nnU-Net trainer of this process use this loader, until `uninstall()`. Calling it again changes the settings.

    Args:
        threads: number of threads that make batches (None: nnUNet_n_proc_DA, else one less than the cores, at most 8). The
            environment variable counts at most as the number of cores, and 0 counts as 1. With neither, threads are added while
            the training waits for batches and all are busy, up to one less than the cores, at most 32.
        seed: seed of all batches (None: drawn at random and logged).
        memory_budget: memory limit of all loaders of a training, such as 4GB (None: half of the free memory, at most 32GB). A
            number is in bytes. Only a limit that is given refuses what does not fit; by default the loaders take the least that
            they need, and predictions go on one by one, with a warning.
        on_bad_case: if a case cannot be read: stop, or skip it and list it at the end.
        max_skipped: largest share of the cases that 'skip' may skip; one case may always be skipped. If more cases are bad, the
            training ends with an error that lists them.
        patience: seconds for which reading a file is retried if its disk or file server does not answer, or if the file
            disappeared; 0 gives up at once. Errors such as EIO, ESTALE and ETIMEDOUT are retried; the log reports the wait as a
            stall.
        stall_after: seconds after which the log reports a slow batch, with what each thread is doing.
        abort_after: seconds after which a slow batch ends the training with an error, so that the batch system can restart it
            (None: wait). The error is a StallError; `--c` continues from the last checkpoint.
        check_finite: treat cases with NaN or infinite voxels as bad cases.
        unrestricted_pickles: read the properties of cases with Python's own unpickler, which runs any code in the file. By
            default, a case whose `CASE.pkl` holds anything that nnU-Net does not write is a bad case.
        cache_dir: folder on a disk of this machine to which the files of cases are copied when they are first needed (None: no
            copies). For data sets on slow or remote storage. All processes that name the same folder share the copies.
        cache_size: largest size of all copies in 'cache_dir', such as 200GiB (None: nine tenths of what the disk has free). The
            least recently used copies are removed for others.
        leave_to_nnunet: a loader that keeps nnU-Net's worker processes: training or validation. For trainers whose Python
            transforms are slow and hold Python's lock. The option may be given twice, and `install()` takes a list.
        live: show statistics while training; if the output is not a terminal, one line a minute.
        log_stats: write one line of statistics to nnU-Net's log after every epoch.
        stats: append statistics to a file of JSON lines; at 64 MB it is renamed to FILE.1 (None: no file). A line is written
            now and then, after every epoch and at the end of a training.
        stats_every: seconds between two lines of a loader in the file of 'stats', besides one after every epoch. Only lines
            after an epoch have the times of stages.
        metrics: write statistics to a file for Prometheus' node exporter, in its text format (None: no file). The file is
            replaced as a whole every 10 seconds. This needs the package prometheus_client.

    Raises:
        ValueError: an argument is out of range, or a file of statistics holds something else.
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
            stall_after=stall_after,
            abort_after=abort_after,
            check_finite=check_finite,
            unrestricted_pickles=unrestricted_pickles,
            cache_dir=cache_dir,
            cache_size=cache_size,
            leave_to_nnunet=leave_to_nnunet,
            live=live,
            log_stats=log_stats,
            stats=stats,
            stats_every=stats_every,
            metrics=metrics,
        )
    )


def uninstall() -> None:
    """Undoes install(), except for what others have replaced since. Loaders that exist go on."""
    from .nnunet import uninstall as uninstall_from_nnunet

    uninstall_from_nnunet()


__all__ = [
    "BadCase",
    "BadCaseError",
    "Batch",
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
    "PreprocessingError",
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
    "augmentation",
    "available_cores",
    "compile_transforms",
    "default_threads",
    "dump",
    "get_include",
    "grid",
    "install",
    "logits_to_segmentation",
    "memory",
    "pack",
    "predict_volume",
    "register_transform",
    "reproduce",
    "resample",
    "uninstall",
]
