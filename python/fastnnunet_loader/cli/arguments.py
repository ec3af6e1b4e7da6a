"""Types of arguments: each parses a text and returns its value, or says what it expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ..settings import BYTES, COUNT, SECONDS_ABOVE_0, SEED, Kind

__all__ = ["argument", "count", "fold", "seconds", "seed", "size"]


def argument(kind: Kind) -> Callable[[str], Any]:
    """Return a kind of setting as a type for argparse."""

    def parse(text: str) -> Any:
        try:
            return kind.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


count = argument(COUNT)
"""Parses a whole number, at least 1."""

seconds = argument(SECONDS_ABOVE_0)
"""Parses a positive number of seconds."""

seed = argument(SEED)
"""Parses the seed of a loader."""

size = argument(BYTES)
"""Parses an amount of memory; returns bytes."""


def fold(text: str) -> str:
    """Parse a fold of the cross-validation, or 'all'."""
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number or 'all', got {text!r}")
    return text
