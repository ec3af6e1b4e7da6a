"""The pools of nnU-Net that run over cases, as threads that share a memory budget."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from typing import Any

from ..prediction.replacements import options
from ..prediction.session.memory import Budget
from ..system import default_budget
from ..threads import ThreadPool
from .tasks import bytes_of, files_of

__all__ = ["CasePool"]

_log = logging.getLogger("fastnnunet_loader")


class CasePool(ThreadPool):
    """`multiprocessing.Pool` on threads, for functions that nnU-Net runs over cases (see `tasks`).

    A case starts when its arrays fit in the budget beside those of the cases at work; one that does not fit alone runs alone.
    What fails is logged with its files, and raised as it is.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> None:
        super().__init__(processes, initializer, initargs, maxtasksperchild)
        asked = None if options.current is None else options.current().memory_budget
        self._budget = Budget(default_budget() if asked is None else asked, given=False)
        self._keys = itertools.count()
        self._ended = False

    def terminate(self) -> None:
        """Drop the tasks that have not started or wait for memory."""
        self._ended = True
        super().terminate()

    def _submit(self, func: Callable[..., Any], *args: Any, **kwds: Any) -> Future[Any]:
        return super()._submit(self._run, func, args, kwds)

    def _run(self, func: Callable[..., Any], args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        need, key = bytes_of(func, args, kwds), next(self._keys)
        if need != 0 and not self._budget.reserve(key, need, lambda: self._ended):
            raise CancelledError
        try:
            return func(*args, **kwds)
        except Exception as error:
            if files := files_of(func, args, kwds):
                said = " ".join(str(error).split()) or type(error).__name__
                _log.error("[%s] %s", ", ".join(files), said)
            raise
        finally:
            self._budget.release(key)
