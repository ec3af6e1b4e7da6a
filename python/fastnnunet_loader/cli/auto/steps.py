"""Steps of a run: how each is named, timed, shown, and blamed where it fails."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from ...errors import CommandError, FastnnUNetError, log_of, note_log
from ...prediction.session.progress import duration

__all__ = ["QUIET_SECONDS", "Record", "Step", "Steps"]

QUIET_SECONDS = 30.0
"""Within a step, a line is written at most once in this many seconds."""


class Record:
    """What steps took, in all runs together, and what is to be said of them.

    file: JSON; None for none. If it cannot be read, it counts as empty.
    """

    def __init__(self, file: Path | None) -> None:
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        self._file = file
        if file is None:
            return
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found = json.loads(file.read_text(encoding="utf-8"))
            self.seconds = {str(step): float(took) for step, took in found["seconds"].items()}
            self.notes = {str(step): str(note) for step, note in found["notes"].items()}

    def add(self, step: str, seconds: float) -> None:
        """Add to the time of a step."""
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds
        self.save()

    def save(self) -> None:
        """Write the file as a whole."""
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_name(f".{self._file.name}.new")
        text = json.dumps({"seconds": self.seconds, "notes": self.notes}, indent=2)
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(self._file)


class Step:
    """One that is at work."""

    def __init__(self, say: Callable[[str], None], quiet_seconds: float) -> None:
        self.result = ""
        """What is to be said of it at its end."""
        self._say = say
        self._quiet_seconds = quiet_seconds
        self._last = time.monotonic()

    def progress(self, text: str) -> None:
        """Say how far it is, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._last >= self._quiet_seconds:
            self._last = now
            self._say(text)


class Steps:
    """Runs one step after the other.

    Args:
        stream: for a line at the beginning and at the end of each step, and now and then in between.
        quiet_seconds: see QUIET_SECONDS.
    """

    def __init__(self, stream: TextIO, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._stream = stream
        self._quiet_seconds = quiet_seconds
        self.record = Record(None)
        """Its times include those of this run."""

    def keep(self, file: Path) -> None:
        """Keep the record in a file from now on, with what earlier runs have there."""
        before, self.record = self.record, Record(file)
        for step, seconds in before.seconds.items():
            self.record.add(step, seconds)

    def note(self, step: str, text: str) -> None:
        """Keep what is to be said of a step in the summary."""
        self.record.notes[step] = text

    def say(self, text: str) -> None:
        """Write a line."""
        # A closed pipe or a full disk of logs: the work goes on.
        with contextlib.suppress(OSError, ValueError):
            print(f"fastnnunet: {text}", file=self._stream, flush=True)

    def finished(self, title: str) -> None:
        """Say that an earlier run has done this step."""
        self.say(f"{title}: finished before")

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Inside, the step is at work. Yields what it is told.

        Raises:
            CommandError, FastnnUNetError: what the step raised, with its title in front, and the error as the cause.
        """
        self.say(f"{title} ...")
        step = Step(lambda text: self.say(f"{title}: {text}"), self._quiet_seconds)
        started = time.monotonic()
        try:
            yield step
        except CommandError as error:
            raise CommandError(f"{title}: {error}") from error
        except Exception as error:
            raise _of_step(title, error) from error
        finally:
            self._took(title, time.monotonic() - started)
        result = f", {step.result}" if step.result else ""
        self.say(f"{title}: done in {duration(time.monotonic() - started)}{result}")

    def _took(self, title: str, seconds: float) -> None:
        # A disk that is full must not hide the error of the step.
        with contextlib.suppress(OSError):
            self.record.add(title, seconds)


def _of_step(title: str, error: Exception) -> FastnnUNetError:
    own = isinstance(error, FastnnUNetError)
    said = str(error) if own else f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    made = FastnnUNetError(f"{title}: {said}")
    if log := log_of(error):
        note_log(made, log)
    return made
