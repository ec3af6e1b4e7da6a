"""What this package says in the log of a training, from every rank."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from .ranks import rank
from .runs import current, run_of

__all__ = ["say", "say_here", "sayer"]

_log = logging.getLogger("fastnnunet_loader")


def say(trainer: Any, text: str, *, timestamp: bool = True) -> None:
    """Write into nnU-Net's log of a training. nnU-Net writes what rank 0 says only; the others add their lines themselves."""
    number = rank()
    if number == 0:
        trainer.print_to_log_file(text, add_timestamp=timestamp)
        return
    line = f"[rank {number}] {text}"
    print(line)
    file = run_of(trainer).log_file
    if file is not None:
        with Path(file).open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now()}: {line}\n" if timestamp else f"{line}\n")


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
