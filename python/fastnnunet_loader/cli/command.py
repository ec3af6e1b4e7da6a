"""The command `fastnnunet`: finds the subcommand, and turns errors into a line or two that say what to do."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import importlib
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from ..errors import CommandError, FastnnUNetError, PredictionError, PreprocessingError, RankError, ResourceError, log_of
from ..listening import listens
from ..termination import EXIT_CODE, Terminated, ends_on_sigterm
from .loader_options import VARIABLE
from .openmp import sleeping

__all__ = ["COMMANDS", "PLANNING", "main", "module_of"]

# Name of the module, and its line in `fastnnunet --help`. Only the module that is asked for is imported.
COMMANDS = {
    "train": "train an nnU-Net whose batches are made by threads of this process",
    "doctor": "check the machine, the settings and a data set, and say what to change",
    "plan_and_preprocess": "fingerprint, plans and preprocessed cases of a data set, on threads and within a memory budget",
    "extract_fingerprint": "the fingerprint of a data set, on threads and within a memory budget",
    "plan_experiment": "plan networks for a data set, as nnU-Net does",
    "preprocess": "preprocess a data set as its plans say, on threads and within a memory budget",
    "auto": "from raw images to the best model and its predictions, in one process; the same command goes on",
    "pack": "images, labels and targets of any kind into a folder for a training without nnU-Net",
    "predict": "predict with a trained nnU-Net, in one process and within a memory budget",
    "run": "run any program that uses nnU-Net, with this package under it, unchanged",
    "bench": "measure this loader and nnU-Net's, side by side, on a data set",
    "preview": "draw what the network will see",
    "demo": "a small real data set: planned, preprocessed, trained and measured, start to end",
}

PLANNING = ("plan_and_preprocess", "extract_fingerprint", "plan_experiment", "preprocess", "pack")
"""Commands whose modules are in a folder of their own."""

_FOLDERS = {**dict.fromkeys(PLANNING, ".planning"), "auto": ".auto"}

_LONG = ("train", "predict", "auto", *PLANNING)
"""Commands that tell on SIGUSR1 what they are doing. What `run` starts does so by itself."""

_CONTINUES = {
    "train": "--c continues from the last checkpoint, or begins anew if none was saved",
    "auto": "the same command goes on from there",
    "pack": "what was written is complete, and the same command goes on with the rest",
}
"""How to go on with what a command was doing when it was ended."""


def module_of(command: str) -> Any:
    """Import the module of a subcommand."""
    return importlib.import_module(f"{__package__}{_FOLDERS.get(command, '')}.{command}")


class _Version(argparse.Action):
    """Prints the version of the package. The version is compiled into the extension, which is imported only for this option."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .. import __version__

        print(f"fastnnunet-loader {__version__}")
        parser.exit()


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastnnunet", description="nnU-Net's batches and predictions without worker processes and shared memory."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        # Abbreviations are off: nnU-Net has --c and --val beside --val_best.
        subparser = subparsers.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == chosen:
            module_of(name).add_arguments(subparser)
            subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `fastnnunet` with arguments (those of the process if None) and return its exit code.

    0: done. 1: the work failed; the traceback is in nnU-Net's log of the training, or on standard error, unless the message
    tells as much. 2: the arguments or the set-up are wrong. 130: interrupted with Ctrl-C. 143: ended by
    SIGTERM. `doctor` has its own meaning of 0 to 2. A program that gives arguments hears SIGTERM as before.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    args = _parser(chosen).parse_args(arguments)
    _ignore_variable(args.command)
    args.own_process = argv is None
    debug = bool(args.debug) or os.environ.get("FASTNNUNET_DEBUG", "") not in ("", "0")
    if args.own_process and "torch" not in sys.modules:
        os.environ.update(sleeping(os.environ))
    try:
        command = module_of(args.command)
        with contextlib.ExitStack() as signals:
            if args.own_process:
                signals.enter_context(ends_on_sigterm())
            if args.command in _LONG:
                signals.enter_context(listens())
            code = int(command.run(args))
        others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        if args.command in PLANNING and all(thread.daemon for thread in others):  # Python waits for the others
            _leave(args, code)
        return code
    except KeyboardInterrupt:
        return _ended("interrupted", args, 130)
    except Terminated:
        if not args.own_process:  # then it ends the program around this command
            raise
        return _ended("ended by SIGTERM", args, EXIT_CODE)
    except CommandError as error:
        return _tell(error, debug, 2)
    except (FastnnUNetError, OSError) as error:
        return _tell(error, debug, 1)


def _ignore_variable(command: str) -> None:
    """What FASTNNUNET_RUN asks for is for other programs: these commands install what they need."""
    autoload = sys.modules.get("fastnnunet_autoload")
    if autoload is not None:
        autoload.stop()
    if command not in (*_LONG, "run"):
        # The others look at nnU-Net as it is, in processes of their own too.
        os.environ.pop(VARIABLE, None)


def _ended(said: str, args: argparse.Namespace, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):  # of `| tee`, which Ctrl-C ends as well
        print("; ".join(filter(None, (f"fastnnunet: {said}", _CONTINUES.get(args.command)))), file=sys.stderr)
    _leave(args, code, unheard=True)  # whoever stops a container does not wait for long
    return code


def _leave(args: argparse.Namespace, code: int, unheard: bool = False) -> None:
    """End this process without all that Python and torch take apart otherwise, which takes half a second to seconds.

    It returns in a program that called this command; or if what was printed cannot be written, unless `unheard`: Python tells
    of it at its own end.
    """
    if not args.own_process or "torch" not in sys.modules:
        return
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None if closed by whoever started this process
        try:
            stream.flush()
        except (OSError, ValueError):
            if not unheard:
                return
    os._exit(code)


def _tell(error: Exception, debug: bool, code: int) -> int:
    if debug:
        raise error
    log = log_of(error)
    if log is None and not _explains_itself(error):
        traceback.print_exception(error)
    place = ""
    if isinstance(error, OSError) and (frames := traceback.extract_tb(error.__traceback__)):
        place = f"\n  in {frames[-1].filename}, line {frames[-1].lineno}, {frames[-1].name}"
    print(f"fastnnunet: error: {error}{place}", file=sys.stderr)
    cause = error.__cause__
    if isinstance(error, RankError):
        if error.because and error.because.partition(": ")[2] not in str(error):
            print(f"  because: {error.because}", file=sys.stderr)
    elif cause is not None and str(cause) and str(cause) not in str(error):
        print(f"  because: {type(cause).__name__}: {cause}", file=sys.stderr)
    if log is not None:
        print(f"  traceback: {log}", file=sys.stderr)
    return code


def _explains_itself(error: Exception) -> bool:
    """Whether the place in the code that it comes from would tell a user no more."""
    if isinstance(error, CommandError) or (isinstance(error, (PredictionError, PreprocessingError)) and error.stage == "check"):
        return True
    cause = error.__cause__
    limits = isinstance(error, ResourceError) or isinstance(cause, MemoryError)  # of the system, not of the code
    return isinstance(error, FastnnUNetError) and (cause is None or isinstance(cause, FastnnUNetError) or limits)


if __name__ == "__main__":
    sys.exit(main())
