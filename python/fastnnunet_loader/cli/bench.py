"""`fastnnunet bench`: this loader and nnU-Net's, side by side, on the user's own data."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..errors import CommandError
from ..folders import check_dataset, dataset_folder, nnunet_folders
from .arguments import count, fold, seconds, seed

if TYPE_CHECKING:
    from rich.table import Table

    from ..bench.measure import Measurement

__all__ = ["add_arguments", "comparison", "last_line", "run"]

MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose what is measured, and for how long."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="name or number of the data set")
    add("configuration", metavar="CONFIG", help="configuration of the plans, such as 3d_fullres")
    add("fold", metavar="FOLD", type=fold, help="fold of the cross-validation, or 'all'")
    add("-tr", metavar="TRAINER", default="nnUNetTrainer", help="trainer class (default: %(default)s)")
    add("-p", metavar="PLANS", default="nnUNetPlans", help="name of the plans (default: %(default)s)")
    add(
        "--threads",
        metavar="N",
        type=count,
        help="number of threads here, and of nnU-Net's worker processes (default: one less than the cores, at most 8)",
    )
    add("--seconds", metavar="S", type=seconds, default=20.0, help="how long to measure each loader (default: %(default)s)")
    add("--seed", metavar="N", type=seed, default=0, help="seed of this loader's batches (default: %(default)s)")
    add("--json", action="store_true", help="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure both loaders one after the other, each in its own process, and print the results."""
    if not sys.platform.startswith("linux"):
        raise CommandError(f"[bench] expected Linux, which tells what processes share of their memory, got {sys.platform}")
    if importlib.util.find_spec("psutil") is None:
        raise CommandError("[bench] expected psutil, got no such package\n  pip install psutil")
    folder = dataset_folder(args.dataset, nnunet_folders(("nnUNet_preprocessed",))["nnUNet_preprocessed"])
    check_dataset(folder, args.p, args.configuration, args.fold, args.tr)

    from rich.console import Console

    from ..bench.measure import LOADERS, measure
    from ..loading.loader import default_threads

    workers = args.threads or default_threads()
    log = Console(stderr=True)
    measured = []
    for number, loader in enumerate(LOADERS, start=1):
        log.print(f"[{number}/{len(LOADERS)}] {_named(loader, workers)}, {args.seconds:g} s", highlight=False, markup=False)
        try:
            measured.append(
                measure(
                    loader,
                    folder.name,
                    args.configuration,
                    args.fold,
                    workers=workers,
                    seconds=args.seconds,
                    trainer=args.tr,
                    plans=args.p,
                    seed=args.seed,
                )
            )
        except RuntimeError as error:
            if not measured:
                raise CommandError(str(error)) from None
            log.print(f"nnU-Net's own loader made no batches here: {last_line(error)}", highlight=False, markup=False)
    if args.json:
        print(json.dumps([asdict(m) for m in measured], indent=2))
        return int(len(measured) < len(LOADERS))
    console = Console()
    console.print(comparison(measured))
    if len(measured) < len(LOADERS):
        return 1
    ours, theirs = measured
    console.print(
        f"{theirs.cpu_seconds_per_sample / ours.cpu_seconds_per_sample:.1f} times fewer CPU seconds per sample than nnU-Net's "
        f"loader, {ours.samples_per_second / theirs.samples_per_second:.1f} times its samples per second"
    )
    return 0


def comparison(measured: Sequence[Measurement]) -> Table:
    """Return a table of the measurements with one column per loader."""
    from rich.table import Table

    patch = " x ".join(str(n) for n in measured[0].patch_size)
    table = Table(title=f"batches of {measured[0].batch_size} x ({patch})")
    table.add_column("")
    for m in measured:
        table.add_column(_named(m.loader, m.workers), justify="right")
    table.add_row("samples per second", *(f"{m.samples_per_second:.1f}" for m in measured))
    table.add_row("CPU seconds per sample", *(f"{m.cpu_seconds_per_sample:.4f}" for m in measured))
    table.add_row("first batch after, s", *(f"{m.first_batch_seconds:.2f}" for m in measured))
    table.add_row("peak memory of all processes, MiB", *(f"{m.peak_memory / MIB:.0f}" for m in measured))
    return table


def last_line(error: RuntimeError) -> str:
    """The last line that a measuring process printed: of a traceback, the error."""
    return str(error).strip().splitlines()[-1].strip()


def _named(loader: str, workers: int) -> str:
    if loader == "fastnnunet":
        return f"this loader, {workers} thread{'s' * (workers > 1)}"
    return f"nnU-Net, {workers} process{'es' * (workers > 1)}"
