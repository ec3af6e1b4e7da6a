"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import FastnnUNetError

__all__ = ["Outputs"]


class Outputs:
    """Files are written into a hidden folder beside their target and moved to it when all of a case are complete."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: set[Path] = set()
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
            if self._closed:
                raise FastnnUNetError(
                    f"[{target.name}] expected to write while the prediction goes on, got one that was stopped"
                )
            folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            self._folders.add(folder)
        return folder

    def complete(self, folder: Path, target: Path, last: str) -> None:
        """Move the files, those whose names end with `last` at the end."""
        for file in sorted(folder.iterdir(), key=lambda file: file.name.endswith(last)):
            file.replace(target.parent / file.name)

    def discard(self, folder: Path) -> None:
        """Remove the folder with what is in it."""
        with self._lock:
            self._folders.discard(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove what is incomplete, also while a thread is writing it; nothing can be written afterwards."""
        with self._lock:
            self._closed = True
            folders = list(self._folders)
        for folder in folders:
            for _ in range(20):  # a thread may be adding a file just now; without the folder it cannot
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():
                    break
                time.sleep(0.01)
