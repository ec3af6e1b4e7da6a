"""Options that these commands share, and what each of them does around nnU-Net's functions."""

from __future__ import annotations

import argparse
import contextlib
import gc
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...errors import CommandError
from ...folders import nnunet_folders
from ...settings import Settings
from ...termination import EXIT_CODE, Terminated
from ..arguments import count
from ..loader_options import add_setting

__all__ = [
    "CONFIGURATIONS",
    "accepted",
    "add_datasets",
    "add_extraction",
    "add_messages",
    "add_planning",
    "add_preprocessing",
    "add_resources",
    "installed",
    "numbers_of_cases",
]

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres")
MOST_CASES = {"2d": 8, "3d_fullres": 4, "3d_lowres": 8}
"""nnU-Net's numbers of processes. Of other configurations 4."""


def add_datasets(parser: Any) -> None:
    """Add -d."""
    parser.add_argument("-d", metavar="ID", nargs="+", type=int, required=True, help="numbers of the data sets")


def add_extraction(parser: Any, most_cases: str) -> None:
    """Add the options of the fingerprint. most_cases: name of the option that limits them."""
    add = parser.add_argument
    add(
        "-fpe",
        metavar="CLASS",
        default="DatasetFingerprintExtractor",
        help="class that extracts the fingerprint (default: %(default)s)",
    )
    add(
        most_cases,
        metavar="N",
        type=count,
        help="cases that are analysed at once (default: nnU-Net's number of processes)",
    )
    add("--verify_dataset_integrity", action="store_true", help="check all images and segmentations first, as nnU-Net does")
    add("--clean", action="store_true", help="extract the fingerprint anew if there is one")


def add_planning(parser: Any) -> None:
    """Add the options of the planner."""
    add = parser.add_argument
    add("-pl", metavar="CLASS", default="ExperimentPlanner", help="planner class (default: %(default)s)")
    add(
        "-gpu_memory_target",
        metavar="GB",
        type=float,
        help="gigabytes of GPU memory that the plans may use (default: the planner's)",
    )
    add(
        "-preprocessor_name",
        metavar="CLASS",
        default="DefaultPreprocessor",
        help="class that preprocesses (default: %(default)s)",
    )
    add(
        "-overwrite_target_spacing",
        metavar="MM",
        nargs="+",
        help="three spacings for 3d_fullres and 3d_cascade_fullres (default: the planner's)",
    )
    add("-overwrite_plans_name", metavar="PLANS", help="name of the plans (default: the planner's)")


def add_preprocessing(parser: Any) -> None:
    """Add the options of preprocessing."""
    parser.add_argument(
        "-c",
        metavar="CONFIG",
        nargs="+",
        default=list(CONFIGURATIONS),
        help="configurations to preprocess; those that the plans lack are skipped (default: 2d 3d_fullres 3d_lowres)",
    )
    parser.add_argument(
        "-np",
        metavar="N",
        nargs="+",
        type=count,
        help="cases preprocessed at once, one number or one for each configuration (default: 8 for 2d and 3d_lowres, else 4)",
    )


def add_messages(parser: Any) -> None:
    """Add what is printed."""
    parser.add_argument("--verbose", action="store_true", help="print nnU-Net's own messages")
    parser.add_argument("--no_pbar", action="store_true", help="show no progress")


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add the settings of this package."""
    ours = parser.add_argument_group("options of this package")
    add_setting(ours, "memory_budget", "memory limit of the cases in progress, such as 8GB (default: half of the free memory)")
    add_setting(ours, "threads", "number of threads, for all cases in progress together (default: the cores)")
    add_setting(ours, "patience", "seconds for which reading an image is retried if its disk or file server does not answer")


def numbers_of_cases(args: argparse.Namespace) -> list[int]:
    """Cases at once for each configuration. Raises CommandError if -np has another number of numbers."""
    if args.np is None:
        return [MOST_CASES.get(name, 4) for name in args.c]
    if len(args.np) not in (1, len(args.c)):
        raise CommandError(f"[-np] expected one number, or one for each of {len(args.c)} configurations, got {len(args.np)}")
    return list(args.np)


def accepted(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those arguments that a function of this nnU-Net has."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in names}


@contextlib.contextmanager
def installed(args: argparse.Namespace, folders: tuple[str, ...] = ("nnUNet_raw", "nnUNet_preprocessed")) -> Iterator[None]:
    """Inside, nnU-Net's functions work on threads, within the budget that the arguments give.

    Raises CommandError if one of nnU-Net's folders is not there.
    """
    if given := os.environ.get("nnUNet_preprocessed"):
        Path(given).mkdir(parents=True, exist_ok=True)  # as nnU-Net does
    nnunet_folders(folders)
    # Otherwise joblib, which scikit-learn imports, makes a semaphore in shared memory.
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")
    with contextlib.ExitStack() as stack:
        with _without_collections():
            from ...nnunet.installing.planning import installed_for_planning

            settings = Settings(memory_budget=args.memory_budget, threads=args.threads, patience=args.patience)
            stack.enter_context(installed_for_planning(settings))
        stack.enter_context(_told_of_the_end(args.own_process))
        yield


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Importing nnU-Net and reading its sources makes many objects and no garbage; to look for it takes a sixth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _told_of_the_end(own_process: bool) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, Terminated) as interruption:
        if not own_process:  # a notebook or another program, which continues
            raise
        said, code = ("interrupted", 130) if isinstance(interruption, KeyboardInterrupt) else ("ended by SIGTERM", EXIT_CODE)
        print(f"fastnnunet: {said}; what was written is complete", file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        # The threads may be deep in a computation that cannot be stopped, so nobody waits for them.
        os._exit(code)
