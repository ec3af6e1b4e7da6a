"""The list of checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CHECKS", "Check", "Scene", "check"]


@dataclass(frozen=True)
class Scene:
    """What a check works on."""

    dataset: Any  # of datasets.py
    cache: Path  # for what may be kept
    folder: Path  # of this check alone


@dataclass(frozen=True)
class Check:
    """A promise, and the function that sees whether it is kept: it returns what was seen, or fails by an assertion."""

    name: str
    promised: str
    run: Callable[[Scene], str]


CHECKS: list[Check] = []


def check(name: str, promised: str) -> Callable[[Callable[[Scene], str]], Callable[[Scene], str]]:
    """Add a function to the list."""

    def add(function: Callable[[Scene], str]) -> Callable[[Scene], str]:
        CHECKS.append(Check(name, promised, function))
        return function

    return add
