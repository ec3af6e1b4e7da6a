"""The command `fastnnunet`: finds the subcommand, and turns errors into a line or two that say what to do."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from .commands import CommandError
from .commands.loader_options import VARIABLE
from .errors import FastnnUNetError, RankError

__all__ = ["COMMANDS", "main"]

# Name of the module in `commands`, and its line in `fastnnunet --help`. Only the module that is asked for is imported.
COMMANDS = {
    "train": "train an nnU-Net whose batches are made by threads of this process",
    "doctor": "check the machine, the settings and a data set, and say what to change",
    "predict": "predict with a trained nnU-Net, in one process and within a memory budget",
    "run": "run any program that uses nnU-Net, with this package under it, unchanged",
    "bench": "measure this loader and nnU-Net's, side by side, on a data set",
    "preview": "draw what the network will see",
    "demo": "a small real data set: planned, preprocessed, trained and measured, start to end",
}


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastnnunet", description="nnU-Net's batches and predictions without worker processes and shared memory."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        # Abbreviations are off: nnU-Net has --c and --val beside --val_best.
        subparser = subparsers.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == chosen:
            importlib.import_module(f"{__package__}.commands.{name}").add_arguments(subparser)
            subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `fastnnunet` with arguments (those of the process if None) and return its exit code.

    0: done. 1: the work failed. 2: the arguments or the set-up are wrong. 130: interrupted with Ctrl-C. 143: ended by
    SIGTERM. `doctor` has its own meaning of 0 to 2.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    args = _parser(chosen).parse_args(arguments)
    _ignore_variable(args.command)
    args.own_process = argv is None
    debug = bool(args.debug) or os.environ.get("FASTNNUNET_DEBUG", "") not in ("", "0")
    try:
        command = importlib.import_module(f"{__package__}.commands.{args.command}")
        return int(command.run(args))
    except KeyboardInterrupt:
        print("fastnnunet: interrupted", file=sys.stderr)
        return 130
    except CommandError as error:
        return _tell(error, debug, 2)
    except (FastnnUNetError, OSError) as error:
        return _tell(error, debug, 1)


def _ignore_variable(command: str) -> None:
    """What FASTNNUNET_RUN asks for is for other programs: these commands install what they need."""
    autoload = sys.modules.get("fastnnunet_autoload")
    if autoload is not None:
        autoload.stop()
    if command not in ("train", "predict", "run"):
        # The others look at nnU-Net as it is, in processes of their own too.
        os.environ.pop(VARIABLE, None)


def _tell(error: BaseException, debug: bool, code: int) -> int:
    if debug:
        raise error
    print(f"fastnnunet: error: {error}", file=sys.stderr)
    cause = error.__cause__
    if isinstance(error, RankError):
        if error.because and error.because.partition(": ")[2] not in str(error):
            print(f"  because: {error.because}", file=sys.stderr)
    elif cause is not None and str(cause) and str(cause) not in str(error):
        print(f"  because: {type(cause).__name__}: {cause}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
