"""Threads in the place of processes that are made through the modules of nnU-Net's prediction, whoever makes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...threads import ThreadPool, needed, twice
from . import options

__all__ = ["ThreadManager", "ThreadMultiprocessing", "ThreadProcess"]


class ThreadProcess(threading.Thread):
    """`multiprocessing.Process` on a thread, as far as nnU-Net's iterators use it. What it runs ends by itself."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        self.exitcode: int | None = None

    def start(self) -> None:
        """Start the thread, or raise ResourceError."""
        with needed(f"[{self.name}] expected a thread in place of nnU-Net's process"):
            twice(super().start)

    def run(self) -> None:
        """Run the target."""
        self.exitcode = 1
        super().run()
        self.exitcode = 0

    def terminate(self) -> None:
        """A thread cannot be ended from outside."""

    kill = terminate


class ThreadManager:
    """`multiprocessing.Manager`, whose things are this process's own."""

    Event = staticmethod(threading.Event)
    Queue: Callable[..., Any] = staticmethod(queue.Queue)
    Lock = staticmethod(threading.Lock)

    def __enter__(self) -> ThreadManager:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def shutdown(self) -> None:
        """There is no process to end."""


class ThreadMultiprocessing:
    """The module `multiprocessing` or a context of it: pools and processes are threads while this package is installed.

    Args:
        module: what it stands for; everything else is its own, and after uninstall() all is.
        pool: the class of its pools.
    """

    def __init__(self, module: Any, pool: type[ThreadPool] = ThreadPool) -> None:
        self._module = module
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        if options.installed() and name == "Pool":
            return self._pool
        if options.installed() and name in _THREADS:
            return _THREADS[name]
        return getattr(self._module, name)

    def get_context(self, method: str | None = None) -> ThreadMultiprocessing:
        """The context of that name."""
        return ThreadMultiprocessing(self._module.get_context(method), self._pool)


_THREADS: dict[str, Any] = {"Process": ThreadProcess, "Manager": ThreadManager}
