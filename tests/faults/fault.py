"""What a fault is: a name, what is promised, and a function that injects it and looks at what happens."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["FAULTS", "Difference", "Ending", "Fault", "become_another_user", "expect", "fault", "not_tried"]


class Difference(Exception):
    """Something else happened than was promised; the message says what."""


def not_tried(why: str) -> str:
    """What is seen where the machine cannot do it; in CI it has to."""
    expect(not os.environ.get("CI"), why)
    return f"not tried: {why}"


def expect(condition: object, otherwise: str) -> None:
    """Raise Difference where the condition does not hold."""
    if not condition:
        raise Difference(otherwise)


def become_another_user() -> None:
    """Be a user who has nothing else: limits of processes count what a user has everywhere, and mean nothing to root.

    Files are still reached as root. Python itself may lie where no other user can read, and more of its modules are imported
    later.
    """
    user = 100_000 + os.getpid()
    os.setresgid(user, user, user)
    os.setresuid(user, user, 0)
    ctypes.CDLL(None).setfsuid(0)


@dataclass(frozen=True)
class Ending:
    """How a process ended that a fault ends."""

    code: int  # as subprocess has it: negative for a signal
    seconds: float  # from its last note to its end
    said: str  # on standard output and error


@dataclass(frozen=True)
class Fault:
    """`inject` runs in a process that has a data set to itself, and returns in a few words what it saw.

    Where the fault ends the process, `ended` looks at the ending instead, and returns the words.
    """

    name: str
    promised: str
    inject: Callable[[Scene], str] = field(repr=False)
    limit: float  # seconds for all of it
    ended: Callable[[Ending], str] | None = field(default=None, repr=False)


FAULTS: list[Fault] = []


def fault(
    name: str, promised: str, *, limit: float = 15, ended: Callable[[Ending], str] | None = None
) -> Callable[[Callable[[Scene], str]], Callable[[Scene], str]]:
    """Add a function to the list of faults."""

    def add(inject: Callable[[Scene], str]) -> Callable[[Scene], str]:
        FAULTS.append(Fault(name, promised, inject, limit, ended))
        return inject

    return add
