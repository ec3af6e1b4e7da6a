"""The command `fastnnunet`, a module for each subcommand: the last room, which knows all the others."""

from .command import main

__all__ = ["main"]
