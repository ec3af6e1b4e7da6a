"""What nnU-Net's pools run for each case: which files it reads, and how much memory it needs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..prediction.images import read_header
from ..prediction.originals.stand_ins import original_of

__all__ = ["bytes_of", "files_of"]


@dataclass(frozen=True)
class _Task:
    files: Callable[..., Sequence[str]]
    """Of the task's arguments."""
    reader: Callable[..., Any]
    """Reader-writer class of nnU-Net, or an object of it; of the task's arguments."""
    per_voxel: int
    """Bytes of the task's arrays for each voxel of its largest file, whichever code runs. The files come on top of it: in the
    library that reads them, copied, and in float32."""


_TASKS: dict[str, _Task] = {
    "nnunetv2.evaluation.evaluate_predictions:compute_metrics": _Task(
        lambda reference, prediction, *_: [reference, prediction], lambda *args: args[2], 8
    ),
    "nnunetv2.postprocessing.remove_connected_components:load_postprocess_save": _Task(
        lambda segmentation, *_: [segmentation], lambda *args: args[2], 32
    ),
    "nnunetv2.experiment_planning.verify_dataset_integrity:verify_labels": _Task(
        lambda label, *_: [label], lambda *args: args[1], 16
    ),
    "nnunetv2.experiment_planning.verify_dataset_integrity:check_cases": _Task(
        lambda images, label, *_: [*images, label], lambda *args: args[3], 8
    ),
    "nnunetv2.utilities.overlay_plots:plot_overlay": _Task(
        lambda image, segmentation, *_: [image, segmentation], lambda *args: args[2], 8
    ),
}
_MERGE = "nnunetv2.ensembling.ensemble:merge_files"


def _name(function: Any) -> str:
    function = original_of(function)
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"


def files_of(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """Return the files that a task reads, as far as its arguments tell."""
    task = _TASKS.get(_name(function))
    if task is not None and not kwargs:
        return list(task.files(*args))
    given = [value for arg in (*args, *kwargs.values()) for value in (arg if isinstance(arg, (list, tuple)) else [arg])]
    return [value for value in given if isinstance(value, str) and Path(value).is_file()]


def bytes_of(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> int | None:
    """Return the bytes that a task needs at most: 0 for functions that do not work on a case, None if nobody knows.

    A file that cannot be read counts as 0: the task will say what is wrong with it.
    """
    name = _name(function)
    if name == _MERGE:
        return _bytes_of_merge(args[0], bool(args[5]) if len(args) > 5 else False)
    task = _TASKS.get(name)
    if task is None or kwargs:
        return 0
    reader = task.reader(*args)
    read, voxels = 0, 0
    for file in task.files(*args):
        try:
            header = read_header(reader if isinstance(reader, type) else type(reader), file)
        except Exception:
            continue
        if header is None:
            return None
        count = header.voxels * header.channels
        read += count * (4 + 2 * header.itemsize)
        voxels = max(voxels, count)
    return read + task.per_voxel * voxels


def _bytes_of_merge(files: Sequence[str], whole: bool) -> int:
    """nnU-Net holds the mean and the file that it adds; native code, a class of each file."""
    sizes, classes = [], 1
    for file in files:
        try:
            with zipfile.ZipFile(file) as archive, archive.open("probabilities.npy") as member:
                sizes.append(archive.getinfo("probabilities.npy").file_size)
                classes = max(1, _first_of_shape(member))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            continue
    if not sizes:
        return 0
    largest = max(sizes)
    channel = largest // classes
    return 2 * largest + 2 * channel if whole else channel * (2 * len(files) + 4)


def _first_of_shape(member: Any) -> int:
    import numpy as np

    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape = read(member)[0]
    return int(shape[0]) if shape else 1
