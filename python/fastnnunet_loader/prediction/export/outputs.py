"""Files that appear whole or not at all.

Several processes may write into one folder, on several nodes of a cluster. What a killed one leaves behind is removed by its
own host alone, where its process is known to be gone. No locks are taken: on network file systems these may never be given, or
be given to everybody (NFS without its lock service, Lustre with `localflock`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import FastnnUNetError

__all__ = ["Leftovers", "Outputs", "Owner", "remove_leftovers"]


ENDING = ".fastnnunet-part"
"""Of the hidden folders."""

HELD = "held.json"
"""File of such a folder that tells which process is at work in it."""

OLD = 24 * 3600.0
"""Seconds without a change after which a folder that is not removed is named."""


@dataclass(frozen=True)
class Owner:
    """The process that a hidden folder belongs to."""

    host: str
    machine: str
    """Differs between any two machines, and on Linux between two starts of one."""
    processes: str
    """Among which the number of the process means something: containers have their own."""
    pid: int
    started: str
    """When, in the system's own count; empty where the system does not tell. Numbers of processes are used again."""

    @staticmethod
    def here() -> Owner:
        """This process."""
        machine, processes = f"{socket.gethostname()} {uuid.getnode():x}", ""
        with contextlib.suppress(OSError):
            machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            processes = str(Path("/proc/self/ns/pid").readlink())
        return Owner(socket.gethostname(), machine, processes, os.getpid(), _started(os.getpid()))

    @staticmethod
    def read(folder: Path) -> Owner | None:
        """That of a folder; None where it does not say, as before its first file is complete."""
        try:
            told = json.loads((folder / HELD).read_text(encoding="utf-8"))
            return Owner(
                str(told["host"]), str(told["machine"]), str(told["processes"]), int(told["pid"]), str(told["started"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_near(self) -> bool:
        """Whether this process can tell if that one is alive."""
        here = Owner.here()
        return (self.machine, self.processes) == (here.machine, here.processes)

    def is_gone(self) -> bool:
        """Whether it is known to have ended. False where it cannot be told."""
        if not self.is_near():
            return False
        if not _exists(self.pid):
            return True
        now = _started(self.pid)
        return bool(now and self.started) and now != self.started


def _started(pid: int) -> str:
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115  a name, no path
            return ""  # /proc counts processes as another namespace does
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    if sys.platform == "win32":  # where os.kill would end it
        import ctypes

        kernel = ctypes.windll.kernel32
        process = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if not process:
            return bool(kernel.GetLastError() != 87)  # ERROR_INVALID_PARAMETER: there is none
        code = ctypes.c_ulong()
        known = kernel.GetExitCodeProcess(process, ctypes.byref(code))
        kernel.CloseHandle(process)
        return not known or code.value == 259  # STILL_ACTIVE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


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
            self._require_open(target)
            folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=ENDING, dir=target.parent))
            self._folders.add(folder)
            (folder / HELD).write_text(json.dumps(asdict(Owner.here())), encoding="utf-8")
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


@dataclass(frozen=True)
class Leftovers:
    """What was found of earlier runs in a folder, as names of hidden folders."""

    removed: list[str]
    unknown: list[str]
    """Old ones, with their host, that another machine or container has left, if it is not still at work."""

    def describe(self, folder: Path) -> list[str]:
        """What there is to say of them."""
        said = []
        if self.removed:
            said.append(f"removed what a killed run had left incomplete in {folder}: {', '.join(self.removed)}")
        if self.unknown:
            said.append(
                f"left alone in {folder}, unchanged for more than a day: {', '.join(self.unknown)}. Whether the process that "
                "made it is alive can only be told on its own host; remove it if it is not"
            )
        return said


def remove_leftovers(folder: Path) -> Leftovers:
    """Remove the hidden folders of processes of this host that are gone. All others are left alone."""
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
