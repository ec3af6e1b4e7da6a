"""One line that shows the progress of a prediction, on a terminal or in a log file."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from ...settings import in_units
from .memory import Budget

__all__ = ["Progress", "duration"]

QUIET_SECONDS = 30.0
"""A log file gets a line for each finished case, and otherwise at most one in this many seconds."""

TERMINAL_SECONDS = 0.2
"""Finished windows are shown at most once in this many seconds."""


class Progress:
    """Keeps and shows the line. All stages call its methods.

    total: number of cases, None if unknown. stream: None for standard output. clock: returns seconds.
    """

    def __init__(
        self, total: int | None, budget: Budget, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._budget = budget
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._started = self._last = clock()
        self._at: dict[str, str] = {}  # stage: case
        self._done = 0
        self._before = 0
        self._bad = 0
        self._width = 0

    def skipped(self, count: int) -> None:
        """Note that `count` cases were finished by an earlier run."""
        self._done = self._before = count

    def stage(self, stage: str, case: str | None) -> None:
        """Note that a stage has begun a case, or with None that it is idle."""
        with self._lock:
            if case is None:
                self._at.pop(stage, None)
                return
            self._at[stage] = case
            self._show(always=False)

    def windows(self, stage: str, case: str, done: int, total: int) -> None:
        """Note that a stage has finished `done` of `total` windows of a case."""
        with self._lock:
            self._at[stage] = f"{case} ({done} of {total} windows)"
            if self._clock() - self._last >= TERMINAL_SECONDS:
                self._show(always=False)

    def done(self, *, well: bool) -> None:
        """Note that a case is finished, or with `well=False` that it was bad."""
        with self._lock:
            self._done += 1
            self._bad += not well
            self._show(always=True)

    def close(self) -> None:
        """End the line."""
        with self._lock:
            if self._width:
                with contextlib.suppress(OSError, ValueError):
                    print(file=self._out, flush=True)
                self._width = 0

    def line(self) -> str:
        """Return the current line."""
        parts = [f"{self._done} of {self._total} cases" if self._total is not None else f"{self._done} cases"]
        if self._bad:
            parts[0] += f" ({self._bad} bad)"
        parts += [f"{stage} {case}" for stage, case in self._at.items()]
        if self._total is not None and self._before < self._done < self._total:
            left = (self._clock() - self._started) / (self._done - self._before) * (self._total - self._done)
            parts.append(f"{duration(left)} left")
        parts.append(f"memory {in_units(self._budget.reserved)} of {in_units(self._budget.limit)}")
        return " | ".join(parts)

    @property
    def _out(self) -> TextIO:
        return sys.stdout if self._stream is None else self._stream

    def _show(self, always: bool) -> None:
        # A pipe that is closed, a full disk, an encoding without the case's letters: the work goes on.
        with contextlib.suppress(OSError, ValueError):
            self._print(always)

    def _print(self, always: bool) -> None:
        now, line = self._clock(), self.line()
        if self._out.isatty():
            print("\r" + line.ljust(self._width), end="", file=self._out, flush=True)
            self._width = len(line)
        elif always or now - self._last >= QUIET_SECONDS:
            print(line, file=self._out, flush=True)
        else:
            return
        self._last = now


def duration(seconds: float) -> str:
    """Return seconds as hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
