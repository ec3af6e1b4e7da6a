"""The cases of a folder, and how a training script wants them sampled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ... import _core
from ...augmentation.tree import Augmentation, initial_patch_size_of
from ...errors import StorageError
from ..reading.source import BatchKeys, Source
from ..storage.folders import Folder
from ..storage.places import Place
from .locations import CaseLocations, Classes

__all__ = ["checked_classes", "checked_epoch", "folder_source", "make_sampling", "per_case_values"]


_TARGET = "_target"  # CASE_target.b2nd


def folder_source(
    folder: str | os.PathLike[str],
    *,
    patch_size: Sequence[int],
    batch_size: int,
    transforms: Any,
    cases: Sequence[str] | None,
    labels: bool | None,
    targets: bool,
    classes: Sequence[int | Sequence[int]] | None,
    ignore_label: int | None,
    previous_stage: str | os.PathLike[str] | None,
    cache: str | os.PathLike[str] | None,
    oversample_foreground: float,
    keys: BatchKeys,
    per_case: Mapping[str, Any],
    batches_per_epoch: int | None,
    **sampling: Any,
) -> Source:
    """Arguments and errors are those of `DataLoader.from_folder`."""
    root = Folder(folder)
    root.require()
    stage = None if previous_stage is None else Folder(previous_stage)
    found = _chosen(root, cases)
    labelled = _labelled(found) if labels is None else labels
    files = [_files(case, root, labelled, stage, targets) for case in found]
    names = [case.name for case in files]
    if not labelled:
        if classes is not None or ignore_label is not None or previous_stage is not None:
            raise ValueError("[labels] expected labels for classes, ignore_label or previous_stage, got images without labels")
        oversample_foreground = 0.0
    dims, options = make_sampling(
        patch_size, batch_size, transforms, oversample_foreground, ignore_label, len(files), **sampling
    )
    return Source(
        files,
        options,
        dims=dims,
        transforms=transforms,
        locations=CaseLocations(
            files,
            [None if root.lacks(f"{name}.pkl") else Path(root.file(f"{name}.pkl")) for name in names],
            root.place,
            checked_classes(classes),
            ignore_label,
            None if cache is None else Path(cache),
        ),
        keys=keys,
        per_case=per_case_values(per_case, names, keys, targets),
        targets=targets,
        batches_per_epoch=checked_epoch(batches_per_epoch),
    )


def _chosen(root: Folder, wanted: Sequence[str] | None) -> list[_core.CaseFiles]:
    found = {case.name: case for case in root.cases()}
    # CASE_target is the target of CASE, also where nobody asks for it.
    found = {name: case for name, case in found.items() if name.removesuffix(_TARGET) not in found.keys() - {name}}
    if not found:
        raise _bad(root.place, "expected cases, files that end in .b2nd, .npz or .npy, got none")
    if wanted is None:
        return list(found.values())
    if isinstance(wanted, str) or not all(isinstance(name, str) for name in wanted):
        raise ValueError(f"[cases] expected a list of names, got {wanted!r}")
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"[cases] expected names of cases in {root.place}, got {_some(missing)}, which it does not have")
    if len(set(wanted)) != len(wanted):
        raise ValueError(
            f"[cases] expected each name once, got {_some(sorted(n for n in set(wanted) if wanted.count(n) > 1))} again"
        )
    return [found[name] for name in wanted]


def _bad(root: Place, reason: str) -> StorageError:
    return StorageError(f"[{root}] {reason}", file=str(root), reason=reason)


def _labelled(cases: Sequence[_core.CaseFiles]) -> bool:
    """Whether a folder has labels: where one case has them, all must."""
    return any(case.segmentation != Path() and _has_labels(case) for case in cases)


def _has_labels(case: _core.CaseFiles) -> bool:
    file = Path(case.segmentation)
    if file.suffix != ".npz":
        return True
    try:
        with zipfile.ZipFile(file) as archive:
            return "seg.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return True  # the core says what is wrong with it


def _files(case: _core.CaseFiles, root: Folder, labelled: bool, stage: Folder | None, targets: bool) -> _core.CaseFiles:
    ending = case.image.suffix
    segmentation: Place | None = None
    if labelled:  # that it is missing is said where it is opened
        named = case.segmentation != Path()
        segmentation = root.file(case.segmentation.name if named else f"{case.name}_seg{ending}")
    previous = None
    if stage is not None:
        endings = [".b2nd"] if ending == ".b2nd" else [".npy", ".npz"]
        names = [f"{case.name}{one}" for one in endings]
        previous = stage.file(next((name for name in names if stage.has(name)), names[-1]))
    target = None
    if targets:
        # An .npz holds it, also where only the image was unpacked.
        beside, packed = f"{case.name}{_TARGET}{ending}", f"{case.name}.npz"
        inside = ending != ".b2nd" and not root.has(beside) and root.has(packed)
        target = root.file(packed if inside else beside)
    return _core.CaseFiles(
        name=case.name,
        image=root.file(case.image.name),
        segmentation=segmentation or "",
        previous=previous or "",
        properties=root.file(f"{case.name}.pkl"),
        regression=target or "",
    )


def checked_classes(classes: Sequence[int | Sequence[int]] | None) -> Classes | None:
    """Return the labels of each class, or raise a ValueError."""
    if classes is None:
        return None
    try:
        made = tuple(tuple(int(x) for x in one) if isinstance(one, Sequence) else (int(one),) for one in classes)
    except (TypeError, ValueError):
        made = ()
    if not made or not all(made):
        raise ValueError(f"[classes] expected labels, or tuples of labels for regions, got {classes!r}")
    return made


def make_sampling(
    patch_size: Sequence[int],
    batch_size: int,
    transforms: Any,
    oversample_foreground: float,
    ignore_label: int | None,
    cases: int,
    *,
    initial_patch_size: Sequence[int] | None,
    probabilistic_oversampling: bool,
    sampling_probabilities: Sequence[float] | None,
) -> tuple[int, dict[str, Any]]:
    """Return (2 or 3, the fields of SamplingOptions).

    Raises:
        ValueError: an argument is out of range.
    """
    final = _size("patch_size", patch_size)
    if isinstance(transforms, Augmentation):
        if transforms.patch_size != final:
            raise ValueError(f"[patch_size] expected {transforms.patch_size}, as the augmentation has, got {final}")
        initial = transforms.initial_patch_size
    else:
        initial = initial_patch_size_of(transforms, final)
    if initial_patch_size is not None:
        initial = _size("initial_patch_size", initial_patch_size)
    if len(initial) != len(final) or any(i < f for i, f in zip(initial, final, strict=True)):
        raise ValueError(f"[initial_patch_size] expected at least patch_size, {final}, got {initial}")
    if isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"[batch_size] expected a whole number above 0, got {batch_size!r}")
    if not 0 <= oversample_foreground <= 1:
        raise ValueError(f"[oversample_foreground] expected a share from 0 to 1, got {oversample_foreground!r}")
    if ignore_label is not None and ignore_label < 0:
        raise ValueError(f"[ignore_label] expected a label from 0 (-1 is what lies outside of an image), got {ignore_label}")
    probabilities = [] if sampling_probabilities is None else [float(p) for p in sampling_probabilities]
    if probabilities and len(probabilities) != cases:
        raise ValueError(f"[sampling_probabilities] expected one for each of {cases} cases, got {len(probabilities)}")
    lead = [1] * (3 - len(final))
    return len(final), {
        "batch_size": int(batch_size),
        "patch_size": [*lead, *initial],
        "final_patch_size": [*lead, *final],
        "pad_sides": [0, 0, 0],
        "oversample_foreground": float(oversample_foreground),
        "probabilistic_oversampling": bool(probabilistic_oversampling),
        "has_ignore": ignore_label is not None,
        "sampling_probabilities": probabilities,
    }


def _size(name: str, size: Sequence[int]) -> tuple[int, ...]:
    try:
        made = tuple(int(n) for n in size)
        if len(made) in (2, 3) and all(n > 0 for n in made) and all(n == m for n, m in zip(made, size, strict=True)):
            return made
    except (TypeError, ValueError):
        pass
    raise ValueError(f"[{name}] expected 2 or 3 whole numbers above 0, got {size!r}")


def checked_epoch(batches: int | None) -> int | None:
    """Return the length of an epoch, or raise a ValueError."""
    if batches is not None and (isinstance(batches, bool) or int(batches) != batches or batches < 1):
        raise ValueError(f"[batches_per_epoch] expected a whole number above 0, or None, got {batches!r}")
    return None if batches is None else int(batches)


def per_case_values(given: Mapping[str, Any], names: Sequence[str], keys: BatchKeys, targets: bool) -> dict[str, Any]:
    """Return a tensor or a list for each name, with an item for each case in their order.

    given: under each name, a value for each case, in order or by the names of cases.
    targets: whether batches have regression targets, too.

    Raises:
        ValueError: a name that batches have already, or values for other cases.
    """
    taken = (keys.image, keys.label, keys.case, *([keys.target] if targets else []))
    if len(set(taken)) != len(taken):
        raise ValueError(f"[keys] expected names that differ, got {taken}")
    made: dict[str, Any] = {}
    for name, values in given.items():
        if name in taken:
            raise ValueError(f"[per_case] expected names besides {', '.join(taken)}, got {name!r}")
        if isinstance(values, Mapping) or hasattr(values, "keys"):  # such as a Series of pandas
            if missing := [case for case in names if case not in values]:
                raise ValueError(f"[per_case] expected '{name}' of every case, got none of {_some(missing)}")
            values = [values[case] for case in names]
        if len(values) != len(names):
            raise ValueError(f"[per_case] expected '{name}' of {len(names)} cases, got {len(values)} values")
        made[name] = _stacked(name, values, names)
    return made


def _stacked(name: str, values: Any, names: Sequence[str]) -> Any:
    if isinstance(values, torch.Tensor):
        return values
    values = list(values)
    if any(isinstance(value, str) for value in values):
        return values
    tensors = [torch.as_tensor(value) for value in values]
    for case, tensor in zip(names, tensors, strict=True):
        if tensor.shape != tensors[0].shape:
            raise ValueError(
                f"[per_case] expected '{name}' of shape {tuple(tensors[0].shape)}, as {names[0]} has, "
                f"got {tuple(tensor.shape)} of case {case}"
            )
    stacked = torch.stack(tensors)
    return stacked.float() if stacked.dtype is torch.float64 and not isinstance(values[0], torch.Tensor) else stacked


def _some(names: Sequence[str], most: int = 3) -> str:
    listed = ", ".join(map(str, names[:most]))
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
