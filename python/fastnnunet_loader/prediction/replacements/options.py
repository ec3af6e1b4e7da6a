"""The settings of install() that prediction needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ...settings import PATIENCE
from ...system import available_cores, threads_of
from ..originals.stand_ins import Patches

__all__ = ["Options", "install", "installed", "patience", "threads"]

Options = Callable[[], dict[str, Any]]
"""Returns memory_budget, on_bad_case, threads and patience of a Session."""

current: Options | None = None
"""None before install() and after uninstall()."""


def install(patches: Patches, options: Options) -> None:
    """Use these settings until the patches are undone."""
    patches.set(sys.modules[__name__], "current", options)


def installed() -> bool:
    """Whether install() was called."""
    return current is not None


def patience() -> float:
    """Return the seconds for which reads are retried, as install() was told."""
    return PATIENCE if current is None else float(current()["patience"])


def threads() -> int:
    """Return the threads of preprocessing and export: as install() was told, else one less than the cores, at most 8."""
    asked = None if current is None else current()["threads"]
    return threads_of(available_cores()) if asked is None else int(asked)
