"""What runs in a process of a Ray cluster: a predictor with threads and a memory budget of its own, for cases as they come."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CommandError, FastnnUNetError, PredictionError
from ..prediction.images.checks import Checked
from ..prediction.session.predictor import PredictorOptions
from ..threads import start

__all__ = ["Failure", "Orders", "Worker"]


@dataclass(frozen=True)
class Orders:
    """What every worker is told when it starts. Paths are absolute, and the same on all machines."""

    predictor: PredictorOptions
    output: Path
    ending: str
    """Of segmentations."""
    save_probabilities: bool
    memory_budget: int | None
    """Bytes of one worker; None for its share of half of its machine's free memory."""
    patience: float
    neighbours: int = 1
    """Workers on a machine, at the most."""
    version: str = ""
    """Of this package."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables of nnU-Net."""


@dataclass(frozen=True)
class Failure:
    """Why a case is bad: a PredictionError as data, since its cause may not be there on the machine that is told."""

    stage: str
    reason: str
    file: str

    def error(self, case: str) -> PredictionError:
        """Return the error."""
        return PredictionError(case=case, stage=self.stage, reason=self.reason, file=self.file)


class Worker:
    """The class of Ray's actors. `predict` is called by several threads: one case is prepared while another is predicted."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._jobs: queue.Queue[Any] = queue.Queue()
        self._waiting: dict[str, Future[Failure | None]] = {}
        self._lock = threading.Lock()
        self._session: Any = None
        self._broken: BaseException | None = None

    def start(self) -> str:
        """Load the model; return the name of the machine.

        Raises:
            CommandError: the machine has another version of this package, or lacks a folder or a device.
            ResourceError: the machine gives the process no more threads.
        """
        from .. import __version__
        from ..prediction.export.outputs import remove_leftovers
        from ..prediction.session.memory import Budget
        from ..prediction.session.predictor import load_predictor
        from ..prediction.session.session import Session
        from ..system import memory, threads_of

        orders, host = self._orders, socket.gethostname()
        if __version__ != orders.version:
            raise CommandError(
                f"[--ray] expected fastnnunet-loader {orders.version} on every machine, got {__version__} on {host}"
            )
        for folder in (Path(orders.predictor.model), orders.output):
            if not folder.is_dir():
                raise CommandError(f"[--ray] expected the folder {folder} on every machine, got none on {host}")
        os.environ.update(orders.variables)
        os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")
        remove_leftovers(orders.output)  # of a worker on this machine that was killed
        given = orders.memory_budget
        self._session = Session(
            load_predictor(orders.predictor),
            save_probabilities=orders.save_probabilities,
            budget=Budget(memory().available // 2 // orders.neighbours if given is None else given, given is not None),
            on_bad_case="skip",
            threads=threads_of(orders.predictor.threads or 1),
            progress=False,
            patience=orders.patience,
        )
        thread = threading.Thread(target=self._run, name="fastnnunet predictions", daemon=True)
        start(thread, f"[--ray] expected a thread that predicts on {host}")
        return host

    def predict(self, checked: Checked) -> Failure | None:
        """Predict a case; return why it is bad, or None when its files are there."""
        case, header = checked
        done: Future[Failure | None] = Future()
        with self._lock:
            if self._broken is not None:
                raise self._broken
            self._waiting[case.name] = done
        self._jobs.put(self._session.job(case, header))
        return done.result()

    def abandon(self) -> None:
        """Remove incomplete files, and write no more."""
        self._jobs.put(None)
        if self._session is not None:
            self._session.abandon()

    def _run(self) -> None:
        def jobs() -> Iterator[Any]:
            while (job := self._jobs.get()) is not None:
                yield job

        try:
            self._session.run(jobs(), None, self._finished)
            raise FastnnUNetError("expected a worker that goes on, got one that was ended")
        except BaseException as error:  # such as one of the driver of a GPU, which no further case survives
            with self._lock:
                self._broken = error
                waiting, self._waiting = self._waiting, {}
            for future in waiting.values():
                future.set_exception(error)

    def _finished(self, case: str, error: PredictionError | None) -> None:
        with self._lock:
            done = self._waiting.pop(case)
        done.set_result(None if error is None else Failure(error.stage, error.reason, error.file))


def with_threads(orders: Orders, cpus: int, neighbours: int, version: str) -> Orders:
    """Return the orders for workers with so many processors each."""
    variables = tuple((name, value) for name, value in os.environ.items() if name.startswith("nnUNet_"))
    return replace(
        orders,
        predictor=replace(orders.predictor, threads=cpus),
        neighbours=neighbours,
        version=version,
        variables=variables,
    )
