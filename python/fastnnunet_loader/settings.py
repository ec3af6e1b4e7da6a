"""What `install()` accepts: one list of settings, from which its signature, the command line and docs/settings.md come.

`scripts/settings.py --write` writes `install()` and the table in the docs anew; `tests/package/test_settings.py` holds that
they agree. The module imports nothing but the standard library, so that commands parse their arguments without torch.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "BYTES",
    "COUNT",
    "LOADERS",
    "MAX_SKIPPED",
    "PATIENCE",
    "PICTURES_BY",
    "SECONDS",
    "SECONDS_ABOVE_0",
    "SEED",
    "SHARE",
    "STALL_AFTER",
    "STATS_EVERY",
    "Kind",
    "LoaderSettings",
    "Setting",
    "Settings",
    "above_0",
    "in_units",
    "parse_bytes",
    "settings_of",
    "whole_number",
]

STALL_AFTER = 60.0
"""Seconds that a batch may take before the loader reports a stall."""

PATIENCE = 300.0
"""Seconds for which reading is retried if a disk or file server does not answer, or if a file has disappeared."""

MAX_SKIPPED = 0.05
"""Largest share of the cases that `on_bad_case="skip"` may skip; one case may always be skipped."""

STATS_EVERY = 60.0
"""Seconds between two lines of a loader's statistics in a file of JSON lines."""

PICTURES_BY = "fastnnunet"
"""The software that pictures name as their author."""

LOADERS = ("training", "validation")
"""Names of the two loaders of a trainer, in the order in which nnU-Net makes them."""


@dataclass(frozen=True)
class Kind:
    """Which values a setting takes, and how they are written on a command line."""

    metavar: str
    expected: str
    """In messages: "expected ..., got ..."."""
    read: Callable[[str], Any]
    """From the text of a command line; raises ValueError."""
    valid: Callable[[Any], bool]

    def parse(self, text: str) -> Any:
        """Return the value of a text.

        Raises:
            ValueError: "expected ..., got ...".
        """
        try:
            if self.valid(value := self.read(text)):
                return value
        except ValueError:
            pass
        raise ValueError(f"expected {self.expected}, got {text!r}")

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError if a value is out of range, or of another type."""
        try:
            valid = self.valid(value)
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError(f"[{name}] expected {self.expected}, got {value!r}")


def parse_bytes(text: str | int) -> int:
    """A number of bytes from '4GB', '512 MiB', '1.5G' or a plain number. Units are powers of 1024.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"expected a size such as '4GB', got {text!r}")
    return int(float(match[1]) * 1024 ** ("kmgt".index(match[2].lower()) + 1 if match[2] else 0))


def in_units(count: float) -> str:
    """A number of bytes in words: '1.4 GiB'."""
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def whole_number(value: Any) -> int:
    """Return a whole number, of whatever type, as an int. Raises ValueError for anything else, a bool too."""
    if hasattr(value, "__index__") and not isinstance(value, bool):  # a tensor or an array without axes, too
        return operator.index(value)
    if isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer():
        return int(float(value))
    raise ValueError(f"expected a whole number, got {value!r}")


def above_0(name: str, value: Any, or_else: str = "") -> int:
    """Return a whole number above 0. Raises ValueError for anything else. or_else: what the message expects besides."""
    try:
        if (made := whole_number(value)) > 0:
            return made
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"[{name}] expected a whole number above 0{or_else}, got {value!r}")


def _is_size(value: Any) -> bool:
    try:
        parse_bytes(value)
    except (TypeError, ValueError):
        return False
    return True


COUNT = Kind("N", "a number from 1 on", _whole, lambda value: whole_number(value) >= 1)
SEED = Kind("N", "a number from 0 to 2**64 - 1", _whole, lambda value: 0 <= whole_number(value) < 2**64)
BYTES = Kind("SIZE", "a size such as '4GB'", parse_bytes, _is_size)
SHARE = Kind("SHARE", "a share from 0 to 1", _finite, lambda value: 0 <= value <= 1)
SECONDS = Kind("SECONDS", "seconds from 0 on", _finite, lambda value: value >= 0)
SECONDS_ABOVE_0 = Kind("SECONDS", "seconds above 0", _finite, lambda value: value > 0)
_ON_BAD_CASE = Kind("", "'raise' or 'skip'", str, lambda value: value in ("raise", "skip"))
_LOADER = Kind("LOADER", f"names out of {', '.join(LOADERS)}", str, lambda value: value in LOADERS)
_JSON_LINES = Kind("FILE.jsonl", "a file", Path, lambda _: True)
_METRICS = Kind("FILE.prom", "a file", Path, lambda _: True)
_FOLDER = Kind("DIR", "a folder", Path, lambda _: True)
_SWITCH = Kind("", "True or False", bool, lambda _: True)


@dataclass(frozen=True)
class Setting:
    """What users are told of a field of `Settings`, beside its name, type and default."""

    kind: Kind
    help: str
    """One sentence, which begins in lower case and has no full stop."""
    more: str = ""
    """Sentences that only `install()` and the docs have room for."""
    unset: str = ""
    """What None, or no value, means."""
    variable: str = ""
    """The environment variable that is read if the setting is not given."""
    choices: tuple[str, ...] = ()
    """The texts that it takes; several of them if its default is a tuple."""
    group: str = "loader"
    """The group of options on the command line: "loader" or "statistics"."""

    @property
    def default_in_words(self) -> str:
        """What None, or no value, means, with the environment variable; empty if the default says it itself."""
        return f"{self.variable}, else {self.unset}" if self.variable else self.unset


def _told(*arguments: Any, **options: Any) -> dict[str, Setting]:
    return {"setting": Setting(*arguments, **options)}


def settings_of(kind: type[LoaderSettings]) -> dict[str, tuple[dataclasses.Field[Any], Setting]]:
    """Return the fields of a class of settings under their names, in order, with what users are told of them."""
    return {found.name: (found, found.metadata["setting"]) for found in dataclasses.fields(kind)}


@dataclass(frozen=True, kw_only=True)
class LoaderSettings:
    """Settings of one loader: the part of `Settings` that `DataLoader` takes as well.

    Raises:
        ValueError: a value is out of range.
    """

    threads: int | None = field(
        default=None,
        metadata=_told(
            COUNT,
            "number of threads that make batches",
            unset="one less than the cores, at most 8",
            variable="nnUNet_n_proc_DA",
            more="The environment variable counts at most as the number of cores, and 0 counts as 1. With neither, threads are "
            "added while the training waits for batches and all are busy, up to one less than the cores, at most 32.",
        ),
    )
    seed: int | None = field(default=None, metadata=_told(SEED, "seed of all batches", unset="drawn at random and logged"))
    memory_budget: int | str | None = field(
        default=None,
        metadata=_told(
            BYTES,
            "memory limit of all loaders of a training, such as 4GB",
            unset="half of the free memory, at most 32GB",
            more="A number is in bytes. Only a limit that is given refuses what does not fit; by default the loaders take the "
            "least that they need, and predictions go on one by one, with a warning.",
        ),
    )
    on_bad_case: Literal["raise", "skip"] = field(
        default="raise",
        metadata=_told(
            _ON_BAD_CASE,
            "if a case cannot be read: stop, or skip it and list it at the end",
            choices=("raise", "skip"),
        ),
    )
    max_skipped: float = field(
        default=MAX_SKIPPED,
        metadata=_told(
            SHARE,
            "largest share of the cases that 'skip' may skip; one case may always be skipped",
            more="If more cases are bad, the training ends with an error that lists them.",
        ),
    )
    patience: float = field(
        default=PATIENCE,
        metadata=_told(
            SECONDS,
            "seconds for which reading a file is retried if its disk or file server does not answer, or if the file "
            "disappeared; 0 gives up at once",
            more="Errors such as EIO, ESTALE and ETIMEDOUT are retried; the log reports the wait as a stall.",
        ),
    )
    stall_after: float = field(
        default=STALL_AFTER,
        metadata=_told(SECONDS_ABOVE_0, "seconds after which the log reports a slow batch, with what each thread is doing"),
    )
    abort_after: float | None = field(
        default=None,
        metadata=_told(
            SECONDS_ABOVE_0,
            "seconds after which a slow batch ends the training with an error, so that the batch system can restart it",
            unset="wait",
            more="The error is a StallError; `--c` continues from the last checkpoint.",
        ),
    )
    check_finite: bool = field(default=False, metadata=_told(_SWITCH, "treat cases with NaN or infinite voxels as bad cases"))
    unrestricted_pickles: bool = field(
        default=False,
        metadata=_told(
            _SWITCH,
            "read the properties of cases with Python's own unpickler, which runs any code in the file",
            more="By default, a case whose `CASE.pkl` holds anything that nnU-Net does not write is a bad case.",
        ),
    )
    cache_dir: str | os.PathLike[str] | None = field(
        default=None,
        metadata=_told(
            _FOLDER,
            "folder on a disk of this machine to which the files of cases are copied when they are first needed",
            unset="no copies",
            more="For data sets on slow or remote storage. All processes that name the same folder share the copies.",
        ),
    )
    cache_size: int | str | None = field(
        default=None,
        metadata=_told(
            BYTES,
            "largest size of all copies in 'cache_dir', such as 200GiB",
            unset="nine tenths of what the disk has free",
            more="The least recently used copies are removed for others.",
        ),
    )

    def __post_init__(self) -> None:
        for name, (_, setting) in settings_of(type(self)).items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, tuple):
                setting.kind.check(name, value)
        if self.memory_budget is not None:
            object.__setattr__(self, "memory_budget", parse_bytes(self.memory_budget))

    @property
    def budget(self) -> int | None:
        """The memory budget in bytes."""
        assert not isinstance(self.memory_budget, str)
        return self.memory_budget

    @property
    def cache(self) -> tuple[Path, int | None] | None:
        """The folder of the cache, and its size in bytes if that is given; None for no cache.

        Raises:
            ValueError: there is a size and no folder.
        """
        if self.cache_dir is None:
            if self.cache_size is not None:
                raise ValueError("[cache_size] expected a folder of the cache, cache_dir, with it, got none")
            return None
        return Path(self.cache_dir).absolute(), None if self.cache_size is None else parse_bytes(self.cache_size)


@dataclass(frozen=True, kw_only=True)
class Settings(LoaderSettings):
    """Settings of `install()`, which `fastnnunet train` and `fastnnunet run` have as options.

    Raises:
        ValueError: a value is out of range.
    """

    leave_to_nnunet: Collection[Literal["training", "validation"]] = field(
        default=(),
        metadata=_told(
            _LOADER,
            "a loader that keeps nnU-Net's worker processes: training or validation",
            unset="none",
            choices=LOADERS,
            more="For trainers whose Python transforms are slow and hold Python's lock. The option may be given twice, and "
            "`install()` takes a list.",
        ),
    )
    live: bool = field(
        default=False,
        metadata=_told(
            _SWITCH,
            "show statistics while training; if the output is not a terminal, one line a minute",
            group="statistics",
        ),
    )
    log_stats: bool = field(
        default=False,
        metadata=_told(_SWITCH, "write one line of statistics to nnU-Net's log after every epoch", group="statistics"),
    )
    stats: str | os.PathLike[str] | None = field(
        default=None,
        metadata=_told(
            _JSON_LINES,
            "append statistics to a file of JSON lines; at 64 MB it is renamed to FILE.1",
            unset="no file",
            more="A line is written now and then, after every epoch and at the end of a training.",
            group="statistics",
        ),
    )
    stats_every: float = field(
        default=STATS_EVERY,
        metadata=_told(
            SECONDS_ABOVE_0,
            "seconds between two lines of a loader in the file of 'stats', besides one after every epoch",
            more="Only lines after an epoch have the times of stages.",
            group="statistics",
        ),
    )
    metrics: str | os.PathLike[str] | None = field(
        default=None,
        metadata=_told(
            _METRICS,
            "write statistics to a file for Prometheus' node exporter, in its text format",
            unset="no file",
            more="The file is replaced as a whole every 10 seconds. This needs the package prometheus_client.",
            group="statistics",
        ),
    )

    def __post_init__(self) -> None:
        left = (self.leave_to_nnunet,) if isinstance(self.leave_to_nnunet, str) else tuple(self.leave_to_nnunet)
        _, setting = settings_of(Settings)["leave_to_nnunet"]
        for name in left:
            setting.kind.check("leave_to_nnunet", name)
        object.__setattr__(self, "leave_to_nnunet", left)
        super().__post_init__()
