"""This loader and nnU-Net's own, on the same data, in one run.

    python -m benchmarks.loader [rows] [memory] [threads] [--json FILE]

rows: CPU seconds per sample of the kinds of training that nnU-Net has, two workers each, alternating, with medians.
memory: peak of all processes with eight workers, and per extra thread. threads: samples per second with one thread and
with two. The data are six real brains of 1 mm. The floor is what c-blosc2 alone takes to decompress one patch. Before a
kind of training is timed, its samples are compared with what nnU-Net's own code makes of the same windows. Exits with 1
where a promised figure is missed by more than a fifth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fastnnunet_loader.bench.measure import Measurement, PeakMemory, measure
from fastnnunet_loader.nnunet.sources import open_source

from .agreement import check_agreement
from .floor import floor
from .machine import DEFAULT, FOUR_CHANNELS, PARCELS, Brains, add_cascade, described, machine, prepare

PARTS = ("rows", "memory", "threads")
WORKERS = 2
MANY_WORKERS = 8
LARGEST_SHARE = 0.2  # of nnU-Net's peak memory with so many workers, beyond the imports
LARGEST_GROWTH = 100 * 10**6  # bytes per extra thread
LEAST_SCALING = 0.9  # of twice the samples with two threads
LONGEST_FIRST_BATCH = 1.0  # seconds
TOLERATED = 0.8
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """A kind of training, and how many times fewer CPU seconds a sample may be expected to take here."""

    name: str
    factor: float
    brains: Brains = DEFAULT
    configuration: str = "3d_fullres"
    trainer: str = "nnUNetTrainer"
    keep_blocks: bool = True

    @property
    def fold(self) -> int | str:
        return "all" if self.configuration == "3d_cascade_fullres" else 0


ROWS = (
    Row("default 3D, 128^3, 1 channel, 5 labels", 15),
    Row("default 3D, 128^3, 4 channels", 15, FOUR_CHANNELS),
    Row("116 labels, 112x128x112", 100, PARCELS),
    Row("nnUNetTrainerDA5, 128^3", 12, trainer="nnUNetTrainerDA5"),
    Row("2D, 224x192, batch of 50", 10, configuration="2d"),
    Row("no augmentation, from files", 1.2, trainer="nnUNetTrainerNoDA", keep_blocks=False),
    Row("no augmentation, from kept blocks", 4, trainer="nnUNetTrainerNoDA"),
    Row("cascade, 128^3, 5 classes", 12, configuration="3d_cascade_fullres"),
)


@dataclass(frozen=True)
class Compared:
    """One row, measured."""

    name: str
    factor: float
    floor: float
    """CPU seconds in which c-blosc2 decompresses what a sample of this kind holds."""
    ours: list[Measurement]
    nnunets: list[Measurement]

    def cpu_seconds(self, runs: list[Measurement]) -> float:
        return statistics.median(m.cpu_seconds_per_sample for m in runs)

    @property
    def ratio(self) -> float:
        return self.cpu_seconds(self.nnunets) / self.cpu_seconds(self.ours)


def spread(runs: list[Measurement]) -> str:
    """Median, and how far the runs lie apart."""
    values = sorted(m.cpu_seconds_per_sample for m in runs)
    apart = f" ± {(values[-1] - values[0]) / 2:.4f}" if len(values) > 1 else ""
    return f"{statistics.median(values):.4f}{apart}"


def imports_memory() -> int:
    """Peak bytes of one process that imports torch and nnU-Net's trainer."""
    code = "import nnunetv2.training.nnUNetTrainer.nnUNetTrainer, time; time.sleep(1)"
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code]) as process, PeakMemory(process.pid) as peak:
        process.wait()
    return peak.bytes


def measure_rows(root: Path, args: argparse.Namespace, log: Console) -> list[Compared]:
    rows = [row for row in ROWS if args.only in row.name]
    results = []
    for number, row in enumerate(rows, start=1):
        dataset = prepare(root, log, row.brains)
        if row.configuration == "3d_cascade_fullres":
            add_cascade(root, dataset, (row.trainer,))
        log.print(f"[{number}/{len(rows)}] {row.name}: comparing samples", highlight=False, markup=False)
        check_agreement(dataset, row.configuration, row.fold, row.trainer, keep_blocks=row.keep_blocks)
        least = floor(open_source(dataset, row.configuration, row.fold, row.trainer).train)
        runs: dict[str, list[Measurement]] = {"nnunet": [], "fastnnunet": []}
        for repetition in range(1, args.repetitions + 1):
            for loader, measured in runs.items():
                log.print(f"[{number}/{len(rows)}] {row.name}: {loader}, run {repetition}", highlight=False, markup=False)
                measured.append(
                    measure(
                        loader,
                        dataset,
                        row.configuration,
                        row.fold,
                        workers=WORKERS,
                        seconds=args.seconds,
                        trainer=row.trainer,
                        keep_blocks=row.keep_blocks,
                        watch_memory=False,
                    )
                )
        results.append(Compared(row.name, row.factor, least, runs["fastnnunet"], runs["nnunet"]))
    return results


def rows_table(rows: list[Compared]) -> Table:
    table = Table(title=f"CPU seconds per sample, {WORKERS} workers")
    table.add_column("training")
    for heading in (
        "this one",
        "nnU-Net's",
        "floor",
        "times fewer",
        "promised",
        "samples/s",
        "nnU-Net's",
        "first batch, s",
        "nnU-Net's",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            spread(row.ours),
            spread(row.nnunets),
            f"{row.floor:.4f}",
            f"{row.ratio:.1f}",
            f"{row.factor:g}",
            *(f"{statistics.median(m.samples_per_second for m in runs):.1f}" for runs in (row.ours, row.nnunets)),
            *(f"{statistics.median(m.first_batch_seconds for m in runs):.2f}" for runs in (row.ours, row.nnunets)),
        )
    table.caption = "floor: c-blosc2 decompresses image and segmentation of a patch"
    return table


def missed_rows(rows: list[Compared]) -> list[str]:
    out = []
    for row in rows:
        if row.ratio < TOLERATED * row.factor:
            out.append(f"{row.name}: {row.ratio:.1f} times fewer CPU seconds, expected {row.factor:g}")
        if "from files" in row.name and row.cpu_seconds(row.ours) > 1.2 * row.floor / TOLERATED:
            out.append(f"{row.name}: {row.cpu_seconds(row.ours) / row.floor:.2f} of the floor, expected 1.2")
    first = [m.first_batch_seconds for row in rows if row.name.startswith("default") for m in row.ours]
    if first and statistics.median(first) > LONGEST_FIRST_BATCH / TOLERATED:
        out.append(f"first batch after {statistics.median(first):.2f} s, expected {LONGEST_FIRST_BATCH:g} s")
    return out


def default_dataset(root: Path, log: Console) -> str:
    """Of the parts that measure the default training alone, compared."""
    dataset = prepare(root, log)
    check_agreement(dataset, "3d_fullres")
    return dataset


def measure_memory(root: Path, args: argparse.Namespace, log: Console) -> dict[str, float]:
    dataset = default_dataset(root, log)
    peaks = {}
    for loader, workers in (("fastnnunet", 1), ("fastnnunet", MANY_WORKERS), ("nnunet", MANY_WORKERS)):
        log.print(f"memory: {loader}, {workers} workers", highlight=False, markup=False)
        peaks[loader, workers] = measure(loader, dataset, "3d_fullres", workers=workers, seconds=args.seconds).peak_memory
    imports = imports_memory()
    ours, theirs = peaks["fastnnunet", MANY_WORKERS] - imports, peaks["nnunet", MANY_WORKERS] - imports
    return {
        "imports": imports,
        "ours": ours,
        "nnunets": theirs,
        "share": ours / theirs,
        "per_extra_thread": (peaks["fastnnunet", MANY_WORKERS] - peaks["fastnnunet", 1]) / (MANY_WORKERS - 1),
    }


def measure_threads(root: Path, args: argparse.Namespace, log: Console) -> dict[str, float]:
    dataset = default_dataset(root, log)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(args.repetitions):
        for threads, measured in rates.items():
            log.print(f"threads: {threads}", highlight=False, markup=False)
            run = measure("fastnnunet", dataset, "3d_fullres", workers=threads, seconds=args.seconds, watch_memory=False)
            measured.append(run.samples_per_second)
    one, two = (statistics.median(measured) for measured in rates.values())
    return {"one": one, "two": two, "scaling": two / (2 * one)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--only", metavar="TEXT", default="", help="rows with this in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps the data")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="of each measurement (default: %(default)s)")
    args = parser.parse_args()
    if set(args.parts) - set(PARTS) or args.repetitions < 1:
        parser.error(f"expected parts of {', '.join(PARTS)} and at least one repetition")
    parts, root = args.parts or PARTS, args.data.resolve()
    log, console = Console(stderr=True), Console()
    missed: list[str] = []
    facts = machine()
    written: dict[str, Any] = {"machine": facts}
    if "rows" in parts:
        rows = measure_rows(root, args, log)
        console.print(rows_table(rows))
        missed += missed_rows(rows)
        written["rows"] = [{**asdict(row), "ratio": row.ratio} for row in rows]
    if "memory" in parts:
        memory = written["memory"] = measure_memory(root, args, log)
        console.print(
            f"peak memory with {MANY_WORKERS} workers, beyond what the imports take in one process: "
            f"{memory['ours'] / MIB:.0f} MiB, nnU-Net's {memory['nnunets'] / MIB:.0f} MiB ({memory['share']:.2f} of it); "
            f"{memory['per_extra_thread'] / MIB:.0f} MiB per extra thread"
        )
        if memory["share"] > LARGEST_SHARE / TOLERATED:
            missed.append(f"peak memory: {memory['share']:.2f} of nnU-Net's, expected {LARGEST_SHARE:g}")
        if memory["per_extra_thread"] > LARGEST_GROWTH:
            missed.append(f"peak memory: {memory['per_extra_thread'] / 10**6:.0f} MB per extra thread, expected 100")
    if "threads" in parts:
        scaling = written["threads"] = measure_threads(root, args, log)
        console.print(
            f"samples per second: {scaling['one']:.1f} with one thread, {scaling['two']:.1f} with two "
            f"({scaling['scaling']:.0%} of twice as many)"
        )
        if scaling["scaling"] < TOLERATED * LEAST_SCALING:
            missed.append(f"two threads: {scaling['scaling']:.0%} of twice the samples, expected {LEAST_SCALING:.0%}")
    console.print(described(facts), style="dim")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    for miss in missed:
        console.print(f"missed: {miss}", style="red")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
