"""What this package says in the log of a training, from every rank."""

from __future__ import annotations

import contextlib
import logging
import traceback
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import log_of, note_log
from .distributed.ranks import tell, told
from .runs import current, run_of

__all__ = ["announce", "recording", "say", "say_here", "sayer", "write_out"]

_log = logging.getLogger("fastnnunet_loader")


def say(trainer: Any, text: str, *, timestamp: bool = True) -> None:
    """Write into nnU-Net's log of a training. nnU-Net writes what rank 0 says only; the others add their lines themselves."""
    number = getattr(trainer, "local_rank", 0)
    if number == 0:
        trainer.print_to_log_file(text, add_timestamp=timestamp)
        return
    line = f"[rank {number}] {text}"
    print(line)
    run_of(trainer).unwritten.append(f"{datetime.now()}: {line}\n" if timestamp else f"{line}\n")
    write_out(trainer)


def announce(trainer: Any) -> None:
    """Let the other ranks know the file that rank 0 writes."""
    if getattr(trainer, "local_rank", 0) == 0:
        tell(_name(trainer), getattr(trainer, "log_file", None))


def write_out(trainer: Any) -> None:
    """Add to rank 0's file what this rank had to say before it knew that file."""
    run = run_of(trainer)
    if not run.unwritten:
        return
    run.log_file = told(_name(trainer)) or run.log_file
    if run.log_file is None:
        return
    text, run.unwritten = "".join(run.unwritten), []
    # One call of the system, at the end of the file wherever that is then: no line of another rank comes in between.
    with contextlib.suppress(OSError), Path(run.log_file).open("ab", buffering=0) as file:
        file.write(text.encode())


def _name(trainer: Any) -> str:
    return f"log/{getattr(trainer, 'output_folder', None)}"


@contextlib.contextmanager
def recording(trainer: Any) -> Iterator[None]:
    """Inside, an error leaves its traceback in the log of a training, once, whatever becomes of it."""
    try:
        yield
    except Exception as error:
        if log_of(error) is None:
            with contextlib.suppress(Exception):  # the disk may be full, which is what went wrong
                _record(trainer, error)
        raise


def _record(trainer: Any, error: Exception) -> None:
    number = getattr(trainer, "local_rank", 0)
    file = (getattr(trainer, "log_file", None) if number == 0 else told(_name(trainer))) or run_of(trainer).log_file
    if file is None:
        return
    rank = f"[rank {number}] " if number else ""
    text = f"\n{datetime.now()}: {rank}{''.join(traceback.format_exception(error))}"
    with Path(file).open("ab", buffering=0) as log:
        if log.write(text.encode("utf-8", "replace")) is not None:
            note_log(error, str(file))


def say_here(text: str) -> None:
    """Say it in the log of the training whose loaders are being made, and else where all warnings go."""
    _, trainer = current()
    if trainer is not None:
        say(trainer, text)
    else:
        _log.warning("%s", text)


def sayer(trainer: Any) -> Callable[[str], None]:
    """Return what speaks in the log of a trainer as long as it exists, and else where all warnings go."""
    known = (lambda: None) if trainer is None else weakref.ref(trainer)

    def speak(text: str) -> None:
        there = known()
        if there is None:
            _log.warning("%s", text)
        else:
            say(there, text)

    return speak
