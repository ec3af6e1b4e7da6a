"""The loaders of this process that are open: what their threads are doing, and how they are closed."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
import weakref
from datetime import timedelta
from typing import Protocol, TextIO

from .. import _core
from ..errors import ResourceError
from ..threads import start
from ..transforms.python import interrupt

__all__ = ["Open", "activity_of_all", "dump", "end", "end_elsewhere", "opened"]


class Open(Protocol):
    """A loader, or what reads the cases of one before it is there."""

    def _activity(self) -> str: ...
    def close(self) -> None:
        """Stop."""


opened: weakref.WeakSet[Open] = weakref.WeakSet()
_unended: list[_core.Loader] = []
"""For whose end the system gave no thread."""


def activity_of_all() -> str:
    """Return what the threads of all open loaders are doing; "" if no loader is open."""
    return "\n".join(text for text in (loader._activity() for loader in list(opened)) if text)


def dump(file: TextIO | None = None) -> str:
    """Print to `file` (default: standard error) and return what each thread of all open loaders of this process is doing.

    It may be called at any time and from any thread. The commands do this on SIGUSR1; a script does with
    `signal.signal(signal.SIGUSR1, lambda *_: fl.dump())`.
    """
    text = activity_of_all() or "no loader is open"
    print(text, file=sys.stderr if file is None else file)
    return text


@atexit.register
def _close_all() -> None:
    # Threads must be gone before the interpreter takes its modules apart.
    for loader in list(opened):
        loader.close()
    while _unended:
        end(_unended.pop())


def end_elsewhere(core: _core.Loader) -> None:
    """Close from a thread of its own; nothing new is begun."""
    core.close(timedelta(0))
    try:
        start(
            threading.Thread(target=_end_all, args=(core,), name="fastnnunet_loader close"),
            "[loader] expected a thread that closes it",
        )
    except ResourceError:
        _unended.append(core)  # for this thread may be one that the core waits for


def _end_all(core: _core.Loader) -> None:
    """Close this one, and those that had no thread for it before."""
    end(core)
    with contextlib.suppress(IndexError):  # another thread took the last
        while _unended:
            end(_unended.pop())


def end(core: _core.Loader) -> None:
    """Close, with Ctrl-C heard meanwhile. What is still in Python code after a second is asked to stop."""
    begin = time.monotonic()
    while not core.close(timedelta(seconds=0.1)):
        waited = time.monotonic() - begin
        _, tasks, *_, threads = core.activity()
        if tasks == 0:
            core.close(timedelta(0))  # the last task has ended since; after a fork there is none, and nothing to close
            return
        if waited > 10:
            return
        if waited > 1:
            interrupt(thread[0] for thread in threads)
