"""The cases of a folder, and how a training script wants them sampled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import _core
from ...errors import StorageError
from ..reading.source import BatchKeys, Source
from .arguments import checked_classes, checked_epoch, checked_names, make_sampling, per_case_values, some_of
from .locations import CaseLocations

__all__ = ["folder_source"]

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
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"[folder] expected the path of a folder, got {folder!r}")
    if cache is not None and Path(cache).exists() and not Path(cache).is_dir():
        raise ValueError(f"[cache] expected a folder, got the file {cache}")
    root = Path(folder)
    if not root.is_dir():
        raise _bad(root, f"expected a folder of cases, got {'a file' if root.exists() else 'no such folder'}")
    found = _chosen(root, cases)
    labelled = _labelled(found) if labels is None else labels
    files = [_files(case, root, labelled, previous_stage, targets) for case in found]
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
            [root / f"{name}.pkl" for name in names],
            root,
            checked_classes(classes),
            ignore_label,
            None if cache is None else Path(cache),
        ),
        keys=keys,
        per_case=per_case_values(per_case, names, keys, targets),
        targets=targets,
        batches_per_epoch=checked_epoch(batches_per_epoch),
    )


def _chosen(root: Path, wanted: Sequence[str] | None) -> list[_core.CaseFiles]:
    found = {case.name: case for case in _core.find_cases(root, labelled=False)}
    # CASE_target is the target of CASE, also where nobody asks for it.
    targets = {name for name in found if name.removesuffix(_TARGET) in found.keys() - {name}}
    found = {name: case for name, case in found.items() if name not in targets}
    if not found:
        raise _bad(root, "expected cases, files that end in .b2nd, .npz or .npy, got none")
    if wanted is None:
        # Where other cases have targets, a target without an image is no image.
        if targets and (alone := [name for name in found if name.endswith(_TARGET)]):
            file = Path(found[alone[0]].image).name
            raise _bad(root, f"expected the image of {file}, as other targets have, got none; cases= chooses others")
        return list(found.values())
    names = checked_names(wanted)
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"[cases] expected names of cases in {root}, got {some_of(missing)}, which it does not have")
    if len(set(names)) != len(names):
        raise ValueError(
            f"[cases] expected each name once, got {some_of(sorted(n for n in set(names) if names.count(n) > 1))} again"
        )
    return [found[name] for name in names]


def _bad(root: Path, reason: str) -> StorageError:
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


def _files(
    case: _core.CaseFiles, root: Path, labelled: bool, previous_stage: str | os.PathLike[str] | None, targets: bool
) -> _core.CaseFiles:
    image = Path(case.image)
    segmentation = Path(case.segmentation) if labelled else Path()
    if labelled and segmentation == Path():
        segmentation = root / f"{case.name}_seg{image.suffix}"  # that it is missing is said where it is opened
    previous = Path()
    if previous_stage is not None:
        stage = Path(previous_stage)
        endings = [".b2nd"] if image.suffix == ".b2nd" else [".npy", ".npz"]
        files = [stage / f"{case.name}{ending}" for ending in endings]
        previous = next((file for file in files if file.is_file()), files[-1])
    target = Path()
    if targets:
        # An .npz holds it, also where only the image was unpacked.
        beside, packed = root / f"{case.name}{_TARGET}{image.suffix}", root / f"{case.name}.npz"
        inside = image.suffix != ".b2nd" and not beside.is_file() and packed.is_file()
        target = packed if inside else beside
    return _core.CaseFiles(
        name=case.name,
        image=image,
        segmentation=_or_none(segmentation),
        previous=_or_none(previous),
        properties=root / f"{case.name}.pkl",
        regression=_or_none(target),
    )


def _or_none(path: Path) -> str | Path:
    return "" if path == Path() else path
