"""Class locations: those of nnU-Net's properties where a case has them, else found in its labels once and kept in a file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import _core
from ..reading.pickles import read_properties
from ..reading.source import ClassLocations, Find, class_locations, in_place
from ..storage.places import Place, is_address

__all__ = ["CaseLocations", "Classes", "users_cache"]

Classes = tuple[tuple[int, ...], ...]
_BESIDE = "class_locations"  # the folder beside the cases


@dataclass(frozen=True)
class CaseLocations:
    """From the number of a case to its classes. It is called from threads."""

    cases: Sequence[_core.CaseFiles]
    properties: Sequence[Path | None]
    """None for a case without."""
    folder: Place
    classes: Classes | None
    """Labels of each class; None for all labels above 0, or what the properties have."""
    ignore_label: int | None
    cache: Path | None
    """Where classes that were found are kept; None for the folder of the cases, or the user's cache if that is read-only."""

    def __call__(self, number: int, unrestricted: bool, find: Find = in_place) -> ClassLocations:
        """Return the classes of a case.

        Raises:
            StorageError: the properties or the segmentation cannot be read.
        """
        place = self.properties[number]
        if place is not None and (is_address(place) or place.is_file()):
            file = find(place)
            properties = read_properties(file, unrestricted)
            if "class_locations" in properties:
                known = self._wanted(class_locations(file, properties, None))
                if known is not None:
                    return known
        return self._kept(self.cases[number], find)

    def _wanted(self, known: ClassLocations) -> ClassLocations | None:
        """Those of the properties; None where they lack what is asked for."""
        annotated = [one for one in known if one[2]]
        if self.ignore_label is not None and not annotated:
            return None
        if self.classes is None:
            return known
        by_labels = {tuple(one[0]): one for one in known if not one[2]}
        if not all(labels in by_labels for labels in self.classes):
            return None
        return [by_labels[labels] for labels in self.classes] + annotated

    def _kept(self, case: _core.CaseFiles, find: Find) -> ClassLocations:
        segmentation = find(case.segmentation)
        stamp = _core.stamp_of_case(_core.CaseFiles(name=case.name, image="", segmentation=segmentation))
        if stamp:
            with contextlib.suppress(OSError):  # the digest is of parts of a large file
                stamp += f" {Path(case.segmentation).stat().st_mtime_ns:x}"
        settings = hashlib.sha256(repr((2, self.classes, self.ignore_label)).encode()).hexdigest()[:8]
        places = self._places()
        files = [place / f"{case.name}.{settings}.npz" for place in places]
        if stamp:
            for file in files:
                with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                    return _read(file, stamp)
        found = [
            (labels, len(labels) > 1, annotated, voxels)
            for labels, annotated, voxels in _core.find_class_locations(
                segmentation, classes=self.classes, ignored=self.ignore_label
            )
        ]
        if stamp:
            for file in files:
                with contextlib.suppress(OSError):
                    _write(file, found, stamp)
                    break
        return found

    def _places(self) -> list[Path]:
        local = isinstance(self.folder, Path)
        of_folder = hashlib.sha256(str(Path(self.folder).resolve() if local else self.folder).encode()).hexdigest()[:16]
        if self.cache is not None:
            return [self.cache / of_folder]
        beside = [self.folder / _BESIDE] if isinstance(self.folder, Path) else []
        return [*beside, users_cache() / "fastnnunet_loader" / of_folder]


def users_cache() -> Path:
    """Return the user's folder of caches, as the system has it."""
    if sys.platform == "win32":
        given, usual = os.environ.get("LOCALAPPDATA"), Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        given, usual = None, Path.home() / "Library" / "Caches"
    else:
        given, usual = os.environ.get("XDG_CACHE_HOME"), Path.home() / ".cache"
    return Path(given) if given else usual


def _read(file: Path, stamp: str) -> ClassLocations:
    """Raises ValueError if the file is of other labels."""
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:  # np.load does not close a damaged file
        if str(kept["stamp"]) != stamp:
            raise ValueError(f"[{file}] expected the classes of a segmentation with other content")
        return [
            (
                [int(label) for label in kept[f"labels_{i}"]],
                len(kept[f"labels_{i}"]) > 1,
                bool(annotated),
                kept[f"voxels_{i}"].astype(np.int64),
            )
            for i, annotated in enumerate(kept["annotated"])
        ]


def _write(file: Path, found: ClassLocations, stamp: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"stamp": np.array(stamp), "annotated": np.array([one[2] for one in found], bool)}
    for i, (labels, _, _, voxels) in enumerate(found):
        arrays[f"labels_{i}"] = np.array(labels, np.int64)
        arrays[f"voxels_{i}"] = voxels.astype(np.int32 if voxels.max(initial=0) < 2**31 else np.int64)
    # Another process may write the same file: it appears whole.
    part = file.with_name(f".{file.stem}-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as stream:  # unlike tempfile's, readable by whom the umask lets
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        part.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
