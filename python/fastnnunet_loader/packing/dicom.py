"""A folder with the files of a DICOM series, read with SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["files_of", "information", "is_dicom", "looks_like_dicom", "read"]

FEW = 10
"""Files of a folder that are looked at to see whether they are DICOM."""

UNEVEN = 0.01
"""Of the distance between slices: by how much distances may differ."""


def is_dicom(file: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def looks_like_dicom(folder: Path) -> bool:
    """Whether the first few files of a folder are DICOM."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    return any(file.suffix.lower() == ".dcm" or is_dicom(file) for file in files[:FEW])


def files_of(folder: str, series: str | None) -> list[str]:
    """Return the files of the folder's series, in the order of slices.

    series: its UID or its description; None if the folder has only one.

    Raises:
        ValueError: there is none, or there are several; the message lists them.
    """
    import SimpleITK as sitk

    found = {uid: list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, uid)) for uid in _series(folder, series)}
    if not found:
        raise ValueError("expected a DICOM series, got none")
    if series is None and len(found) == 1:
        return next(iter(found.values()))
    told = {uid: _description(files[0]) for uid, files in found.items()}
    chosen = [uid for uid in found if series in (uid, told[uid])] if series else []
    if len(chosen) == 1:
        return found[chosen[0]]
    listed = "; ".join(f"{uid} ({told[uid] or 'no description'}, {len(found[uid])} files)" for uid in found)
    wanted = "one DICOM series; choose one with --series" if series is None else f"one DICOM series {series!r}"
    raise ValueError(f"expected {wanted}, got {listed}")


def _series(folder: str, wanted: str | None) -> list[str]:
    import SimpleITK as sitk

    uids = list(sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder))
    return [wanted] if wanted is not None and wanted in uids else uids  # each further one is a scan of the folder


def _description(file: str) -> str:
    reader = _header(file)
    return str(reader.GetMetaData("0008|103e")).strip() if reader.HasMetaDataKey("0008|103e") else ""


def _header(file: str) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader


class _Information:
    """The header of a series, with the methods of SimpleITK's readers."""

    def __init__(self, first: Any, size: tuple[int, ...], spacing: tuple[float, ...], direction: tuple[float, ...]) -> None:
        self._first = first
        self._size = size
        self._spacing = spacing
        self._direction = direction

    def GetSize(self) -> tuple[int, ...]:
        return self._size

    def GetSpacing(self) -> tuple[float, ...]:
        return self._spacing

    def GetDirection(self) -> tuple[float, ...]:
        return self._direction

    def GetOrigin(self) -> tuple[float, ...]:
        return tuple(self._first.GetOrigin())

    def GetPixelID(self) -> int:
        return int(self._first.GetPixelID())

    def GetNumberOfComponents(self) -> int:
        return int(self._first.GetNumberOfComponents())


def information(files: Sequence[str]) -> Any:
    """Return the header of a series, as SimpleITK's readers give it, from the headers of all slices in order.

    Raises:
        ValueError: slices of different sizes, or not at equal distances.
    """
    readers = [_header(file) for file in files]
    first = readers[0]
    size = tuple(first.GetSize())
    if len(files) == 1:
        return first
    for file, reader in zip(files, readers, strict=True):
        if reader.GetSize() != first.GetSize():
            raise ValueError(f"expected slices of the size {size[:2]}, got {tuple(reader.GetSize())[:2]} in {Path(file).name}")
    places = np.array([reader.GetOrigin() for reader in readers])
    steps = np.diff(places, axis=0)
    distances = np.linalg.norm(steps, axis=1)
    if distances.min() <= 0 or np.abs(steps - np.median(steps, axis=0)).max() > max(UNEVEN * np.median(distances), 1e-3):
        worst = int(np.argmax(np.abs(distances - np.median(distances))))
        raise ValueError(
            f"expected slices at equal distances ({np.median(distances):.4g} mm), got {distances[worst]:.4g} mm between "
            f"{Path(files[worst]).name} and {Path(files[worst + 1]).name}: a slice is missing, or there twice"
        )
    direction = np.array(first.GetDirection()).reshape(3, 3)
    direction[:, 2] = steps[0] / distances[0]
    spacing = (*tuple(first.GetSpacing())[:2], float(np.median(distances)))
    return _Information(first, (*size[:2], len(files)), spacing, tuple(direction.ravel().tolist()))


def read(files: Sequence[str], *, as_float: bool) -> Any:
    """Return a series as an image of SimpleITK, from its files in order.

    as_float: in float32. Else the type of the first slice is that of all, and slices with other slopes would be cut to it.
    """
    import SimpleITK as sitk

    if len(files) == 1:
        return sitk.ReadImage(files[0])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    if as_float:
        reader.SetOutputPixelType(sitk.sitkFloat32)
    return reader.Execute()
