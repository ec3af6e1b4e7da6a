"""What install() was asked for, as far as prediction needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ...settings import PATIENCE
from ...system import available_cores, threads_of
from ..originals.stand_ins import Patches

__all__ = ["Options", "install", "installed", "patience", "threads"]

Options = Callable[[], dict[str, Any]]
"""Gives memory_budget, on_bad_case, threads and patience of a Session."""

current: Options | None = None
"""None before install() and after uninstall()."""


def install(patches: Patches, options: Options) -> None:
    """Take these until the patches are undone."""
    patches.set(sys.modules[__name__], "current", options)


def installed() -> bool:
    """Whether they are."""
    return current is not None


def patience() -> float:
    """With files that are read: as install() was told."""
    return PATIENCE if current is None else float(current()["patience"])


def threads() -> int:
    """Of preprocessing and export: as install() was told, else every core but one, and at most 8."""
    asked = None if current is None else current()["threads"]
    return threads_of(available_cores()) if asked is None else int(asked)
