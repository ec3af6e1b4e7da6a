"""The subcommands of `fastnnunet`, a module each with `add_arguments(parser)` and `run(args) -> int`.

Torch and nnU-Net are imported inside `run`, after the arguments are known to be right.
"""

import argparse

from ..errors import FastnnUNetError

__all__ = ["CommandError", "count"]


class CommandError(FastnnUNetError):
    """The arguments or the set-up are wrong; the message says what exists instead, or what to do."""


def count(text: str) -> int:
    """An argument that is a number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)
