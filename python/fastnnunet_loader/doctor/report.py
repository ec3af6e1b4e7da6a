"""What a check found, and how it is shown: lines of 80 columns, or one JSON object."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TextIO

__all__ = ["Check", "Printer", "Task", "Verdict", "exit_code", "progress", "run", "to_json"]

VERDICT_COLUMNS = 11
NAME_COLUMNS = 21
# Of the lines that name a file or a case each; JSON has all of them.
DETAILS_SHOWN = 20


class Verdict(str, Enum):
    """How bad it is, from good to bad."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAIL = "will fail"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    why: str = ""
    """Why it matters."""
    mend: str = ""
    """The line to run, or what to change; "" where nothing has to be."""
    details: tuple[str, ...] = ()
    """A line for each file, case or setting that the verdict is about."""


Task = tuple[str, Callable[[], "Check | Sequence[Check]"]]


def run(tasks: Iterable[Task], show: Callable[[Check], None], debug: bool = False) -> list[Check]:
    """Run each task, show its checks at once, and return all of them. A task that raises is a check that fails.

    tasks: (name for the case that it raises, function). debug: let the exception through instead.
    """
    checks: list[Check] = []
    for name, function in tasks:
        try:
            made = function()
        except Exception as error:
            if debug:
                raise
            made = Check(
                name,
                Verdict.FAIL,
                f"{type(error).__name__}: {error}",
                "This could not be checked, so what it is about may fail in training too.",
                "fastnnunet doctor --debug    (shows where)",
            )
        for check in (made,) if isinstance(made, Check) else made:
            checks.append(check)
            show(check)
    return checks


def exit_code(checks: Iterable[Check]) -> int:
    """0: fine. 1: warnings. 2: something will fail."""
    verdicts = {check.verdict for check in checks}
    return 2 if Verdict.FAIL in verdicts else 1 if Verdict.WARNING in verdicts else 0


def to_json(checks: Iterable[Check]) -> str:
    """One object with the list of checks, the exit code and the number of checks of each verdict."""
    checks = list(checks)
    listed = [
        {
            "name": check.name,
            "verdict": check.verdict.value,
            "found": check.found,
            "why": check.why,
            "mend": check.mend,
            "details": list(check.details),
        }
        for check in checks
    ]
    return json.dumps({"exit_code": exit_code(checks), "counts": _counts(checks), "checks": listed}, indent=2)


def _counts(checks: Sequence[Check]) -> dict[str, int]:
    return {verdict.value: sum(check.verdict is verdict for check in checks) for verdict in Verdict}


class Printer:
    """Writes checks as text: in colour where the stream is a terminal, else plain and 80 columns wide."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self._stream = sys.stdout if stream is None else stream
        self._terminal = self._stream.isatty()
        self._width = min(shutil.get_terminal_size().columns, 120) if self._terminal else 80
        self._console = Console(file=self._stream, highlight=False, markup=False, no_color=None if self._terminal else True)

    def check(self, check: Check) -> None:
        """Write one check."""
        name = check.name.ljust(NAME_COLUMNS - 1)
        first, *more = self._wrapped(check.found) or [""]
        if len(name) >= NAME_COLUMNS:
            more, first = [first, *more], ""
        self._verdict(check.verdict, f"{name} {first}".rstrip())
        for line in more:
            self._indented(line)
        for line in check.details[:DETAILS_SHOWN]:
            for number, part in enumerate(self._wrapped(line, VERDICT_COLUMNS + 2)):
                self._line(" " * VERDICT_COLUMNS + ("- " if number == 0 else "  ") + part)
        if len(check.details) > DETAILS_SHOWN:
            self._line(f"{' ' * VERDICT_COLUMNS}- and {len(check.details) - DETAILS_SHOWN} more; --json lists all")
        if check.verdict is not Verdict.OK:
            for line in self._wrapped(check.why):
                self._indented(line)
            # Lines to run stay whole, to be copied.
            for line in check.mend.splitlines():
                self._line(f"{' ' * VERDICT_COLUMNS}> {line}")

    def summary(self, checks: Sequence[Check]) -> None:
        """Write how many checks had which verdict, and the names of those that matter."""
        counts = _counts(checks)
        self._line("")
        for verdict in (Verdict.FAIL, Verdict.WARNING):
            names = [check.name for check in checks if check.verdict is verdict]
            if names:
                for number, line in enumerate(self._wrapped(", ".join(names), VERDICT_COLUMNS)):
                    if number == 0:
                        self._verdict(verdict, line)
                    else:
                        self._line(" " * VERDICT_COLUMNS + line)
        self._line(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))

    def _wrapped(self, text: str, indent: int = VERDICT_COLUMNS + NAME_COLUMNS) -> list[str]:
        lines: list[str] = []
        for line in text.splitlines():
            lines += textwrap.wrap(line, max(self._width - indent, 20), break_long_words=False, break_on_hyphens=False)
        return lines

    def _indented(self, line: str) -> None:
        self._line(" " * (VERDICT_COLUMNS + NAME_COLUMNS) + line)

    def _verdict(self, verdict: Verdict, rest: str) -> None:
        colour = {Verdict.OK: "green", Verdict.NOTE: "cyan", Verdict.WARNING: "yellow", Verdict.FAIL: "bold red"}[verdict]
        self._line(rest, verdict.value.ljust(VERDICT_COLUMNS), colour)

    def _line(self, text: str, verdict: str = "", colour: str = "") -> None:
        if not self._terminal:
            self._stream.write(_writable(verdict + text, self._stream) + "\n")
            self._stream.flush()
            return
        if verdict:
            self._console.print(verdict, style=colour, end="", soft_wrap=True)
        self._console.print(_writable(text, self._stream), soft_wrap=True)


def _writable(text: str, stream: TextIO) -> str:
    # File names may have letters that the stream has not, on Windows above all.
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def progress(what: str, total: int, stream: TextIO | None = None) -> Iterator[Callable[[], None]]:
    """Show how far a task is, on standard error: a bar on a terminal, else a line at times. The function counts one part."""
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Without a thread that shows it anew.
        with Progress(*columns, console=Console(file=stream), transient=True, auto_refresh=False) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.update(task, advance=1, refresh=True)
        return

    done, said = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, said
        done += 1
        if done == total or time.monotonic() - said >= 10:
            said = time.monotonic()
            stream.write(f"{what}: {done} of {total}\n")
            stream.flush()

    yield advance
