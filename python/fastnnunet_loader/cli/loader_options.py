"""The options of the loader, which `fastnnunet train`, `fastnnunet run` and the variable FASTNNUNET_RUN share."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CommandError
from ..settings import LOADERS, MAX_SKIPPED, PATIENCE, STALL_AFTER, STATS_EVERY
from ..statistics.places import missing, taken
from .arguments import count, patience, seconds, seed, share, size

__all__ = ["VARIABLE", "add_loader_options", "as_text", "check_loader_options", "from_text", "install_arguments"]

VARIABLE = "FASTNNUNET_RUN"
"""The environment variable that `fastnnunet_autoload` reads. That module has side effects on import, so it is not imported."""


def add_loader_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `install()`: how batches are made, and where statistics are written."""
    loader = parser.add_argument_group("options of the loader")
    add = loader.add_argument
    add(
        "--threads",
        metavar="N",
        type=count,
        help="number of threads that make batches (default: one less than the cores, at most 8)",
    )
    add("--seed", metavar="N", type=seed, help="seed of all batches (default: drawn at random and logged)")
    add(
        "--memory-budget",
        metavar="SIZE",
        type=size,
        help="memory limit of the loaders, such as 4GB (default: half of the free memory, at most 32GB)",
    )
    add(
        "--on-bad-case",
        choices=("raise", "skip"),
        default="raise",
        help="if a case cannot be read: stop, or skip it and list it at the end (default: %(default)s)",
    )
    add(
        "--max-skipped",
        metavar="SHARE",
        type=share,
        default=MAX_SKIPPED,
        help="largest share of the cases that 'skip' may skip; one case may always be skipped (default: %(default)g)",
    )
    add(
        "--patience",
        metavar="SECONDS",
        type=patience,
        default=PATIENCE,
        help="how long to retry reading a file if its disk or file server does not answer, or if the file disappeared; 0 gives "
        "up at once (default: %(default)g)",
    )
    add(
        "--stall-after",
        metavar="SECONDS",
        type=seconds,
        default=STALL_AFTER,
        help="if a batch takes longer, log what each thread is doing (default: %(default)g)",
    )
    add(
        "--abort-after",
        metavar="SECONDS",
        type=seconds,
        help="if a batch takes longer, end the training with an error, so that the batch system can restart it (default: wait)",
    )
    add("--check-finite", action="store_true", help="treat cases with NaN or infinite voxels as bad cases")
    add(
        "--unrestricted-pickles",
        action="store_true",
        help="read the properties of cases with Python's own unpickler, which runs any code in the file (default: refuse what "
        "nnU-Net does not write)",
    )

    add(
        "--leave-to-nnunet",
        metavar="LOADER",
        action="append",
        choices=LOADERS,
        help="keep nnU-Net's worker processes for this loader: training or validation; may be given twice",
    )

    telling = parser.add_argument_group("statistics of the loader")
    add = telling.add_argument
    add(
        "--live", action="store_true", help="show statistics while training; if the output is not a terminal, one line a minute"
    )
    add("--log-stats", action="store_true", help="write one line of statistics to nnU-Net's log after every epoch")
    add(
        "--stats",
        metavar="FILE.jsonl",
        type=Path,
        help="append statistics to a file of JSON lines; at 64 MB it is renamed to FILE.1",
    )
    add(
        "--stats-every",
        metavar="SECONDS",
        type=seconds,
        default=STATS_EVERY,
        help="seconds between two lines of a loader in that file, besides one after every epoch (default: %(default)g)",
    )
    add(
        "--metrics",
        metavar="FILE.prom",
        type=Path,
        help="write statistics to a file for Prometheus' node exporter (text format)",
    )


def check_loader_options(args: argparse.Namespace) -> None:
    """Raise CommandError if a file of statistics cannot be written."""
    for option, file in {"--stats": args.stats, "--metrics": args.metrics}.items():
        if file is not None and not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
            raise CommandError(f"[{option}] expected a file in a folder that can be written to, got {file}")
    if args.metrics is not None and (package := missing()):
        raise CommandError(f"[--metrics] {package}")
    if problem := taken(args.stats, args.metrics):
        raise CommandError(problem.replace("[", "[--", 1))


def install_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return parsed options as keyword arguments of `install()`."""
    values = {name: getattr(args, name) for name in _defaults()}
    return {**values, "leave_to_nnunet": values["leave_to_nnunet"] or ()}


def as_text(args: argparse.Namespace) -> str:
    """Return parsed options as text for `from_text`, with absolute paths; "1" if all are the defaults."""
    words = []
    for name, default in _defaults().items():
        value = getattr(args, name)
        if value == default:
            continue
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, list) else [value]:
            words.append(option)
            if one is not True:
                words.append(str(one.absolute() if isinstance(one, Path) else one))
    return shlex.join(words) or "1"


def from_text(text: str) -> dict[str, Any]:
    """Return the keyword arguments of `install()` from a text of options, or from "1", which means the defaults.

    Raises:
        CommandError: an option does not exist, or its value is out of range.
    """
    parser = _TextParser(add_help=False, allow_abbrev=False)
    add_loader_options(parser)
    try:
        args = parser.parse_args([] if text.strip() == "1" else shlex.split(text))
        check_loader_options(args)
    except (CommandError, ValueError) as error:
        raise CommandError(f"expected 1, 0 or options that `fastnnunet run --help` lists, got {text!r}: {error}") from None
    return install_arguments(args)


def _defaults() -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False)
    add_loader_options(parser)
    return vars(parser.parse_args([]))


class _TextParser(argparse.ArgumentParser):
    """Raises an error where argparse would print the usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)
