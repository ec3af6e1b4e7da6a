"""Where a file is: a path, or an address such as s3://bucket/folder/case.b2nd that fsspec reads. Nothing is kept open."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from ...errors import LoaderClosedError, ResourceError, StorageError
from ...threads import needed

__all__ = [
    "CopyStopped",
    "Place",
    "Stamp",
    "Stopped",
    "copy",
    "failed",
    "file_system",
    "is_address",
    "join",
    "names",
    "naming",
    "place_of",
    "stamp_of",
    "tree",
    "write_failed",
]

Place = Path | str
"""A path of this machine, or an address as text."""

Stopped = Callable[[], bool]
"""Whether what is being done is not wanted any more."""

CHUNK = 4 << 20
"""Bytes that are read at once: after each of them a copy can end."""

# Two letters at least: C:/ is a disk of Windows. A path has lost one of the slashes.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)

# What file systems of fsspec tell of a file and change with its content.
_MARKS = ("etag", "content-md5", "md5hash", "crc32c", "generation", "versionid", "last-modified", "lastmodified", "mtime")
_MARKS_OF_OTHERS = ("last_modified", "modified", "updated", "created")

# Extras of fsspec that bring what reads these protocols.
_EXTRAS = {"http": "http", "https": "http", "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "abfs", "az": "abfs"}

# Errors of a disk that is written to; reading gives none of them.
_WRITING = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS, errno.EFBIG)


class CopyStopped(LoaderClosedError):
    """A copy was ended because nobody wants it any more."""


def is_address(text: str | os.PathLike[str]) -> bool:
    """Return whether this is an address of fsspec's, also where a path was made of it."""
    return _ADDRESS.match(Path(text).as_posix() if isinstance(text, os.PathLike) else text) is not None


def place_of(given: str | os.PathLike[str]) -> Place:
    """Return a path, or an address. One with file:// is a path, and what became a path, with one slash less, an address."""
    text = Path(given).as_posix() if isinstance(given, os.PathLike) else given
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return Path(given)
    protocol, rest = found[1].lower(), found[2]
    if protocol in ("file", "local"):
        path = unquote(rest) if protocol == "file" else rest
        return Path(path) if re.match(r"[A-Za-z]:", path) else Path("/" + path)
    return f"{protocol}://{rest.rstrip('/')}"


def join(folder: Place, name: str) -> Place:
    """Return the place of a file in a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder}/{name}"


@dataclass(frozen=True)
class Stamp:
    """What tells one content of a file from another without reading it."""

    size: int
    mark: str
    """The time of the last change, or what a server has in its place."""

    @property
    def digest(self) -> str:
        """Twelve letters for the name of a copy."""
        return hashlib.sha256(f"{self.size} {self.mark}".encode()).hexdigest()[:12]


def stamp_of(place: Place) -> Stamp:
    """Return the stamp of a file.

    Raises:
        StorageError: it cannot be examined.
        ModuleNotFoundError: fsspec, or what it needs for the address, is not installed.
    """
    with naming(place):
        if isinstance(place, Path):
            status = place.stat()
            return Stamp(status.st_size, f"{status.st_mtime_ns:x}")
        info = file_system(place).info(place)
        told = {str(key).lower(): value for key, value in info.items()}
        if not isinstance(told.get("size"), int):
            raise failed(place, "expected a server that tells the size of a file, got none")
        marks = [f"{key}={told[key]}" for key in (*_MARKS, *_MARKS_OF_OTHERS) if told.get(key)]
        return Stamp(told["size"], " ".join(marks))


def names(folder: Place) -> list[str]:
    """Return the names of what is in a folder, sorted.

    Raises:
        StorageError: it cannot be listed.
        ModuleNotFoundError: as `stamp_of`.
    """
    with naming(folder):
        if isinstance(folder, Path):
            return sorted(file.name for file in folder.iterdir())
        found = file_system(folder).ls(folder + "/", detail=False)
        return sorted({PurePosixPath(str(one).rstrip("/")).name for one in found} - {""})


def tree(folder: Place) -> list[str]:
    """Return the files in a folder and all folders in it, as paths from it with slashes.

    Raises:
        StorageError, ModuleNotFoundError: as `names`.
    """
    with naming(folder):
        if isinstance(folder, Path):
            return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        files = file_system(folder)
        root = PurePosixPath(str(files._strip_protocol(folder)))
        found = [PurePosixPath(str(one)) for one in files.find(folder + "/")]
        return sorted(one.relative_to(root).as_posix() for one in found)


def copy(place: Place, to: Path, stopped: Stopped) -> None:
    """Copy a file, which is on the disk when this returns.

    Raises:
        CopyStopped: `stopped()` is true.
        StorageError: the file cannot be read.
        OSError: `to` cannot be written; see `write_failed`.
    """

    def check(*_: Any) -> None:
        if stopped():
            raise CopyStopped(f"[{place}] expected to be copied, got a loader that was closed")

    check()
    with to.open("wb") as target:
        with naming(place):
            if isinstance(place, Path):
                with place.open("rb", buffering=0) as source:
                    while chunk := source.read(CHUNK):
                        _write(target, chunk)
                        check()
            else:
                file_system(place).get_file(place, str(to), callback=_callback(check))
        os.fsync(target.fileno())  # also of what fsspec wrote through a handle of its own


def write_failed(error: BaseException) -> bool:
    """Whether a copy failed because of the disk that it was written to."""
    return isinstance(error, _WriteError) or (isinstance(error, OSError) and error.errno in _WRITING)


class _WriteError(OSError):
    """A write to the copy failed."""


def _write(target: Any, chunk: bytes) -> None:
    try:
        target.write(chunk)
        target.flush()
    except OSError as error:
        raise _WriteError(error.errno, error.strerror) from error


def file_system(address: str) -> Any:
    """Return fsspec's file system of an address.

    Raises:
        ModuleNotFoundError: fsspec, or what it needs for the address, is not installed.
        ResourceError: the system gives the process no more threads.
    """
    try:
        import fsspec
    except ModuleNotFoundError:
        raise _missing(address, "fsspec") from None
    try:
        with needed(f"[{address}] expected a thread of fsspec"):
            # A listing that is kept would hide what changes at the source.
            return fsspec.core.url_to_fs(address, use_listings_cache=False)[0]
    except ImportError as error:
        raise _missing(address, str(error)) from error


def _missing(address: str, package: str) -> ModuleNotFoundError:
    protocol = address.partition(":")[0]
    wanted = f"'fsspec[{_EXTRAS[protocol]}]'" if protocol in _EXTRAS else "fsspec"
    return ModuleNotFoundError(
        f"[{address}] expected a package that reads {protocol}:// addresses, got none: {package}\n  pip install {wanted}"
    )


def _callback(check: Callable[[], None]) -> Any:
    from fsspec.callbacks import Callback

    class Checking(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            check()

    return Checking()


def failed(place: Place, reason: str, number: int | None = None, passing: bool | None = None) -> StorageError:
    """Return the error of a place."""
    return StorageError(f"[{place}] {reason}", file=str(place), reason=reason, errno=number, passing=passing)


def _did_not_answer(error: FileNotFoundError) -> bool:
    """Whether a file is not found because of its server. fsspec's HTTP has this one exception for all that goes wrong."""
    cause = error.__cause__
    of_connection = isinstance(cause, OSError) or type(cause).__module__.partition(".")[0] == "aiohttp"
    return of_connection and getattr(cause, "status", None) not in (404, 410)


@contextmanager
def naming(place: Place) -> Iterator[None]:
    """Inside, an error of reading becomes a StorageError that names the place."""
    try:
        yield
    except (StorageError, LoaderClosedError, ModuleNotFoundError, ResourceError):
        raise
    except OSError as error:
        if write_failed(error):
            raise
        if isinstance(error, FileNotFoundError) and not _did_not_answer(error):
            raise failed(place, "expected a file, got none", errno.ENOENT) from error
        remote = not isinstance(place, Path) and not isinstance(error, PermissionError)
        said = str(error.__cause__ or "") or error.strerror or str(error) or type(error).__name__
        reason = f"expected a file that can be read, got {said}"
        raise failed(place, reason, error.errno, True if remote else None) from error
    except Exception as error:
        # Packages of file systems have errors of their own: a server that does not answer may do so later.
        reason = f"expected a file that can be read, got {type(error).__name__}: {error}"
        raise failed(place, reason, passing=not isinstance(error, (ValueError, TypeError))) from error
