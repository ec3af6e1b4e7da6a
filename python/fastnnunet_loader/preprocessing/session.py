"""Many cases at once: threads, each with a case, within one memory budget.

Before it starts, a case reserves what it needs at its peak. Threads that are left over work inside of the cases.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PreprocessingError, ResourceError
from ..prediction.session.memory import Budget
from ..prediction.session.progress import Progress
from ..settings import in_units
from ..threads import refused, start
from .cases import RawCase, as_error
from .reading import Kept

__all__ = ["Job", "Session", "raise_all"]

SECONDS_TO_END = 5.0
"""Seconds that the threads have to end their cases after an interruption: an interpreter that ends under them may abort."""


@dataclass(frozen=True)
class Job:
    """What is to be done for one case."""

    case: RawCase
    need: int | None
    """Bytes at its peak; None if unknown: as many of them run at once as the user allows, as in nnU-Net."""
    work: Callable[[int], Any]
    """Called with a number of threads."""


class Session:
    """Runs jobs.

    Args:
        stage: "preprocess", "fingerprint", "pack" or "intensities".
        budget: bytes that all cases in progress may take.
        threads: number of threads, together.
        most_cases: at once.
        progress: whether to show it.
        say: called with messages for the user.
        on_stop: called once after an interruption, so that incomplete files go.
        kept: cases in memory that give way to those in progress.
    """

    def __init__(
        self,
        stage: str,
        budget: Budget,
        threads: int,
        most_cases: int,
        progress: bool,
        say: Callable[[str], None],
        on_stop: Callable[[], None] = lambda: None,
        kept: Kept | None = None,
    ) -> None:
        self._stage = stage
        self._budget = budget
        self._threads = max(1, threads)
        self._most_cases = max(1, min(most_cases, self._threads))
        self._with_progress = progress
        self._say = say
        self._on_stop = on_stop
        self._kept = kept
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stop = threading.Event()
        self._waiting: deque[tuple[int, Job]] = deque()
        self._running: dict[int, str] = {}
        self._failures: list[tuple[int, PreprocessingError]] = []
        self._fatal: BaseException | None = None

    def run(self, jobs: Sequence[Job], done_before: int = 0) -> list[PreprocessingError]:
        """Run all jobs and return the errors of those that failed, in order. done_before: cases that need not be run."""
        fitting = []
        for index, job in enumerate(jobs):
            if reason := self._refusal(job):
                error = PreprocessingError(case=job.case.name, stage="check", file=", ".join(job.case.images), reason=reason)
                self._failures.append((index, error))
                self._say(f"{error}; the others follow")
            else:
                fitting.append((index, job))
        # The largest first: at the end small ones fill the threads.
        fitting.sort(key=lambda item: (item[1].need is None, -(item[1].need or 0), item[0]))
        self._waiting.extend(fitting)
        progress = Progress(len(jobs) + done_before, self._budget) if self._with_progress else None
        if progress is not None:
            progress.skipped(done_before)
        self._progress = progress
        crew: list[threading.Thread] = []
        try:
            for number in range(min(self._most_cases, len(fitting))):
                thread = threading.Thread(target=self._work, name=f"fastnnunet-{self._stage}-{number}", daemon=True)
                try:
                    start(thread, f"[{self._stage}] expected a thread for the cases")
                except ResourceError:
                    if not crew:
                        raise
                    break  # those that there are do all of it
                crew.append(thread)
            for thread in crew:
                while thread.is_alive():
                    thread.join(0.1)  # in the main thread, so that Ctrl-C arrives
        except BaseException:
            self._abandon(crew)
            raise
        finally:
            if progress is not None:
                progress.close()
        if self._fatal is not None:
            raise self._fatal
        return [error for _, error in sorted(self._failures, key=lambda item: item[0])]

    def _refusal(self, job: Job) -> str | None:
        if job.need is None or job.need <= self._budget.limit:
            return None
        if self._budget.given:
            return f"expected a memory budget of at least {in_units(job.need)}, got {in_units(self._budget.limit)}"
        self._say(
            f"warning: [{job.case.name}] {job.case.images[0]}: needs about {in_units(job.need)}, more than the "
            f"{in_units(self._budget.limit)} for all cases in progress: it is processed alone. If the process is killed, the "
            "machine or the job does not have enough memory for this case"
        )
        return None

    def _abandon(self, crew: Sequence[threading.Thread]) -> None:
        self._stop.set()
        self._on_stop()
        end = time.monotonic() + SECONDS_TO_END
        for thread in crew:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        try:
            self._run_jobs()
        except BaseException as error:  # of something beside the cases, such as whoever is told of them
            self._fatal = error
            self._stop.set()

    def _run_jobs(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not self._waiting:
                    return
                index, job = self._waiting.popleft()
                left = len(self._waiting) + len(self._running) + 1
            need = max(1, self._budget.limit // self._most_cases) if job.need is None else job.need
            if not self._budget.reserve(index, need, self._stop.is_set):
                return
            if self._kept is not None:
                self._kept.shrink_to(self._budget.limit - self._budget.reserved)
            error = None
            try:
                self._show(index, job.case.name)
                job.work(self._share(job, left))
            except Exception as found:
                # Of a limit of the process, which is no fault of the case.
                if (none := refused(found, f"[{self._stage}] expected a thread that a case needs")) is not None:
                    raise none from none.__cause__
                error = as_error(job.case, found, self._stage)
            finally:
                self._budget.release(index)
            if self._stop.is_set():
                return
            self._show(index, None)
            with self._lock:
                if error is not None:
                    self._failures.append((index, error))
            if error is not None:
                self._say(f"{error}; the others follow")
            if self._progress is not None:
                self._progress.done(well=error is None)

    def _share(self, job: Job, left: int) -> int:
        """Threads for one case: all of them are divided among the cases that can be in progress together."""
        together = min(self._most_cases, left)
        if job.need:
            together = min(together, max(1, self._budget.limit // job.need))
        return max(1, self._threads // together)

    def _show(self, index: int, case: str | None) -> None:
        with self._lock:
            if case is None:
                self._running.pop(index, None)
            else:
                self._running[index] = case
            shown = ", ".join(self._running.values())
        if self._progress is not None:
            self._progress.stage(_DOING[self._stage], shown or None)


_DOING = {"preprocess": "preprocessing", "fingerprint": "analysing", "pack": "packing", "intensities": "measuring"}


def raise_all(errors: Sequence[PreprocessingError]) -> None:
    """Raise one error that names all; nothing if there are none."""
    if not errors:
        return
    first, *others = errors
    if not others:
        raise first
    raise PreprocessingError(
        case=first.case, stage=first.stage, reason=first.reason, file=first.file, others=tuple(others)
    ) from first.__cause__
