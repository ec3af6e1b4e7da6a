"""What Python reads itself, on disks and file servers that do not answer for a while. The core waits for what it reads."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ... import _core
from ...errors import StorageError

__all__ = ["Patience", "may_pass", "patiently"]

T = TypeVar("T")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def may_pass(error: BaseException) -> bool:
    """Whether an error, or what it came from, may be over after a while: EIO, ESTALE, ETIMEDOUT and the like."""
    return any(
        (isinstance(one, StorageError) and one.passing) or (isinstance(one, OSError) and _number_may_pass(one))
        for one in _chain(error)
    )


def _number_may_pass(error: OSError) -> bool:
    code: int | None = getattr(error, "winerror", None)  # the system's own number, which says more than errno
    if code is not None:
        return _core.system_passing(code)
    return error.errno is not None and _core.passing(error.errno)


def _is_gone(error: BaseException) -> bool:
    return any(isinstance(one, OSError) and one.errno == errno.ENOENT for one in _chain(error))


def patiently(
    work: Callable[[], T],
    patience: float,
    say: Callable[[str], None],
    passes: Callable[[BaseException], bool] = may_pass,
) -> T:
    """Return what `work()` returns, which is called again while its errors may pass, for `patience` seconds at the most.

    say: is told once what is waited for.
    """
    begin, pause, told = time.monotonic(), 0.05, False
    while True:
        try:
            return work()
        except Exception as error:
            left = begin + patience - time.monotonic()
            if left <= 0 or not passes(error):
                raise
            if not told:
                told = True
                say(f"waiting for the file server, for up to {patience:g} s: {error}")
        time.sleep(min(pause, left))
        pause = min(2 * pause, 2.0)


@dataclass(frozen=True)
class Patience:
    """How long files are read again that another library reads."""

    seconds: float
    say: Callable[[str], None]

    def reading(self, files: Sequence[str], read: Callable[[], T], *, were_there: bool = False) -> T:
        """Return what `read()` returns, which reads these files; call it again while a disk or a server does not answer.

        were_there: files that are gone may come back.
        """

        def passes(error: BaseException) -> bool:
            return may_pass(error) or (were_there and _is_gone(error))

        def read_or_tell() -> T:
            try:
                return read()
            except Exception as error:
                if not passes(error) and (found := _trouble_with(files)) is not None and passes(found):
                    raise found from error
                raise

        return patiently(read_or_tell, self.seconds, self.say, passes)


def _trouble_with(files: Sequence[str]) -> OSError | None:
    """Return the system's error where files cannot be read to their end. SimpleITK tells none."""
    try:
        for file in files:
            with Path(file).open("rb") as stream:
                while stream.read(1 << 24):
                    pass
    except OSError as error:
        return error
    return None
