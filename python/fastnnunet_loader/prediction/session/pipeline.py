"""Three stages on threads of this process: while one case is predicted, the next is prepared and the last one exported.

    reader thread          main thread          writer thread
    read, preprocess  ──>  network         ──>  resize, decide, write

At most one case waits between two stages. Before its first stage, a case reserves the memory that it needs at its peak.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from ...errors import FastnnUNetError, PredictionError, ResourceError
from ...threads import refused, start
from ..export.outputs import Outputs
from .memory import Budget, Need
from .progress import Progress

__all__ = ["Job", "Pipeline", "failure"]

SECONDS_TO_END = 0.5
"""Seconds that the threads have to end after an interruption. Files that are incomplete by then are removed."""

_STAGES = {"preprocess": "preprocessing", "predict": "prediction"}
"""Names of stages as words of a sentence, where they differ."""

Prepared = tuple[torch.Tensor, dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """One case to predict."""

    case: str
    prepare: Callable[[], Prepared]
    """Returns the network's input (C, X, Y, Z) and nnU-Net's properties."""
    target: str | None = None
    """Output file without its ending; None to return the result."""
    need: Need | None = None


@dataclass
class _Item:
    index: int
    job: Job
    image: torch.Tensor | None = None
    predicted: Any = None
    properties: dict[str, Any] = field(default_factory=dict)
    error: PredictionError | None = None


class _Stopped(Exception):
    """A stage was asked to end."""


class Pipeline:
    """Predicts cases in three stages.

    Args:
        predict: called with the name, image, properties and target of a case, in the thread that calls `run`.
        export: called with what `predict` returned, the properties and the target. Its result is what `run` returns for the
            case.
        outputs: closed after an interruption, so that incomplete files are removed.
        budget: memory budget of all cases in progress.
        on_bad_case: "raise", or "skip" to finish the others.
        progress: notified of each stage and case.
        finished: called with each case when it is exported, or with its error when it is bad, from any of the threads.
    """

    def __init__(
        self,
        predict: Callable[[str, torch.Tensor, dict[str, Any], str | None], Any],
        export: Callable[[Any, dict[str, Any], str | None], Any],
        outputs: Outputs,
        budget: Budget,
        on_bad_case: str = "raise",
        progress: Progress | None = None,
        finished: Callable[[str, PredictionError | None], None] = lambda _, __: None,
    ) -> None:
        self._finished = finished
        self.failures: list[PredictionError] = []
        self._predict = predict
        self._export = export
        self._outputs = outputs
        self._budget = budget
        self._on_bad_case = on_bad_case
        self._progress = progress
        self._stop = threading.Event()  # stop at once
        self._no_more = threading.Event()  # start no further case
        self._prepared: queue.Queue[_Item | BaseException | None] = queue.Queue(maxsize=1)
        self._predicted: queue.Queue[_Item | BaseException | None] = queue.Queue(maxsize=1)
        self._results: dict[int, Any] = {}
        self._refused: ResourceError | None = None
        """Of a thread that the export wanted."""
        self._count = 0
        self._lock = threading.Lock()

    def run(self, jobs: Iterable[Job]) -> list[Any]:
        """Predict all cases and return what `export` returned for each, None for bad ones. Their errors are in `failures`.

        Raises:
            PredictionError: the first bad case, unless bad cases are skipped. Cases predicted before it are exported first.
            ResourceError: the system does not give the threads beside the caller's.
        """
        reader = threading.Thread(target=self._read, args=(jobs,), name="fastnnunet-reader", daemon=True)
        writer = threading.Thread(target=self._write, name="fastnnunet-writer", daemon=True)
        started: list[threading.Thread] = []
        try:
            for thread, work in ((writer, "writes"), (reader, "reads")):
                start(thread, f"[prediction] expected a thread that {work} cases")
                started.append(thread)
            self._predict_all()
            self._put(self._predicted, None)
            while writer.is_alive():
                writer.join(0.1)
            if self._refused is not None:
                raise self._refused
        except BaseException as error:
            self._abandon(*started)
            if isinstance(error, _Stopped) and self._refused is not None:
                raise self._refused from self._refused.__cause__
            raise
        finally:
            self._no_more.set()
            self._stop.set()
            if self._progress is not None:
                self._progress.close()
        if self._on_bad_case == "raise" and self.failures:
            raise self.failures[0]
        return [self._results.get(index) for index in range(self._count)]

    def _abandon(self, *threads: threading.Thread) -> None:
        self._stop.set()
        self._outputs.close()
        end = time.monotonic() + SECONDS_TO_END
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _read(self, jobs: Iterable[Job]) -> None:
        try:
            for index, job in enumerate(jobs):
                if self._no_more.is_set() or not self._prepare(_Item(index, job)):
                    break
            self._put(self._prepared, None)
        except _Stopped:
            pass
        except BaseException as error:  # raised by the iterable, not by a case
            self._hand_over(self._prepared, error)

    def _prepare(self, item: _Item) -> bool:
        job, self._count = item.job, item.index + 1
        try:
            if job.need is not None and (reason := self._budget.refuses(job.need)):
                raise PredictionError(case=job.case, stage="check", reason=reason)
            most = None if job.need is None else job.need.most
            if not self._budget.reserve(item.index, most, self._no_more.is_set):
                return False
            self._tell("reading", job.case)
            item.image, item.properties = job.prepare()
            if job.need is not None:
                self._budget.keep(item.index, job.need.after_preprocessing)
        except Exception as error:
            # Of a limit of the process, which is no fault of the case.
            if (none := refused(error, "[prediction] expected a thread that preprocesses a case")) is not None:
                raise none from none.__cause__
            item.error = failure(job.case, "preprocess", error)
        self._tell("reading", None)
        self._put(self._prepared, item)
        return True

    def _predict_all(self) -> None:
        while (item := self._get(self._prepared)) is not None:
            if item.error is None:
                self._tell("predicting", item.job.case)
                image, item.image = cast("torch.Tensor", item.image), None
                try:
                    item.predicted = self._predict(item.job.case, image, item.properties, item.job.target)
                except Exception as error:
                    if (none := refused(error, "[prediction] expected a thread that prepares windows")) is not None:
                        raise none from none.__cause__
                    item.error = failure(item.job.case, "predict", error)
                del image
                self._tell("predicting", None)
            if item.error is not None:
                self._fail(item)
            else:
                if item.job.need is not None:
                    self._budget.keep(item.index, item.job.need.export)
                self._put(self._predicted, item)
            del item
            if self._no_more.is_set():
                break

    def _write(self) -> None:
        try:
            while (item := self._get(self._predicted)) is not None:
                job, predicted, item.predicted = item.job, item.predicted, None
                self._tell("writing", job.case)
                try:
                    result = self._export(predicted, item.properties, job.target)
                except Exception as error:
                    if self._stop.is_set():
                        return
                    self._refused = refused(error, "[prediction] expected a thread that exports a case")
                    if self._refused is not None:
                        self._stop.set()
                        return
                    item.error = failure(job.case, "export", error)
                del predicted
                self._tell("writing", None)
                if item.error is not None:
                    self._fail(item)
                    continue
                self._results[item.index] = result
                self._budget.release(item.index)
                if self._progress is not None:
                    self._progress.done(well=True)
                self._finished(job.case, None)
        except _Stopped:
            pass

    def _fail(self, item: _Item) -> None:
        assert item.error is not None
        with self._lock:
            self.failures.append(item.error)
        if self._on_bad_case == "raise":
            self._no_more.set()
        self._budget.release(item.index)
        if self._progress is not None:
            self._progress.done(well=False)
        self._finished(item.job.case, item.error)

    def _tell(self, stage: str, case: str | None) -> None:
        if self._progress is not None:
            self._progress.stage(stage, case)

    def _put(self, line: queue.Queue[_Item | BaseException | None], item: _Item | None) -> None:
        while not self._stop.is_set():
            # The writer takes all that it is given, but after the last case nobody takes from the reader.
            if line is self._prepared and self._no_more.is_set():
                break
            try:
                line.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
        raise _Stopped

    def _hand_over(self, line: queue.Queue[_Item | BaseException | None], error: BaseException) -> None:
        while not self._stop.is_set():
            try:
                line.put(error, timeout=0.1)
                return
            except queue.Full:
                continue

    def _get(self, line: queue.Queue[_Item | BaseException | None]) -> _Item | None:
        while not self._stop.is_set():
            if line is self._prepared and self._no_more.is_set():
                return None
            try:
                item = line.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            return item
        raise _Stopped


def failure(case: str, stage: str, error: Exception) -> PredictionError:
    """Return a PredictionError that names the case and the stage; an error that is one already stays as it is."""
    if isinstance(error, PredictionError):
        return error
    said = " ".join(str(error).split()) or "no reason"
    kind = "" if isinstance(error, FastnnUNetError) else f"{type(error).__name__}: "
    failure = PredictionError(case=case, stage=stage, reason=f"{_STAGES.get(stage, stage)} failed: {kind}{said}")
    failure.__cause__ = error
    return failure
