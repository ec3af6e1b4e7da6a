"""Copies of files on a disk of this machine, shared by all processes that name the same folder.

The state is what lies in the folder: a copy has the digest of its source's stamp in its name and appears by a rename, so it
is whole and of that content or not there. Locks are of the system's kind, which end with their process, and whoever is killed
leaves at most an incomplete file that the next process to make room removes. A copy was last used when it was last accessed.

    DIR/fastnnunet_cache/files/DIGEST OF THE SOURCE'S FOLDER/CASE.DIGEST OF ITS STAMP.b2nd

Parts of files (`partial.py`) lie in `parts` in the same way. They count with the disk space that they take.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from filelock import FileLock, Timeout

from ...errors import StorageError
from ...operating_system import bytes_on_disk, make_sparse
from ...settings import in_units
from . import places
from .partial import Partial
from .places import Place, Stamp, Stopped
from .ranges import Ranges, read_ranges

__all__ = ["FileCache"]

GRACE = 5.0
"""Seconds for which a copy that was given out is not removed: somebody is about to open it."""

FULL_FOR = 60.0
"""Seconds after which a disk that was full is tried again for a file that can be read from where it is."""

_LOCKS = 64
_SLACK = 50  # a fiftieth of the size is free after room was made, so that not every copy has to make some
_PART = ".part"
_PROBE = 1 << 20  # bytes of a file of which none is written


class FileCache:
    """Copies of files. Threads and processes may use one at the same time.

    Args:
        folder: on a disk of this machine.
        size: largest size of all copies in bytes; None for nine tenths of what the disk has free beside them.
        say: told once if files are read from where they are, because there is no room for copies.

    Raises:
        ValueError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, size: int | None, say: Callable[[str], None]) -> None:
        self.root = folder / "fastnnunet_cache"
        self._files, self._parts, self._locks = self.root / "files", self.root / "parts", self.root / "locks"
        try:
            for needed in (self._files, self._parts, self._locks):
                needed.mkdir(parents=True, exist_ok=True)
            with FileLock(self._locks / "size"):
                used = self._scan()[0] if self._read_used() is None else self._read_used()
                self._write_used(used or 0)
        except OSError as error:
            raise ValueError(
                f"[cache_dir] expected a folder that can be written to, got {folder}: {error.strerror or error}"
            ) from error
        free = shutil.disk_usage(self.root).free
        self.size = (9 * (free + (used or 0))) // 10 if size is None else size
        self._say = say
        self._told = False
        self._full_until = 0.0
        self._known: dict[str, tuple[Path, int]] = {}  # of sources that this process has examined
        self._stamps: dict[str, Stamp] = {}  # of those that parts are read of
        self._lock = threading.Lock()
        self.copied = 0
        self.copied_bytes = 0
        self.requests = 0
        self.requested_bytes = 0

    def local(self, place: Place, stopped: Stopped = lambda: False) -> Path | None:
        """Return a copy of a file, which is made if there is none; None if there is no room for it.

        The source is examined when this process asks for it first, and whenever a copy is made.

        Raises:
            StorageError: the source cannot be read.
            CopyStopped: `stopped()` became true.
        """
        known = self._known.get(str(place))
        if known is not None and self._use(*known):
            return known[0]
        stamp = places.stamp_of(place)
        file = self._file_of(place, stamp)
        if not self._use(file, stamp.size):
            if isinstance(place, Path) and time.monotonic() < self._full_until:
                return None
            with self._locked(file, stopped):
                if not self._use(file, stamp.size):
                    copied = self._copied(place, stamp, stopped)
                    if copied is None:
                        return None
                    file, stamp = copied
        self._known[str(place)] = (file, stamp.size)
        return file

    def stamp_of(self, place: str) -> Stamp:
        """Return the stamp of a file at an address, which is asked for once.

        Raises:
            StorageError: it cannot be examined.
        """
        if place not in self._stamps:
            self._stamps[place] = places.stamp_of(place)
        return self._stamps[place]

    def partial(self, place: str, stopped: Stopped = lambda: False) -> Partial:
        """Return a file that has parts of a file at an address, and is made if there is none; or the copy of all of it.

        Raises:
            StorageError: the source cannot be examined, or the file cannot be made.
            CopyStopped: `stopped()` became true.
        """
        stamp = self.stamp_of(place)
        copy = self._file_of(place, stamp)
        if self._use(copy, stamp.size):
            return Partial(place, stamp, copy, whole=True)
        partial = Partial(place, stamp, self._parts / copy.relative_to(self._files))
        if not self._use(partial.file, partial.size):
            with self._locked(partial.file, stopped):
                if not self._use(partial.file, partial.size):
                    self._remove_others(partial.file)
                    try:
                        partial.make()
                        self._count(bytes_on_disk(partial.file))
                    except OSError as error:
                        raise self._no_room(place, error.strerror or str(error)) from error
        return partial

    def fetch(self, partial: Partial, ranges: Ranges, stopped: Stopped = lambda: False) -> None:
        """Bring ranges of a source into the file with its parts, as far as they are not there.

        Raises:
            StorageError: the source cannot be read, is another one now, or there is no room for parts of it.
            CopyStopped: `stopped()` became true.
        """
        try:
            if partial.whole or not partial.missing(ranges):
                return
            with self._locked(partial.file, stopped):
                for again in (False, True):
                    missing = partial.missing(ranges)  # others may have fetched them
                    if not missing or self._fetched(partial, missing, again, stopped):
                        return
        except FileNotFoundError as error:
            raise self._no_room(partial.place, "its parts were removed for others") from error

    def _fetched(self, partial: Partial, missing: Ranges, again: bool, stopped: Stopped) -> bool:
        """Whether ranges were fetched; False where the disk is full, and may have room `again`."""
        count = sum(end - begin for begin, end in missing)
        if not self._admitted(None, count, again=again):
            raise self._no_room(partial.place, f"{in_units(self.size)} are too little beside what is in use")
        try:
            data = read_ranges(partial.place, partial.stamp, missing, stopped)
            partial.write((begin, part) for (begin, _), part in zip(missing, data, strict=True))
        except BaseException as error:
            self._count(-count)
            if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
                raise
            if again:  # of the disk with the parts: those of the source are StorageErrors
                raise self._no_room(partial.place, error.strerror or str(error)) from error
            return False
        self._use(partial.file, partial.size)
        with self._lock:
            self.requests += len(missing)
            self.requested_bytes += count
        return True

    def _no_room(self, place: str, why: str) -> StorageError:
        reason = f"expected room for parts of it in {self.root.parent}, got none: {why}"
        return places.failed(place, reason, errno.ENOSPC, passing=True)

    @functools.cached_property
    def has_sparse_files(self) -> bool:
        """Whether what was not fetched of a file takes no room. exFAT, for one, has no sparse files."""
        with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=self.root, prefix=".sparse-") as file:
            make_sparse(cast("BinaryIO", file))
            file.truncate(_PROBE)
            return bytes_on_disk(Path(file.name)) < _PROBE
        return True  # a disk that is full is told of by who needs it

    def bytes_of(self, place: Place) -> int:
        """Return the size of a file that was asked for; 0 if it was not."""
        return self._known.get(str(place), (None, 0))[1]

    def _file_of(self, place: Place, stamp: Stamp) -> Path:
        path = place.absolute() if isinstance(place, Path) else PurePosixPath(place)
        folder = hashlib.sha256(str(path.parent).encode()).hexdigest()[:16]
        return self._files / folder / f"{path.stem}.{stamp.digest}{path.suffix}"

    @staticmethod
    def _use(file: Path, size: int) -> bool:
        """Whether there is such a copy, which is then the last one used. The time of its last change stays the content's."""
        try:
            status = file.stat()
            if status.st_size != size:  # nobody but a failing disk or a stranger's hand does this
                file.unlink()
                return False
            os.utime(file, ns=(time.time_ns(), status.st_mtime_ns))
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _locked(self, file: Path, stopped: Stopped) -> Iterator[None]:
        lock = self._lock_of(file)
        while True:
            try:
                lock.acquire(timeout=0.5, poll_interval=0.02)
                break
            except Timeout:
                if stopped():
                    raise places.CopyStopped(f"[{file}] expected a copy, got a loader that was closed") from None
        try:
            yield
        finally:
            lock.release()

    def _lock_of(self, file: Path) -> FileLock:
        number = zlib.crc32(f"{file.parent.name}/{file.name}".encode()) % _LOCKS
        return FileLock(self._locks / f"{number:02d}", thread_local=False)

    def _copied(self, place: Place, stamp: Stamp, stopped: Stopped) -> tuple[Path, Stamp] | None:
        for last in (False, True):
            file = self._file_of(place, stamp)
            part = file.with_name(f".{stamp.size}.{file.name}{_PART}")
            try:
                if not self._admitted(part, stamp.size, again=last):
                    self._without(place, f"{in_units(self.size)} are too little for {place} beside what is in use")
                    return None
                try:
                    if shutil.disk_usage(self.root).free < stamp.size:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    places.copy(place, part, stopped)
                    after = places.stamp_of(place)
                    if part.stat().st_size != stamp.size or after != stamp:
                        reason = "expected a file that stays as it is while it is copied, got one that changed"
                        raise StorageError(f"[{place}] {reason}", file=str(place), reason=reason, passing=True)
                    self._remove_others(file)
                    part.replace(file)
                except BaseException:
                    self._gave_up(part, stamp.size)
                    raise
            except OSError as error:
                # Of the disk with the copies: those of the source are StorageErrors.
                if last:
                    self._full_until = time.monotonic() + FULL_FOR
                    self._without(place, f"{error.strerror or error}")
                    return None
                continue
            with self._lock:
                self.copied += 1
                self.copied_bytes += stamp.size
            return file, stamp
        return None

    def _without(self, place: Place, reason: str) -> None:
        if isinstance(place, Path) and not self._told:  # for others, room is waited for
            self._told = True
            self._say(
                f"fastnnunet_loader: the cache in {self.root.parent} has no room ({reason}); what is not in it is read from "
                "where it is."
            )

    def _remove_others(self, file: Path) -> None:
        """Remove copies of what the source was before."""
        name, suffix = file.name.removesuffix(file.suffix).rpartition(".")[0], file.suffix
        for other in file.parent.glob(f"{_literal(name)}.????????????{_literal(suffix)}"):
            if other != file:
                with contextlib.suppress(OSError):
                    size = self._bytes_of_file(other)
                    other.unlink()
                    self._count(-size)

    def _admitted(self, part: Path | None, size: int, *, again: bool) -> bool:
        """Whether there is room for a file, which is then counted; `part` is there from now on. `again`: the disk was full.

        part: None for parts of files, which are there already.
        """
        with FileLock(self._locks / "size", thread_local=False):
            used = self._read_used()
            if used is None or used + size > self.size or again:
                used = self._make_room(size, again)
            if used + size > self.size:
                self._write_used(used)
                return False
            if part is not None:
                part.parent.mkdir(parents=True, exist_ok=True)
                part.touch()
            self._write_used(used + size)
            return True

    def _make_room(self, size: int, again: bool) -> int:
        """Remove the least recently used copies until a file of `size` bytes fits; return the bytes of what is left.

        again: the disk is full, whatever the size of the cache.
        """
        used, copies = self._scan()
        limit = min(used, self.size) - size if again else self.size - size - self.size // _SLACK
        now = time.time()
        for accessed, bytes_, file in copies:
            if used <= limit or accessed > now - GRACE:
                break
            with contextlib.suppress(OSError):  # on Windows, a file that somebody reads
                file.unlink()
                used -= bytes_
        return used

    def _scan(self) -> tuple[int, list[tuple[float, int, Path]]]:
        """Return the bytes of everything, and of each copy the last access, the bytes and the file, the oldest first."""
        used, copies = 0, []
        for folder in [*os.scandir(self._files), *os.scandir(self._parts)]:
            if not folder.is_dir():
                continue
            for entry in list(os.scandir(folder.path)):
                file = Path(entry.path)
                with contextlib.suppress(OSError, ValueError):
                    if not entry.name.endswith(_PART):
                        count = self._bytes_of_file(file)
                        copies.append((file.stat().st_atime, count, file))
                        used += count
                        continue
                    _, size, name = entry.name.split(".", 2)
                    lock = self._lock_of(file.with_name(name.removesuffix(_PART)))
                    try:
                        lock.acquire(blocking=False)
                    except Timeout:
                        used += int(size)  # somebody is copying
                        continue
                    try:
                        file.unlink()  # of a process that was killed
                    finally:
                        lock.release()
        copies.sort(key=lambda one: one[0])
        return used, copies

    def _bytes_of_file(self, file: Path) -> int:
        return bytes_on_disk(file) if file.is_relative_to(self._parts) else file.stat().st_size

    def _gave_up(self, part: Path, size: int) -> None:
        with contextlib.suppress(OSError):
            part.unlink()
        self._count(-size)

    def _count(self, bytes_: int) -> None:
        with FileLock(self._locks / "size", thread_local=False):
            used = self._read_used()
            if used is not None:
                self._write_used(max(0, used + bytes_))

    def _read_used(self) -> int | None:
        try:
            return int((self.root / "used").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None  # it is counted anew

    def _write_used(self, used: int) -> None:
        # Whoever is killed in between leaves an empty file, and all is counted anew.
        with contextlib.suppress(OSError):
            (self.root / "used").write_text(str(used), encoding="ascii")


def _literal(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
