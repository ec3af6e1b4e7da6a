"""Output files that appear complete or not at all.

Several processes, also on several nodes of a cluster, may write to one folder. Only the host of a killed process removes what
it left behind, because only there it is certain that the process has ended. No locks are used: on some network file systems a
lock is never granted, or granted to everyone (NFS without its lock service, Lustre with `localflock`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import FastnnUNetError
from ...operating_system import is_alive, machine_and_processes, start_of

__all__ = ["HELD", "Leftovers", "Outputs", "Owner", "remove_leftovers"]


ENDING = ".fastnnunet-part"
"""Ending of the names of the hidden folders."""

HELD = "held.json"
"""File in a hidden folder that names the process that uses it."""

OLD = 24 * 3600.0
"""Seconds. A folder that cannot be removed is reported if it has not changed for this long."""


@dataclass(frozen=True)
class Owner:
    """The process that uses a hidden folder."""

    host: str
    machine: str
    """Identifies the machine, and on Linux also its current boot."""
    processes: str
    """Namespace of the process number: each container has its own."""
    pid: int
    started: str
    """Start time in the system's units, or "" if unknown. It tells a process from a later one with the same number."""

    @staticmethod
    def here() -> Owner:
        """This process."""
        return Owner(socket.gethostname(), *machine_and_processes(), os.getpid(), start_of(os.getpid()))

    @staticmethod
    def read(folder: Path) -> Owner | None:
        """Return the owner of a folder; None if its file is missing or not yet complete."""
        try:
            told = json.loads((folder / HELD).read_text(encoding="utf-8"))
            return Owner(
                str(told["host"]), str(told["machine"]), str(told["processes"]), int(told["pid"]), str(told["started"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_near(self) -> bool:
        """Whether this process can see if that process is alive."""
        here = Owner.here()
        return (self.machine, self.processes) == (here.machine, here.processes)

    def is_gone(self) -> bool:
        """Whether it has certainly ended."""
        if not self.is_near():
            return False
        if not is_alive(self.pid):
            return True
        now = start_of(self.pid)
        return bool(now and self.started) and now != self.started


class Outputs:
    """Writes the files of a case to a hidden folder beside their target, and moves them when all are complete."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: set[Path] = set()
        self._closed = False

    @contextlib.contextmanager
    def beside(self, target: Path, last: str | Callable[[str], bool]) -> Iterator[Path]:
        """Yield a folder for new files. At the end they are moved to the target's folder, as `complete` does.

        If the block raises, no file is moved. target: any path in the folder that the files are for.
        """
        folder = self.begin(target)
        try:
            yield folder
            self.complete(folder, target, last)
        finally:
            self.discard(folder)

    def begin(self, target: Path) -> Path:
        """Make a hidden folder beside `target`. `complete` moves its files, `discard` removes it."""
        target.parent.mkdir(parents=True, exist_ok=True)
        owner = json.dumps(asdict(Owner.here()))  # before the folder is there: one without its owner is not removed
        with self._lock:
            self._require_open(target)
            folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=ENDING, dir=target.parent))
            self._folders.add(folder)
            (folder / HELD).write_text(owner, encoding="utf-8")
        return folder

    def complete(self, folder: Path, target: Path, last: str | Callable[[str], bool]) -> None:
        """Move the files to the target's folder. last: the ending of the names that are moved last, or a test for them."""
        is_last = last if callable(last) else lambda name: name.endswith(last)
        # Under the lock, so that close() removes none of them: the others would look like a finished case.
        with self._lock:
            self._require_open(target)
            files = [file for file in folder.iterdir() if file.name != HELD]
            for file in sorted(files, key=lambda file: is_last(file.name)):
                file.replace(target.parent / file.name)

    def _require_open(self, target: Path) -> None:
        if self._closed:
            raise FastnnUNetError(f"[{target.name}] expected a run in progress, got one that was stopped")

    def discard(self, folder: Path) -> None:
        """Remove the folder and its files."""
        with self._lock:
            self._folders.discard(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove incomplete files, even while a thread writes them. Nothing can be written afterwards."""
        with self._lock:
            self._closed = True
            folders = list(self._folders)
        for folder in folders:
            for _ in range(20):  # a thread may be adding a file at this moment; once the folder is gone, it cannot
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():
                    break
                time.sleep(0.01)


@dataclass(frozen=True)
class Leftovers:
    """Names of hidden folders that earlier runs left in a folder."""

    removed: list[str]
    unknown: list[str]
    """Old folders of another machine or container, with its name. Their processes may still be running."""

    def describe(self, folder: Path) -> list[str]:
        """Return a message for each kind."""
        said = []
        if self.removed:
            said.append(f"removed incomplete files of a killed run from {folder}: {', '.join(self.removed)}")
        if self.unknown:
            said.append(
                f"kept in {folder}, unchanged for more than a day: {', '.join(self.unknown)}. Only its own host can tell "
                "whether its process is still alive; remove it if not"
            )
        return said


def remove_leftovers(folder: Path) -> Leftovers:
    """Remove the hidden folders of processes of this host that have ended, and no others."""
    found = Leftovers([], [])
    for left in sorted(folder.glob(f".*{ENDING}")):
        owner = Owner.read(left)
        if owner is not None and owner.is_gone():
            shutil.rmtree(left, ignore_errors=True)
            if not left.exists():
                found.removed.append(left.name)
        elif owner is None or not owner.is_near():
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > OLD:
                    found.unknown.append(left.name if owner is None else f"{left.name} (of {owner.host}, process {owner.pid})")
    return found
