"""What an nnUNetDataLoader gives: the files of its cases, and how it samples. It is read off, and only if its code is known."""

from __future__ import annotations

from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np

from ... import _core, known
from ...errors import NotSupportedError
from .source import ClassLocations, Source, class_locations, pickled_locations

__all__ = ["ClassLocations", "Source", "blosc2_files", "check_augmenter", "class_locations", "numpy_files", "read_off"]

_DATASETS = "nnunetv2.training.dataloading.nnunet_dataset"
_LOADER = "nnunetv2.training.dataloading.data_loader"
# What the core does in their place; the walk goes on to what they call.
_SAMPLING = ("__next__", "__iter__", "generate_train_batch", "get_indices", "get_bbox")
_READING = ("load_case", "__getitem__")
_GIVING = ("__next__", "__iter__", "next", "restart")
_RULES = {"_oversample_last_XX_percent": False, "_probabilistic_oversampling": True}


def read_off(data_loader: Any) -> Source:
    """Reads cases and settings off an nnUNetDataLoader, which is not changed.

    Raises:
        NotSupportedError: the loader or its data set does something of its own, by its class, its object or its modules.
    """
    _check_sampling(data_loader)
    patch = np.asarray(data_loader.patch_size, dtype=int)
    final = np.asarray(data_loader.final_patch_size, dtype=int)
    probabilities = data_loader.sampling_probabilities
    sampling = {
        "batch_size": int(data_loader.batch_size),
        "patch_size": patch.tolist(),
        "final_patch_size": final.tolist(),
        "pad_sides": (np.asarray(data_loader.need_to_pad) - (patch - final)).tolist(),
        "oversample_foreground": float(data_loader.oversample_foreground_percent),
        "probabilistic_oversampling": _is_probabilistic(data_loader),
        "has_ignore": bool(data_loader.has_ignore),
        "sampling_probabilities": [] if probabilities is None else [float(p) for p in probabilities],
    }
    cases, folder = _case_files(data_loader)
    annotated = tuple(int(label) for label in data_loader.annotated_classes_key)
    return Source(
        cases,
        sampling,
        dims=2 if data_loader.patch_size_was_2d else 3,
        transforms=data_loader.transforms,
        locations=pickled_locations([folder / f"{case.name}.pkl" for case in cases], annotated),
    )


def check_augmenter(kind: type) -> None:
    """Looks whether one of batchgenerators' augmenters gives batches in the way that is replaced.

    Raises:
        NotSupportedError: it does not.
    """
    if changes := known.changed(kind, *_GIVING):
        raise NotSupportedError(f"[augmenter] expected {kind.__name__}'s own code, got {known.listed(changes)}")


def _is_a(value: Any, module: str, name: str) -> bool:
    """By name: somebody may have put another class in the place of this one."""
    return any(base.__module__ == module and base.__qualname__ == name for base in type(value).__mro__)


def _check_sampling(data_loader: Any) -> None:
    if not _is_a(data_loader, _LOADER, "nnUNetDataLoader"):
        raise NotSupportedError(f"[data loader] expected nnU-Net's nnUNetDataLoader, got {type(data_loader).__name__}")
    if changes := known.changed(data_loader, *_SAMPLING):
        raise NotSupportedError(f"[data loader] expected nnUNetDataLoader's own sampling, got {known.listed(changes)}")
    if not data_loader.infinite:
        raise NotSupportedError("[data loader] expected cases drawn with replacement, without end, got infinite=False")


def _case_files(data_loader: Any) -> tuple[list[_core.CaseFiles], Path]:
    data = data_loader._data
    for name, find in (("nnUNetDatasetBlosc2", blosc2_files), ("nnUNetDatasetNumpy", numpy_files)):
        if _is_a(data, _DATASETS, name):
            if changes := known.changed(data, *_READING):
                raise NotSupportedError(f"[data set] expected {name}'s own reading, got {known.listed(changes)}")
            folder = Path(data.source_folder)
            previous = data.folder_with_segs_from_previous_stage
            names = list(data_loader.indices)
            return [find(folder, None if previous is None else Path(previous), name) for name in names], folder
    raise NotSupportedError(
        f"[data set] expected nnU-Net's nnUNetDatasetBlosc2 or nnUNetDatasetNumpy, got {type(data).__name__}"
    )


def _is_probabilistic(data_loader: Any) -> bool:
    rule = data_loader.get_do_oversample  # the loader's own attribute, one of two methods
    name = getattr(rule, "__name__", type(rule).__name__)
    if isinstance(rule, MethodType) and rule.__self__ is not data_loader:
        got = f"{name} of another {type(rule.__self__).__name__}"
    elif isinstance(rule, MethodType) and name in _RULES and not known.changed(rule):
        return _RULES[name]
    else:
        got = f"{name}, {known.where(rule)}"
    raise NotSupportedError(f"[data loader] expected one of nnUNetDataLoader's rules of oversampling, got {got}")


def blosc2_files(folder: Path, previous: Path | None, name: str) -> _core.CaseFiles:
    """The files of a case of nnUNetDatasetBlosc2."""
    return _core.CaseFiles(
        name=name,
        image=folder / f"{name}.b2nd",
        segmentation=folder / f"{name}_seg.b2nd",
        previous="" if previous is None else previous / f"{name}.b2nd",
        properties=folder / f"{name}.pkl",
    )


def numpy_files(folder: Path, previous: Path | None, name: str) -> _core.CaseFiles:
    """The files of a case of nnUNetDatasetNumpy."""

    def unpacked(folder: Path, file: str) -> Path:
        return folder / f"{file}.npy" if (folder / f"{file}.npy").is_file() else folder / f"{name}.npz"

    return _core.CaseFiles(
        name=name,
        image=unpacked(folder, name),
        segmentation=unpacked(folder, f"{name}_seg"),
        previous="" if previous is None else unpacked(previous, name),
        properties=folder / f"{name}.pkl",
    )
