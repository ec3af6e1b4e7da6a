"""The settings of install() that prediction needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from ...settings import PATIENCE, Settings
from ...system import available_cores, threads_of
from ..originals.stand_ins import Patches

__all__ = ["Options", "install", "installed", "patience", "threads"]


@dataclass(frozen=True)
class Options:
    """What a Session takes of the settings, under the Session's names."""

    memory_budget: int | None
    """Bytes; None for half of the free memory."""
    on_bad_case: str
    threads: int | None
    """None for one less than the cores, at most 8."""
    patience: float
    """Seconds."""

    @classmethod
    def of(cls, settings: Settings) -> Options:
        """Return those of install()."""
        return cls(settings.budget, settings.on_bad_case, settings.threads, settings.patience)


current: Callable[[], Options] | None = None
"""None before install() and after uninstall()."""


def install(patches: Patches, options: Callable[[], Options]) -> None:
    """Use these settings until the patches are undone."""
    patches.set(sys.modules[__name__], "current", options)


def installed() -> bool:
    """Whether install() was called."""
    return current is not None


def patience() -> float:
    """Return the seconds for which reads are retried, as install() was told."""
    return PATIENCE if current is None else current().patience


def threads() -> int:
    """Return the threads of preprocessing and export: as install() was told, else one less than the cores, at most 8."""
    asked = None if current is None else current().threads
    return threads_of(available_cores()) if asked is None else asked
