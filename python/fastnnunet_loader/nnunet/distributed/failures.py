"""The error of the rank that failed first: rank 0 shows it, whichever machine it comes from, and all ranks end."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import FastnnUNetError
from ...threads import start

__all__ = ["Failures"]

_FAILED = "fastnnunet_loader/failed"
_SHOWN = "fastnnunet_loader/failed/shown"
_EVERY = 0.25
"""Seconds between two looks at whether a rank has failed."""

_SHOW = 10.0
"""Seconds for which a failed rank waits until rank 0 has shown its error: torchrun ends all ranks when the first one has."""

_END = 10.0
"""Seconds that a rank gets to end by itself after another failed: it may be in a collective call, which never returns."""


class Failures:
    """Told and heard through the store of the group, which a rank may ask alone.

    store: of the process group.
    """

    def __init__(self, store: Any, rank: int) -> None:
        self._store = store
        self._rank = rank
        self._lock = threading.Lock()
        self._shown = False
        self._done = threading.Event()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, the error of another rank ends this process, and an error of this one ends the others.

        Raises:
            SystemExit: another rank failed before this one, for which it did.
            ResourceError: the system gives the process no more threads.
        """
        watching = threading.Thread(target=self._watch, name="fastnnunet_loader ranks", daemon=True)
        try:
            start(watching, "[ranks] expected a thread that hears of other ranks' errors")
            yield
        except Exception as error:
            self._tell(error)
            raise
        except BaseException:
            self._done.set()
            raise
        self._done.set()
        watching.join()

    def _tell(self, error: Exception) -> None:
        """Note an error of this rank. If another rank failed first, that one's is shown instead."""
        own = {"rank": self._rank, "message": _in_words(error), "because": _because(error)}
        first = own
        with contextlib.suppress(RuntimeError, ValueError):  # the store is gone: the rank that keeps it is
            first = json.loads(self._store.compare_set(_FAILED, "", json.dumps(own)))
        if first["rank"] != self._rank:
            self._show(first)
            raise SystemExit(1) from error
        self._record(error)
        if self._rank == 0:
            self._done.set()
            return
        until = time.monotonic() + _SHOW
        with contextlib.suppress(RuntimeError, ValueError):
            while not self._store.check([_SHOWN]) and time.monotonic() < until:
                time.sleep(_EVERY / 5)
        self._done.set()

    @staticmethod
    def _record(error: Exception) -> None:
        """Let torchrun's own summary have the error, too."""
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        if os.environ.get("TORCHELASTIC_ERROR_FILE"):
            with contextlib.suppress(Exception):
                get_error_handler().record_exception(error)

    def _watch(self) -> None:
        store = self._store.clone()  # the main thread may wait with the other one
        try:
            while not store.check([_FAILED]):
                if self._done.wait(_EVERY):
                    return
            failed = json.loads(store.get(_FAILED))
        except (RuntimeError, ValueError):  # the store is gone, which the main thread will notice
            return
        if failed["rank"] == self._rank:
            return
        self._show(failed, store)
        if not self._done.wait(_END):
            os._exit(1)

    def _show(self, failed: dict[str, Any], store: Any = None) -> None:
        with self._lock:
            if self._shown:
                return
            self._shown = True
            if self._rank != 0:
                print(f"fastnnunet: rank {self._rank} ends, because rank {failed['rank']} failed", file=sys.stderr, flush=True)
                return
            text = f"fastnnunet: error: [rank {failed['rank']}] {failed['message']}"
            if failed["because"]:
                text += f"\n  because: {failed['because']}"
            print(text, file=sys.stderr, flush=True)
            with contextlib.suppress(RuntimeError, ValueError):
                (self._store if store is None else store).set(_SHOWN, "1")


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, FastnnUNetError) else f"{type(error).__name__}: {error}"


def _because(error: Exception) -> str:
    cause = error.__cause__
    return "" if cause is None or not str(cause) or str(cause) in str(error) else f"{type(cause).__name__}: {cause}"
