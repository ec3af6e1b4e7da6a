"""The subcommands of `fastnnunet`, a module each with `add_arguments(parser)` and `run(args) -> int`.

`run` imports torch and nnU-Net only after the arguments have been checked.
"""

import argparse

from ..settings import parse_bytes

__all__ = ["count", "fold", "patience", "seconds", "seed", "share", "size"]


def count(text: str) -> int:
    """Parse a whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def fold(text: str) -> str:
    """Parse a fold of the cross-validation, or 'all'."""
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number or 'all', got {text!r}")
    return text


def seconds(text: str) -> float:
    """Parse a positive number of seconds."""
    try:
        time = float(text)
    except ValueError:
        time = 0
    if not 0 < time < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return time


def patience(text: str) -> float:
    """Parse a number of seconds, at least 0."""
    try:
        time = float(text)
    except ValueError:
        time = -1
    if not 0 <= time < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds from 0 on, got {text!r}")
    return time


def share(text: str) -> float:
    """Parse a share from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text!r}")
    return value


def seed(text: str) -> int:
    """Parse the seed of a loader."""
    if not text.isdecimal() or int(text) >= 2**64:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 2**64 - 1, got {text!r}")
    return int(text)


def size(text: str) -> int:
    """Parse an amount of memory; returns bytes."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
