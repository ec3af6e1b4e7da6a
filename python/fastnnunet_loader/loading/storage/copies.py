"""The files of one loader's cases, where its threads read them: in the cache, or where they are."""

from __future__ import annotations

import contextlib
import errno
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ... import _core
from ...errors import FastnnUNetError, ResourceError, StorageError
from ...settings import in_units
from ...threads import start
from ...transforms.python import noted
from .cache import FileCache
from .choice import Choice, Volume, choose, requests_alone, samples_of_a_copy
from .mirrors import origin
from .partial import PIECE, Partial
from .places import Place, is_address
from .ranges import Ranges, WholeFilesOnlyError

__all__ = ["CaseCopies", "as_it_is", "copies_of", "files_of", "located"]

AHEAD = 64
"""Batches whose cases are copied before they are needed."""

THREADS = 2
"""Threads that copy ahead: while one waits for a server, the other writes."""

EXAMINED = 5
"""Cases, evenly among all, of which is found out how large they are and what a sample needs of them."""

LAST = 16 << 10
"""Bytes at the end of a `.b2nd` file that are requested with its beginning: there is the table of its chunks."""

SECONDS_TO_END = 0.3
"""Seconds that the threads have to end. A server that does not answer is not waited for: nothing but a copy is lost."""


class _Upcoming(Protocol):
    """What tells the cases of the next batches: the core's loader."""

    @property
    def step(self) -> int: ...
    def cases_of(self, step: int) -> list[int]:
        """Return the cases of a step."""


def copies_of(
    cases: Sequence[_core.CaseFiles],
    cache: tuple[Path, int | None] | None,
    patch: Sequence[int],
    samples: int | None,
    say: Callable[[str], None],
) -> CaseCopies | None:
    """Return the copies of cases; None where they are read from where they are.

    patch: (X, Y, Z) voxels that a sample reads at most. samples: that will be made, if that is known.

    Raises:
        ValueError: cases are at an address, and there is no cache.
    """
    if cache is not None:
        return CaseCopies(cases, FileCache(*cache, say), patch, samples, say)
    if (first := next((case.image for case in cases if is_address(case.image)), None)) is not None:
        raise ValueError(
            f"[cache_dir] expected a folder on a disk of this machine, for {origin(first)} is not on one, got none"
        )
    return None


class CaseCopies:
    """Copies of the files of cases. A case's files are copied when one of its samples needs them, and before.

    Of `.b2nd` files at an address, parts are requested in place of whole files where that is less (`choice.py`).

    Args:
        cases: with the places of their files.
        cache: where copies are.
        patch: (X, Y, Z) voxels that a sample reads at most.
        samples: that will be made; None if nobody knows.
        say: told if parts are requested, or should be and the server does not send any.
    """

    def __init__(
        self,
        cases: Sequence[_core.CaseFiles],
        cache: FileCache,
        patch: Sequence[int],
        samples: int | None,
        say: Callable[[str], None],
    ) -> None:
        self._cases = cases
        self.cache = cache
        self._patch = patch
        self._samples = samples
        self._say = say
        self._choice: Choice | None = None
        self._choosing = threading.Lock()
        self._stopped = threading.Event()
        self._claimed: set[int] = set()  # cases that are, or are being, copied ahead
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __call__(self, number: int, which: int) -> Any:
        """Return where to read one of the volumes of a case from. The core calls it in the thread that needs the file."""
        with noted():
            file = _volume(self._cases[number], which)
            place = origin(file)
            return self._parts_of(str(place)) if self._in_parts(place) else self.find(file)

    def _in_parts(self, place: Place) -> bool:
        """Whether parts of a file are requested."""
        return _may_be_in_parts(place) and self._chosen().blocks

    def _parts_of(self, place: str) -> tuple[Path, int, int, int, Callable[[Ranges], None] | None]:
        """Return the file that has parts of a file, its beginning and its end among them, as the core takes it."""
        partial = self.cache.partial(place, self._stopped.is_set)
        size = partial.stamp.size
        fetch = None if partial.whole else functools.partial(self._fetch, partial)
        self.cache.fetch(partial, [(0, min(PIECE, size)), (max(0, size - LAST), size)], self._stopped.is_set)
        return partial.file, size, PIECE, partial.content, fetch

    def _fetch(self, partial: Partial, ranges: Ranges) -> None:
        """Fetch ranges of a file. The core calls it in the thread that needs them."""
        with noted():
            self.cache.fetch(partial, ranges, self._stopped.is_set)

    def _chosen(self) -> Choice:
        """Return what is requested of all cases, which is found out once.

        Raises:
            StorageError: a server does not answer.
        """
        with self._choosing:
            if self._choice is None:
                choice = self._choose()
                if choice.blocks:
                    self._say(f"fastnnunet_loader: blocks of cases are requested, not whole files: {choice.reason}.")
                self._choice = choice
            return self._choice

    def _choose(self) -> Choice:
        examined = [case for case in self._cases[:: -(-len(self._cases) // EXAMINED)]]
        sizes, needed = [], []
        try:
            for case in examined:
                with _unless_it_is_bad():
                    sizes.append(sum(self.cache.stamp_of(place).size for place in _in_parts_of(case)))
            size = sum(sizes) / max(1, len(sizes))
            samples = samples_of_a_copy(len(self._cases), size * len(self._cases), self.cache.size, self._samples)
            least = requests_alone(sum(len(_in_parts_of(case)) for case in examined) / len(examined))
            if samples * least >= size:  # no server has to be asked for parts
                return choose(size, least, samples)
            if not self.cache.has_sparse_files:
                reason = f"{self.cache.root.parent} is on a file system without sparse files"
                self._say(f"fastnnunet_loader: whole files are copied, although blocks of them may do: {reason}.")
                return Choice(False, reason)
            for case in examined:
                with _unless_it_is_bad():
                    needed.append(sum(self._volume_at(place).needed(self._patch) for place in _in_parts_of(case)))
        except WholeFilesOnlyError as error:
            self._say(f"fastnnunet_loader: whole files are copied, although blocks of them would do: {error}.")
            return Choice(False, error.reason)
        return choose(size, sum(needed) / len(needed), samples) if needed else Choice(False, "no case can be read")

    def _volume_at(self, place: str) -> Volume:
        volume = _core.open_volume(self._parts_of(place))
        assert volume.tiling is not None
        return Volume(self.cache.stamp_of(place).size, volume.shape, *volume.tiling)

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
        """Copy the cases of the next batches from now on, in threads that end with `close`.

        If the system gives no threads, the user is told, and files are copied when they are needed.
        """
        for number in range(THREADS):
            thread = threading.Thread(target=self._ahead, args=(core,), name=f"fastnnunet_loader copies {number}", daemon=True)
            try:
                start(thread, "[cache_dir] expected a thread that copies files ahead")
            except ResourceError as error:
                if not self._threads:
                    self._say(f"fastnnunet_loader: warning: {error}. Files are copied when they are needed.")
                return
            self._threads.append(thread)

    def close(self) -> None:
        """End what is being copied, and copy no more."""
        self._stopped.set()
        end = time.monotonic() + SECONDS_TO_END
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
        self._threads.clear()

    def describe(self) -> str:
        """Return text."""
        cache, choice = self.cache, self._choice
        text = (
            f"copies of cases in {cache.root.parent}, {in_units(cache.size)} at most, "
            f"{cache.copied} files with {in_units(cache.copied_bytes)} copied"
        )
        if choice is not None and choice.blocks:
            got = f"{cache.requests} requests for {in_units(cache.requested_bytes)}"
            text += f"\nblocks of cases are requested, not whole files: {choice.reason}; {got}"
        return text

    def _ahead(self, core: _Upcoming) -> None:
        try:
            while not self._stopped.is_set():
                number = self._next(core)
                if number is None:
                    self._stopped.wait(1.0)
                    continue
                for file in files_of(self._cases[number]):
                    try:
                        place = origin(file)
                        if self._in_parts(place):
                            self._parts_of(str(place))
                        else:
                            self.cache.local(place, self._stopped.is_set)
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


def _may_be_in_parts(place: Place) -> bool:
    return isinstance(place, str) and place.endswith(".b2nd")


def _in_parts_of(case: _core.CaseFiles) -> list[str]:
    return [str(place) for place in map(origin, files_of(case)) if _may_be_in_parts(place)]


@contextlib.contextmanager
def _unless_it_is_bad() -> Iterator[None]:
    """Inside, an error that will not pass is left for the sample that comes upon it."""
    try:
        yield
    except WholeFilesOnlyError:
        raise
    except StorageError as error:
        if error.passing:
            raise


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
