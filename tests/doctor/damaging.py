"""Writes wrong files into a data set, as they are found in the wild."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from fastnnunet_loader.doctor import Check, Verdict, run
from fastnnunet_loader.doctor.dataset import DatasetChecks
from fastnnunet_loader.loading.reading.pickles import read_properties


def checks_of(dataset: Any, configuration: str | None = "3d_fullres", **settings: Any) -> list[Check]:
    """All checks of a data set."""
    checks = DatasetChecks(dataset.name, configuration=configuration, **settings)
    found = run([("data set", checks.find)], lambda _: None)
    return found + run(checks.tasks(), lambda _: None)


def bad(checks: list[Check]) -> dict[str, Check]:
    """The checks that are neither fine nor notes, by name."""
    return {check.name: check for check in checks if check.verdict in (Verdict.FAIL, Verdict.WARNING)}


def array(file: Path) -> np.ndarray[Any, Any]:
    return np.array(blosc2.open(urlpath=str(file), mode="r")[:])


def write(file: Path, voxels: np.ndarray[Any, Any]) -> None:
    file.unlink(missing_ok=True)
    blosc2.asarray(np.ascontiguousarray(voxels), urlpath=str(file), chunks=voxels.shape, blocks=voxels.shape)


def truncate(file: Path, part: float = 0.5) -> tuple[int, int]:
    """Cut a file off; return its size before and after."""
    whole = file.read_bytes()
    rest = whole[: int(len(whole) * part)]
    file.write_bytes(rest)
    return len(whole), len(rest)


def change_properties(file: Path, **changes: Any) -> None:
    file.write_bytes(pickle.dumps({**read_properties(file), **changes}))
