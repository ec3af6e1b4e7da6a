"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import FastnnUNetError

__all__ = ["Outputs", "remove_leftovers"]


ENDING = ".fastnnunet-part"
"""Of the hidden folders."""

HELD = "held"
"""File of such a folder that the process at work has locked, for as long as it lives."""


class Outputs:
    """Files are written into a hidden folder beside their target and moved to it when all of a case are complete."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: dict[Path, FileLock] = {}
        self._closed = False

    @contextlib.contextmanager
    def beside(self, target: Path, last: str) -> Iterator[Path]:
        """A folder to write files into; they then move into target's folder, those whose names end with `last` at the end.

        Where the block raises, nothing moves. target: any file of the folder that the files are for.
        """
        folder = self.begin(target)
        try:
            yield folder
            self.complete(folder, target, last)
        finally:
            self.discard(folder)

    def begin(self, target: Path) -> Path:
        """Make a folder for files that `complete` moves beside target, or `discard` removes."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._require_open(target)
            folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=ENDING, dir=target.parent))
            # Another thread than this one will let go of it.
            held = FileLock(folder / HELD, thread_local=False)
            self._folders[folder] = held
            # Without locks, as on some network file systems, nobody will take the folder for one that was left behind.
            with contextlib.suppress(OSError, NotImplementedError):
                held.acquire()
        return folder

    def complete(self, folder: Path, target: Path, last: str) -> None:
        """Move the files, those whose names end with `last` at the end."""
        # All of them or none: close() would otherwise remove some, and the rest would pass for a case that is done.
        with self._lock:
            self._require_open(target)
            files = [file for file in folder.iterdir() if file.name != HELD]
            for file in sorted(files, key=lambda file: file.name.endswith(last)):
                file.replace(target.parent / file.name)

    def _require_open(self, target: Path) -> None:
        if self._closed:
            raise FastnnUNetError(f"[{target.name}] expected to write while the prediction goes on, got one that was stopped")

    def discard(self, folder: Path) -> None:
        """Remove the folder with what is in it."""
        with self._lock:
            held = self._folders.pop(folder, None)
        _remove(folder, held)

    def close(self) -> None:
        """Remove what is incomplete, also while a thread is writing it; nothing can be written afterwards."""
        with self._lock:
            self._closed = True
            folders = dict(self._folders)
        for folder, held in folders.items():
            for _ in range(20):  # a thread may be adding a file just now; without the folder it cannot
                _remove(folder, held)
                if not folder.exists():
                    break
                time.sleep(0.01)


def remove_leftovers(folder: Path) -> list[str]:
    """Remove the hidden folders of processes that were killed, and return their names. Those at work are left alone."""
    removed = []
    for left in sorted(folder.glob(f".*{ENDING}")):
        if not (left / HELD).is_file():
            continue  # of a process that could not lock it, or is about to
        held = FileLock(left / HELD, thread_local=False)
        try:
            held.acquire(timeout=0)
        except (Timeout, OSError, NotImplementedError):
            continue
        _remove(left, held)
        if not left.exists():
            removed.append(left.name)
    return removed


def _remove(folder: Path, held: FileLock | None) -> None:
    # Windows removes no file that is locked; elsewhere a folder that is not locked is not there any more.
    if held is not None and os.name == "nt":
        held.release(force=True)
    shutil.rmtree(folder, ignore_errors=True)
    if held is not None:
        held.release(force=True)
