"""One line that tells how far a prediction is, on a terminal and in a log file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from ...settings import in_units
from .memory import Budget

__all__ = ["Progress"]

QUIET_SECONDS = 30.0
"""In a log file a line appears for each case that is done, and otherwise no more often than this."""

TERMINAL_SECONDS = 0.2
"""Windows are told no more often than this."""


class Progress:
    """Keeps the line. Its methods are called from all stages.

    total: number of cases, or None if nobody knows. stream: None for standard output.
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
        self._bad = 0
        self._width = 0

    def stage(self, stage: str, case: str | None) -> None:
        """A stage has begun with a case, or is idle."""
        with self._lock:
            if case is None:
                self._at.pop(stage, None)
                return
            self._at[stage] = case
            self._show(always=False)

    def windows(self, stage: str, case: str, done: int, total: int) -> None:
        """A stage has done a part of a case."""
        with self._lock:
            self._at[stage] = f"{case} ({done} of {total} windows)"
            if self._clock() - self._last >= TERMINAL_SECONDS:
                self._show(always=False)

    def done(self, *, well: bool) -> None:
        """A case has ended."""
        with self._lock:
            self._done += 1
            self._bad += not well
            self._show(always=True)

    def close(self) -> None:
        """Leave the line as it is and start a new one."""
        with self._lock:
            if self._width:
                print(file=self._out, flush=True)
                self._width = 0

    def line(self) -> str:
        """What is shown now."""
        parts = [f"{self._done} of {self._total} cases" if self._total is not None else f"{self._done} cases"]
        if self._bad:
            parts[0] += f" ({self._bad} bad)"
        parts += [f"{stage} {case}" for stage, case in self._at.items()]
        if self._total is not None and 0 < self._done < self._total:
            left = (self._clock() - self._started) / self._done * (self._total - self._done)
            parts.append(f"{_duration(left)} left")
        parts.append(f"memory {in_units(self._budget.reserved)} of {in_units(self._budget.limit)}")
        return " | ".join(parts)

    @property
    def _out(self) -> TextIO:
        return sys.stdout if self._stream is None else self._stream

    def _show(self, always: bool) -> None:
        now, line = self._clock(), self.line()
        if self._out.isatty():
            print("\r" + line.ljust(self._width), end="", file=self._out, flush=True)
            self._width = len(line)
        elif always or now - self._last >= QUIET_SECONDS:
            print(line, file=self._out, flush=True)
        else:
            return
        self._last = now


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
