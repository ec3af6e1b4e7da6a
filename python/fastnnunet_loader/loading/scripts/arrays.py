"""Volumes in memory as cases, without a copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ... import _core
from ..reading.source import BatchKeys, ClassLocations, Source
from .arguments import checked_classes, checked_epoch, checked_names, make_sampling, per_case_values
from .locations import Classes

__all__ = ["array_source", "checked_image", "checked_label"]


def array_source(
    images: Sequence[Any] | Mapping[str, Any],
    labels: Sequence[Any] | Mapping[str, Any] | None,
    targets: Sequence[Any] | Mapping[str, Any] | None,
    *,
    patch_size: Sequence[int],
    batch_size: int,
    transforms: Any,
    cases: Sequence[str] | None,
    classes: Sequence[int | Sequence[int]] | None,
    ignore_label: int | None,
    oversample_foreground: float,
    keys: BatchKeys,
    per_case: Mapping[str, Any],
    batches_per_epoch: int | None,
    **sampling: Any,
) -> Source:
    """Arguments and errors are those of `DataLoader.from_arrays`."""
    for what, given in (("images", images), ("labels", labels), ("targets", targets)):
        if given is not None or what == "images":
            _require_several(given, what)
    for what, given in (("labels", labels), ("targets", targets)):
        if isinstance(images, Mapping) and given is not None and not isinstance(given, Mapping):
            raise ValueError(f"[{what}] expected a dictionary by the names of cases, as the images are, got a sequence")
    names = _names(images, cases)
    if labels is None:
        if classes is not None or ignore_label is not None:
            raise ValueError("[labels] expected labels for classes or ignore_label, got none")
        oversample_foreground = 0.0
    dims, options = make_sampling(
        patch_size, batch_size, transforms, oversample_foreground, ignore_label, len(names), **sampling
    )
    files, kept = [], []
    channels: dict[str, int] = {}
    of_all = (_of(images, names, "images"), _of(labels, names, "labels"), _of(targets, names, "targets"))
    for name, image, label, target in zip(names, *of_all, strict=True):
        voxels, shape = checked_image(image, name, dims)
        segmentation = None if labels is None else checked_label(label, name, shape)
        regression = None if targets is None else _beside(_array(target, name, "targets"), name, shape, "targets")
        for what, array in (("images", voxels), ("labels", segmentation), ("targets", regression)):
            if array is not None and channels.setdefault(what, len(array)) != len(array):
                raise ValueError(
                    f"[{what}] expected {channels[what]} channels as case {names[0]} has, got {len(array)} of case {name}"
                )
        paths: dict[str, Any] = {}
        for what, array in (("image", voxels), ("labels", segmentation), ("target", regression)):
            if array is not None:
                kept.append(_core.MemoryFile(f"{what} of case {_plain(name)}", array))
                paths[what] = kept[-1].path
        files.append(
            _core.CaseFiles(
                name=name, image=paths["image"], segmentation=paths.get("labels", ""), regression=paths.get("target", "")
            )
        )
    return Source(
        files,
        options,
        dims=dims,
        transforms=transforms,
        locations=_locations(files, checked_classes(classes), ignore_label),
        keys=keys,
        per_case=per_case_values(per_case, names, keys, targets is not None),
        targets=targets is not None,
        batches_per_epoch=checked_epoch(batches_per_epoch),
        kept=kept,
    )


def _locations(
    files: Sequence[_core.CaseFiles], classes: Classes | None, ignore_label: int | None
) -> Callable[[int, bool], ClassLocations]:
    def locations(number: int, _unrestricted: bool) -> ClassLocations:
        found = _core.find_class_locations(files[number].segmentation, classes=classes, ignored=ignore_label)
        return [(labels, len(labels) > 1, annotated, voxels) for labels, annotated, voxels in found]

    return locations


def _require_several(given: Any, what: str) -> None:
    if isinstance(given, (str, bytes, os.PathLike)):
        raise ValueError(f"[{what}] expected a list or a dictionary of arrays, got {given!r}; from_folder reads files")
    if isinstance(given, Mapping) or (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        return
    raise ValueError(f"[{what}] expected a list or a dictionary of arrays, got {type(given).__name__}")


def _names(images: Any, cases: Sequence[str] | None) -> list[str]:
    if isinstance(images, Mapping):
        names = list(images) if cases is None else checked_names(cases)
        if missing := [name for name in names if name not in images]:
            raise ValueError(f"[cases] expected names among the images, got {missing[0]!r}")
    else:
        names = [f"case_{number}" for number in range(len(images))] if cases is None else checked_names(cases)
        if len(names) != len(images):
            raise ValueError(f"[cases] expected a name for each of {len(images)} images, got {len(names)}")
    if len(set(names)) != len(names):
        raise ValueError(f"[cases] expected names that differ, got {names}")
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"[cases] expected texts as names of cases, got {names}")
    return names


def _of(arrays: Any, names: Sequence[str], what: str) -> list[Any]:
    if arrays is None:
        return [None] * len(names)
    if isinstance(arrays, Mapping):
        if missing := [name for name in names if name not in arrays]:
            raise ValueError(f"[{what}] expected an array for each case, got none of case {missing[0]}")
        return [arrays[name] for name in names]
    if len(arrays) != len(names):
        raise ValueError(f"[{what}] expected an array for each of {len(names)} cases, got {len(arrays)}")
    return list(arrays)


def _array(value: Any, name: str, what: str) -> npt.NDArray[Any]:
    if isinstance(value, torch.Tensor):
        try:
            value = value.detach().numpy()
        except (TypeError, RuntimeError):  # of a device, sparse, quantized, bfloat16, ...
            layout = "" if value.layout is torch.strided else f"{str(value.layout).removeprefix('torch.')} "
            raise ValueError(
                f"[{what}] expected a CPU tensor of a dtype that NumPy has, got {layout}{value.dtype} on {value.device} "
                f"of case {name}"
            ) from None
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"[{what}] expected an array without masked voxels, got {int(np.ma.getmaskarray(value).sum())} of case {name}; "
            "array.filled(0) gives them a value"
        )
    if not isinstance(value, np.ndarray):
        raise ValueError(f"[{what}] expected an array of NumPy or a tensor, got {type(value).__name__} of case {name}")
    if value.dtype.kind not in "biuf" or not value.dtype.isnative or value.dtype.itemsize > 8:
        raise ValueError(
            f"[{what}] expected numbers of up to 64 bits in this machine's byte order, got {value.dtype.str!r} of case {name}"
        )
    if value.size == 0:
        raise ValueError(f"[{what}] expected at least one voxel on every axis, got shape {value.shape} of case {name}")
    return value


def checked_image(value: Any, name: str, dims: int) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """Return (C, X, Y, Z), and the shape without channels as it was given; or raise a ValueError that names the case."""
    array = _array(value, name, "images")
    if array.ndim == dims:
        array = array[None]
    if array.ndim not in (dims + 1, 4):
        axes = "(C, X, Y, Z)" if dims == 3 else "(C, Y, Z) or (C, X, Y, Z)"
        raise ValueError(f"[images] expected shape {axes}, got {tuple(value.shape)} of case {name}")
    return (array if array.ndim == 4 else array[:, None]), array.shape[1:]


def checked_label(value: Any, name: str, shape: tuple[int, ...], copies: bool = False) -> npt.NDArray[Any]:
    """Return (C', X, Y, Z) of an image with this shape without channels, or raise a ValueError that names the case.

    copies: whether labels may come in floats, as MONAI reads them from files.
    """
    array = _array(value, name, "labels")
    if array.dtype.kind == "f" and not copies:
        raise ValueError(
            f"[labels] expected whole numbers, got {array.dtype} of case {name}; labels need array.astype(np.int16), and what "
            "is to be regressed goes into `targets`"
        )
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int16)
        if (odd := array[whole != array]).size:  # NaN, too
            raise ValueError(f"[labels] expected whole numbers from -32768 to 32767, got {odd[0]:g} of case {name}")
        array = whole
    array = _beside(array, name, shape, "labels")
    if array.dtype.itemsize > 1 and (array.min() < -(2**15) or array.max() >= 2**15):
        raise ValueError(f"[labels] expected numbers from -32768 to 32767, got {array.min()} to {array.max()} of case {name}")
    return array


def _beside(array: npt.NDArray[Any], name: str, shape: tuple[int, ...], what: str) -> npt.NDArray[Any]:
    """(C, X, Y, Z), of an array of the image's shape with or without channels."""
    given = array.shape
    if given == shape:
        array = array[None]
    if array.shape[1:] != shape:
        raise ValueError(f"[{what}] expected the image's shape {shape}, got {given} of case {name}")
    return array if array.ndim == 4 else array[:, None]


def _plain(name: str) -> str:
    return name.replace("/", "_").replace("\\", "_")
