"""Where a fault happens: a copy of a real data set, loaders on it, and the count of what is left of them."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import Source

from .fault import expect

__all__ = ["OPENS", "READS", "STATS", "Left", "Scene"]

READS, STATS, OPENS = 1, 2, 4


@dataclass(frozen=True)
class Left:
    """What a fault has left behind, after its loaders were closed."""

    threads: int
    handles: int
    buffers: int  # batches in memory


class Scene:
    """Made in the process of the fault, before anything happens there."""

    def __init__(self, source: Source, folder: Path, note: Callable[[str], None]) -> None:
        """Source: nnU-Net's loaders. Folder: empty, of this fault alone. Note: tells the harness that what follows counts."""
        self._kind = fl.DataLoader  # imported now: a fault may leave no memory for that
        self.root = folder
        self.folder = folder / "cases"
        shutil.copytree(source.train._data.source_folder, self.folder)
        source.train._data.source_folder = str(self.folder)
        self.source = source
        self.note = note
        self._transforms = source.train.transforms.transforms
        self._made: list[tuple[Any, Any]] = []
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._threads, self._handles = _count("task"), _count("fd")

    # What faults use

    def loader(self, *transforms: Any, threads: int = 2, seed: int = 1, **options: Any) -> fl.DataLoader:
        """A loader of the training cases, with transforms behind nnU-Net's own. It gives up at once unless told otherwise."""
        options = {"patience": 0.0, **options}
        self.source.train.transforms = ComposeTransforms([*self._transforms, *transforms])
        loader = fl.DataLoader.from_nnunet(self.source.train, threads=threads, seed=seed, **options)
        self._made.append((loader.close, loader._core))
        return loader

    @property
    def cases(self) -> list[str]:
        """The training cases."""
        return list(self.source.train.indices)

    def take(self, loader: fl.DataLoader, count: int) -> list[torch.Tensor]:
        """Copies of the images of the next batches."""
        return [next(loader)["data"].clone() for _ in range(count)]

    def error_of(self, loader: fl.DataLoader, kind: type[Exception], batches: int = 60) -> Any:
        """What the next batches raise."""
        try:
            for _ in range(batches):
                next(loader)
        except kind as error:
            error.__traceback__ = None  # it holds frames, and those hold batches
            return error
        expect(False, f"{batches} batches came without a {kind.__name__}")

    def send(self, number: signal.Signals, after: float) -> None:
        """Let another process send a signal to this one."""
        self._helpers.append(subprocess.Popen(["/bin/sh", "-c", f"sleep {after}; kill -{int(number)} {os.getpid()}"]))

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What stands inside must not take longer."""
        begin = time.monotonic()
        yield
        took = time.monotonic() - begin
        expect(took < seconds, f"it took {took:.1f} s, not less than {seconds:g} s")

    def disk(self, state: int, *, error: int = errno.EIO, calls: int = READS, times: int = -1) -> None:
        """From now on .b2nd, .pkl and .nii.gz files give 0: what is there, 1: an error of the device, 2: no answer, for ever,
        3: reads that end early or are interrupted.

        error: its number. calls: READS, STATS, OPENS or a sum of them. times: how many calls get the error; -1 for all.
        """
        _set("faults_errno", error)
        _set("faults_calls", calls)
        _set("faults_left", times)
        _set("faults_disk", state)

    def locks(self, state: int) -> None:
        """From now on file locks 0: are what they are, 1: are never given nor refused, 2: are given to everybody."""
        _set("faults_locks", state)

    def calls(self) -> tuple[int, int]:
        """How often .b2nd and .pkl files were asked for by name, and opened, so far."""
        return _variable("faults_stats").value, _variable("faults_opens").value

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        """Do something in a thread, after a while."""
        threading.Timer(seconds, work).start()

    def may_mount(self) -> bool:
        """Give this process, and the threads it will have, mounts of its own. False where it may not."""
        libc = ctypes.CDLL(None, use_errno=True)
        private = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC
        return libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, private, None) == 0  # CLONE_NEWNS

    def settle(self) -> None:
        """Wait for threads of Python's that are on their way to the end."""
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.current_thread():
                thread.join(5)

    def keep(self) -> int:
        """Return how many threads there are, which count as there from the beginning: libraries keep some, such as torch."""
        self.settle()
        since, found = time.monotonic(), _count("task")
        while time.monotonic() < since + 0.3:  # one that has ended stays in the list for a moment
            time.sleep(0.02)
            if (now := _count("task")) != found:
                since, found = time.monotonic(), now
        self._threads = found
        return found

    def threads_within(self, count: int) -> bool:
        """Wait for threads that have ended; return whether there are no more than so many."""
        deadline = time.monotonic() + 2  # one that has ended stays in the list for a moment
        while _count("task") > count and time.monotonic() < deadline:
            time.sleep(0.01)
        return _count("task") <= count

    # What the harness uses

    def left(self) -> Left:
        """Close what the fault left open, and count."""
        for close, _ in self._made:
            close()
        for helper in self._helpers:
            helper.wait()
        self.settle()
        gc.collect()
        buffers = sum(core.statistics().batches_in_use for _, core in self._made)
        self._made.clear()
        gc.collect()
        self.threads_within(self._threads)
        return Left(_count("task") - self._threads, _count("fd") - self._handles, buffers)


def _variable(name: str) -> Any:
    """Of the library that stands before the C library."""
    return ctypes.c_int.in_dll(ctypes.CDLL(None), name)


def _set(name: str, value: int) -> None:
    _variable(name).value = value


def _count(what: str) -> int:
    return len(os.listdir(f"/proc/self/{what}"))  # noqa: PTH208  one call, no objects
