"""The subcommands of `fastnnunet`, a module each with `add_arguments(parser)` and `run(args) -> int`.

Torch and nnU-Net are imported inside `run`, after the arguments are known to be right.
"""

from ..errors import FastnnUNetError

__all__ = ["CommandError"]


class CommandError(FastnnUNetError):
    """The arguments or the set-up are wrong; the message says what exists instead, or what to do."""
