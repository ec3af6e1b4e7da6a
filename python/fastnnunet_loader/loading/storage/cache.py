"""Copies of files on a disk of this machine, shared by all processes that name the same folder.

The state is what lies in the folder: a copy has the digest of its source's stamp in its name and appears by a rename, so it
is whole and of that content or not there. Locks are of the system's kind, which end with their process, and whoever is killed
leaves at most an incomplete file that the next process to make room removes. A copy was last used when it was last accessed.

    DIR/fastnnunet_cache/files/DIGEST OF THE SOURCE'S FOLDER/CASE.DIGEST OF ITS STAMP.b2nd
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from ...errors import StorageError
from ...settings import in_units
from . import places
from .places import Place, Stamp

__all__ = ["FileCache"]

GRACE = 5.0
"""Seconds for which a copy that was given out is not removed: somebody is about to open it."""

FULL_FOR = 60.0
"""Seconds after which a disk that was full is tried again."""

_LOCKS = 64
_SLACK = 50  # a fiftieth of the size is free after room was made, so that not every copy has to make some
_PART = ".part"


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
        self._files, self._locks = self.root / "files", self.root / "locks"
        try:
            for needed in (self._files, self._locks):
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
        self._lock = threading.Lock()
        self.copied = 0
        self.copied_bytes = 0

    def local(self, place: Place, stopped: Callable[[], bool] = lambda: False) -> Path | None:
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
            if time.monotonic() < self._full_until:
                return None
            with self._locked(file, stopped):
                if not self._use(file, stamp.size):
                    copied = self._copied(place, stamp, stopped)
                    if copied is None:
                        return None
                    file, stamp = copied
        self._known[str(place)] = (file, stamp.size)
        return file

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
    def _locked(self, file: Path, stopped: Callable[[], bool]) -> Iterator[None]:
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

    def _copied(self, place: Place, stamp: Stamp, stopped: Callable[[], bool]) -> tuple[Path, Stamp] | None:
        for last in (False, True):
            file = self._file_of(place, stamp)
            part = file.with_name(f".{stamp.size}.{file.name}{_PART}")
            try:
                if not self._admitted(part, stamp.size, again=last):
                    self._without(f"{in_units(self.size)} are too little for {place} beside what is in use")
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
                    self._without(f"{error.strerror or error}")
                    return None
                continue
            with self._lock:
                self.copied += 1
                self.copied_bytes += stamp.size
            return file, stamp
        return None

    def _without(self, reason: str) -> None:
        if not self._told:
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
                    size = other.stat().st_size
                    other.unlink()
                    self._count(-size)

    def _admitted(self, part: Path, size: int, *, again: bool) -> bool:
        """Whether there is room for a file, which is then counted; `part` is there from now on. `again`: the disk was full."""
        with FileLock(self._locks / "size", thread_local=False):
            used = self._read_used()
            if used is None or used + size > self.size or again:
                used = self._make_room(size, again)
            if used + size > self.size:
                self._write_used(used)
                return False
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
        for folder in list(os.scandir(self._files)):
            if not folder.is_dir():
                continue
            for entry in list(os.scandir(folder.path)):
                file = Path(entry.path)
                with contextlib.suppress(OSError, ValueError):
                    if not entry.name.endswith(_PART):
                        status = file.stat()
                        copies.append((status.st_atime, status.st_size, file))
                        used += status.st_size
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
