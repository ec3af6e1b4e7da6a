"""The files of one loader's cases, where its threads read them: in the cache, or where they are."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ... import _core
from ...errors import FastnnUNetError, StorageError
from ...settings import in_units
from ...transforms.python import noted
from .cache import FileCache
from .mirrors import origin
from .places import is_address

__all__ = ["CaseCopies", "as_it_is", "copies_of", "files_of", "located"]

AHEAD = 64
"""Batches whose cases are copied before they are needed."""

THREADS = 2
"""Threads that copy ahead: while one waits for a server, the other writes."""

SECONDS_TO_END = 0.3
"""Seconds that the threads have to end. A server that does not answer is not waited for: nothing but a copy is lost."""


class _Upcoming(Protocol):
    """What tells the cases of the next batches: the core's loader."""

    @property
    def step(self) -> int: ...
    def cases_of(self, step: int) -> list[int]:
        """Return the cases of a step."""


def copies_of(
    cases: Sequence[_core.CaseFiles], cache: tuple[Path, int | None] | None, say: Callable[[str], None]
) -> CaseCopies | None:
    """Return the copies of cases; None where they are read from where they are.

    Raises:
        ValueError: cases are at an address, and there is no cache.
    """
    if cache is not None:
        return CaseCopies(cases, FileCache(*cache, say))
    if (first := next((case.image for case in cases if is_address(case.image)), None)) is not None:
        raise ValueError(
            f"[cache_dir] expected a folder on a disk of this machine, for {origin(first)} is not on one, got none"
        )
    return None


class CaseCopies:
    """Copies of the files of cases. A case's files are copied when one of its samples needs them, and before.

    Args:
        cases: with the places of their files.
        cache: where copies are.
    """

    def __init__(self, cases: Sequence[_core.CaseFiles], cache: FileCache) -> None:
        self._cases = cases
        self.cache = cache
        self._stopped = threading.Event()
        self._claimed: set[int] = set()  # cases that are, or are being, copied ahead
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __call__(self, number: int, which: int) -> Path:
        """Return where to read one of the volumes of a case from. The core calls it in the thread that needs the file."""
        with noted():
            return self.find(_volume(self._cases[number], which))

    def find(self, file: Path) -> Path:
        """Return where to read a file from.

        Raises:
            StorageError: it cannot be read, or is not on a disk and there is no room for a copy.
        """
        place = origin(file)
        if isinstance(place, Path) and self._stopped.is_set():
            return place  # what goes through whole cases outlives the loader
        found = self.cache.local(place, self._stopped.is_set)
        if found is not None:
            return found
        if isinstance(place, Path):
            return place
        reason = f"expected room for a copy in {self.cache.root.parent}, got none"
        raise StorageError(f"[{place}] {reason}", file=str(place), reason=reason, errno=errno.ENOSPC, passing=True)

    def located(self, case: _core.CaseFiles) -> _core.CaseFiles:
        """Return a case with the paths of its copies."""
        return located(case, self.find)

    def follow(self, core: _Upcoming) -> None:
        """Copy the cases of the next batches from now on, in threads that end with `close`."""
        for number in range(THREADS):
            name = f"fastnnunet_loader copies {number}"
            self._threads.append(threading.Thread(target=self._ahead, args=(core,), name=name, daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """End what is being copied, and copy no more."""
        self._stopped.set()
        end = time.monotonic() + SECONDS_TO_END
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
        self._threads.clear()

    def describe(self) -> str:
        """Return a line of text."""
        return (
            f"copies of cases in {self.cache.root.parent}, {in_units(self.cache.size)} at most, "
            f"{self.cache.copied} files with {in_units(self.cache.copied_bytes)} copied"
        )

    def _ahead(self, core: _Upcoming) -> None:
        try:
            while not self._stopped.is_set():
                number = self._next(core)
                if number is None:
                    self._stopped.wait(1.0)
                    continue
                for file in files_of(self._cases[number]):
                    try:
                        self.cache.local(origin(file), self._stopped.is_set)
                    except StorageError:
                        break  # who needs it says so
        except (FastnnUNetError, OSError):
            return  # closed meanwhile, or nothing can be copied: each thread does so for itself

    def _next(self, core: _Upcoming) -> int | None:
        first, promised = core.step, 0
        upcoming: set[int] = set()
        for step in range(first, first + AHEAD):
            for number in core.cases_of(step):
                if number in upcoming:
                    continue
                upcoming.add(number)
                # What comes later must not take the place of what comes first.
                promised += sum(self.cache.bytes_of(origin(file)) for file in files_of(self._cases[number]))
                if promised > self.cache.size // 2:
                    return None
                with self._lock:
                    if number not in self._claimed:
                        self._claimed.add(number)
                        return number
        with self._lock:
            self._claimed &= upcoming  # the others may have been removed since
        return None


def files_of(case: _core.CaseFiles) -> Iterator[Path]:
    """Yield the files of a case, each once; the properties last."""
    found = [case.image, case.segmentation, case.previous, case.regression, case.properties]
    yield from dict.fromkeys(file for file in found if file != Path())


def as_it_is(case: _core.CaseFiles) -> _core.CaseFiles:
    """Return the case itself: its files are read from where they are."""
    return case


def located(case: _core.CaseFiles, find: Callable[[Path], Path]) -> _core.CaseFiles:
    """Return a case whose volumes are at other paths."""

    def at(file: Path) -> str | Path:
        return "" if file == Path() else find(file)

    return _core.CaseFiles(
        name=case.name,
        image=at(case.image),
        segmentation=at(case.segmentation),
        previous=at(case.previous),
        properties=case.properties,
        regression=at(case.regression),
    )


def _volume(case: _core.CaseFiles, which: int) -> Path:
    return (case.image, case.segmentation, case.previous, case.regression)[which]
