"""SIGTERM: a command ends as after Ctrl-C, with exit code 143. The signal belongs to the command; a library leaves it alone.

The first process of a container does not hear signals that it has no handler for, so `docker stop` and the eviction of a pod
would wait for their grace period and then kill it.
"""

from __future__ import annotations

import _thread
import builtins
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from .operating_system import in_forked_children, signal_thread

__all__ = ["EXIT_CODE", "Terminated", "end_on_sigterm", "ends_on_sigterm"]

EXIT_CODE = 128 + 15
"""What a shell reports of a program that SIGTERM ended."""

SAME = 1.0
"""Seconds within which a second signal is the same request: timeout(1) signals the program, and then its group."""

AGAIN = 2.0
"""Seconds after which the exception is raised again where Python has dropped it."""


class Terminated(SystemExit):
    """SIGTERM arrived. If nobody catches it, Python ends without a traceback."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


class _Handler:
    """Raises Terminated in the main thread, and says before that the program was ended, if it is given the words.

    Python drops an exception that is raised in a destructor or in a callback of a weak reference, and torch has many of those.
    Then it is raised again. A program that catches it goes on.
    """

    def __init__(self, said: str) -> None:
        self._said = said
        self._last = -SAME
        self._hears_of_dropped = False

    def __call__(self, _: int, __: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < SAME:
            return
        self._last = now
        if self._said:
            # The signal may have come in the middle of another print, so this goes past Python's buffers.
            with contextlib.suppress(OSError):
                os.write(2, f"{self._said}\n".encode())
            self._said = ""
        if not self._hears_of_dropped:
            self._hears_of_dropped = True
            self._hear_of_dropped(sys.unraisablehook)
        raise Terminated

    def _hear_of_dropped(self, before: Callable[[Any], object]) -> None:
        def hook(dropped: Any) -> None:
            if not isinstance(dropped.exc_value, Terminated):
                before(dropped)
                return
            # Not threading's: the exception may have come while the main thread had one of its locks.
            _thread.start_new_thread(self._again, ())
            if before is not sys.__unraisablehook__:  # which would print a traceback
                before(dropped)

        sys.unraisablehook = hook

    def _again(self) -> None:
        time.sleep(AGAIN)
        if threading.main_thread().is_alive() and signal.getsignal(signal.SIGTERM) is self:
            signal_thread(threading.main_thread(), signal.SIGTERM)


def end_on_sigterm(said: str = "") -> bool:
    """Raise Terminated in the main thread when SIGTERM arrives, from now on. Returns whether this process does.

    Not if somebody else has set what the signal does, if this is not the main thread, in a notebook, where the exception would
    end a cell only, in processes of a pool, and in ranks: those are ended by the process that started them, and may be waiting
    for another rank in a call that runs no Python code.

    Args:
        said: the line to write on standard error before; empty if the caller catches the exception and writes one itself.
    """
    if (
        sys.platform == "win32"  # which sends none
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        or hasattr(builtins, "get_ipython")
        or multiprocessing.current_process().name != "MainProcess"
        or os.environ.get("WORLD_SIZE", "1") != "1"
    ):
        return False
    signal.signal(signal.SIGTERM, _Handler(said))
    return True


@contextlib.contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Inside, as after `end_on_sigterm()`; at the end the signal does what it did before."""
    mine = end_on_sigterm()
    try:
        yield
    finally:
        # Unless somebody else has set it meanwhile.
        if mine and isinstance(signal.getsignal(signal.SIGTERM), _Handler):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _forked() -> None:
    """In the child of a fork, which whoever forked it ends: its main thread may never run Python code again."""
    if isinstance(signal.getsignal(signal.SIGTERM), _Handler):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


in_forked_children(_forked)
