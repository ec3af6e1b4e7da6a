"""SIGUSR1: a command's process says what it is doing. The signal belongs to the command; a library leaves it alone."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from .operating_system import STATUS_SIGNAL

__all__ = ["listen", "listening", "listens"]


def listening() -> bool:
    """Whether this process listens: then the ranks that it starts do so, too."""
    return STATUS_SIGNAL is not None and signal.getsignal(STATUS_SIGNAL) is _tell


def listen() -> bool:
    """Write on SIGUSR1 what the threads are doing, on standard error, from now on. Returns whether this process does.

    Not where the system has no such signal, somebody else has set what it does, or this is not the main thread.
    """
    if STATUS_SIGNAL is None or threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(STATUS_SIGNAL) is signal.SIG_DFL:
        signal.signal(STATUS_SIGNAL, _tell)
    return listening()


@contextlib.contextmanager
def listens() -> Iterator[None]:
    """Inside, as after `listen()`; at the end the signal does what it did before."""
    mine = not listening() and listen()
    try:
        yield
    finally:
        # Unless somebody else has set it meanwhile.
        if mine and listening() and STATUS_SIGNAL is not None:
            signal.signal(STATUS_SIGNAL, signal.SIG_DFL)


def _tell(_: int, __: FrameType | None) -> None:
    # Only what is there already: a handler is no place for imports. It may have come in the middle of another print.
    with contextlib.suppress(Exception):
        opened = sys.modules.get(f"{__package__}.loading.opened")
        text = "" if opened is None else opened.activity_of_all()
        print(f"fastnnunet: {text or 'no loader is open; the threads of Python are at'}", file=sys.stderr, flush=True)
        if not text:
            faulthandler.dump_traceback(2)  # standard error, whatever Python has under that name
