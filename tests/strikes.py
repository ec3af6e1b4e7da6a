"""A process that gets a signal, or waits, at a known place of its code, however busy the machine is.

The place is the moment before a file gets its final name, which Python tells by an audit event. Somebody who looks for a file
that is there for a moment misses it on a busy machine.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

HELD = 0.5
"""Seconds that the thread then waits, so that a signal that another thread handles is handled before more files are moved."""

_SITE = """\
import importlib.util
spec = importlib.util.spec_from_file_location("strikes", {file!r})
strikes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(strikes)
strikes.{call}(*{arguments!r})
"""


def strike(name: str, number: int, after: int, record: str | None = None) -> None:
    """Send this process a signal when it is about to give a file a name, once.

    name: regular expression of the whole name. after: files with such names that are let through before. record: a file, which
    gets a line with the number of the process.
    """
    left, wanted = [after], re.compile(name)

    def about_to(event: str, arguments: tuple[object, ...]) -> None:
        if event != "os.rename" or not wanted.fullmatch(Path(os.fsdecode(arguments[1])).name):  # type: ignore[arg-type]
            return
        left[0] -= 1
        if left[0] != -1:
            return
        if record is not None:
            with Path(record).open("a", encoding="utf-8") as file:
                print(os.getpid(), file=file)
        os.kill(os.getpid(), number)
        time.sleep(HELD)

    sys.addaudithook(about_to)


def hold(name: str, after: int, until: str, moves: str) -> None:
    """Note every file of such a name that this process is about to move there, and wait with one of them.

    name: regular expression of the whole name. after: files that are let through before. until: the file that is waited for.
    moves: a file, which gets a line with each name.
    """
    left, wanted = [after], re.compile(name)

    def about_to(event: str, arguments: tuple[object, ...]) -> None:
        if event != "os.rename":
            return
        found = Path(os.fsdecode(arguments[1])).name  # type: ignore[arg-type]
        if not wanted.fullmatch(found):
            return
        with Path(moves).open("a", encoding="utf-8") as file:
            print(found, file=file)
        left[0] -= 1
        while left[0] == -1 and not Path(until).exists():
            time.sleep(0.05)

    sys.addaudithook(about_to)


def struck(folder: Path, name: str, number: signal.Signals, after: int = 0) -> tuple[dict[str, str], Path]:
    """Return environment variables under which every process of Python, once, gets a signal, and the record; see `strike`.

    folder: for what this writes.
    """
    record = folder / "processes.txt"
    return _site(folder, "strike", name, int(number), after, str(record)), record


def held(folder: Path, name: str, after: int, until: Path) -> tuple[dict[str, str], Path]:
    """Return environment variables under which every process of Python waits once, and the file with the moves; see `hold`.

    folder: for what this writes.
    """
    moves = folder / "moves.txt"
    return _site(folder, "hold", name, after, str(until), str(moves)), moves


def _site(folder: Path, call: str, *arguments: object) -> dict[str, str]:
    """Return environment variables under which every process of Python calls a function of this file when it starts."""
    folder.mkdir(parents=True)
    site = _SITE.format(file=__file__, call=call, arguments=arguments)
    (folder / "sitecustomize.py").write_text(site, encoding="utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}
