"""What `install()` can be asked for: one list of settings, with their defaults and their checks."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass

__all__ = [
    "LOADERS",
    "MAX_SKIPPED",
    "PATIENCE",
    "PICTURES_BY",
    "STALL_AFTER",
    "STATS_EVERY",
    "Settings",
    "check_abort_after",
    "check_patience",
    "check_share",
    "in_units",
    "parse_bytes",
]

STALL_AFTER = 60.0
"""Seconds that a batch may take before the loader says what it waits for."""

PATIENCE = 300.0
"""Seconds that a file is tried again where a disk or a file server does not answer, or where a file that was there is gone."""

MAX_SKIPPED = 0.05
"""Share of the cases that `on_bad_case="skip"` may go on without; at least one case may always be skipped."""

STATS_EVERY = 60.0
"""Seconds between two lines of statistics of a loader, in a file of JSON lines."""

PICTURES_BY = "fastnnunet"
"""The software that pictures name as theirs."""

LOADERS = ("training", "validation")
"""Names of the two loaders of a trainer, in the order in which nnU-Net makes them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `install()`; `fastnnunet_loader.install` explains each.

    Raises:
        ValueError: a value is out of range.
    """

    threads: int | None = None
    seed: int | None = None
    memory_budget: int | str | None = None
    on_bad_case: str = "raise"
    max_skipped: float = MAX_SKIPPED
    patience: float = PATIENCE
    check_finite: bool = False
    unrestricted_pickles: bool = False
    leave_to_nnunet: Collection[str] = ()
    stats: str | os.PathLike[str] | None = None
    stats_every: float = STATS_EVERY
    metrics: str | os.PathLike[str] | None = None
    log_stats: bool = False
    live: bool = False
    stall_after: float = STALL_AFTER
    abort_after: float | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"[threads] expected at least 1, got {self.threads}")
        if self.on_bad_case not in ("raise", "skip"):
            raise ValueError(f"[on_bad_case] expected 'raise' or 'skip', got {self.on_bad_case!r}")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise ValueError(f"[seed] expected a number from 0 to 2**64 - 1, got {self.seed}")
        if not self.stall_after > 0:
            raise ValueError(f"[stall_after] expected seconds above 0, got {self.stall_after}")
        check_abort_after(self.abort_after)
        check_patience(self.patience)
        check_share(self.max_skipped)
        if not self.stats_every > 0:
            raise ValueError(f"[stats_every] expected seconds above 0, got {self.stats_every}")
        left = (self.leave_to_nnunet,) if isinstance(self.leave_to_nnunet, str) else tuple(self.leave_to_nnunet)
        unknown = [name for name in left if name not in LOADERS]
        if unknown:
            raise ValueError(f"[leave_to_nnunet] expected names out of {', '.join(LOADERS)}, got {unknown[0]!r}")
        object.__setattr__(self, "leave_to_nnunet", left)
        if self.memory_budget is not None:
            object.__setattr__(self, "memory_budget", parse_bytes(self.memory_budget))

    @property
    def budget(self) -> int | None:
        """The memory budget in bytes."""
        assert not isinstance(self.memory_budget, str)
        return self.memory_budget


def check_abort_after(seconds: float | None) -> None:
    """Raise ValueError for what is no time after which a training gives up."""
    if seconds is not None and not seconds > 0:
        raise ValueError(f"[abort_after] expected seconds above 0, got {seconds}")


def check_patience(seconds: float) -> None:
    """Raise ValueError for what is no time to be patient."""
    if not seconds >= 0:
        raise ValueError(f"[patience] expected seconds from 0 on, got {seconds}")


def check_share(share: float) -> None:
    """Raise ValueError for what is no share of the cases."""
    if not 0 <= share <= 1:
        raise ValueError(f"[max_skipped] expected a share of the cases from 0 to 1, got {share}")


def parse_bytes(text: str | int) -> int:
    """A number of bytes from '4GB', '512 MiB', '1.5G' or a plain number. Units are powers of 1024.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"[memory budget] expected a size such as '4GB', got {text!r}")
    return int(float(match[1]) * 1024 ** ("kmgt".index(match[2].lower()) + 1 if match[2] else 0))


def in_units(count: float) -> str:
    """A number of bytes for people: '1.4 GiB'."""
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
