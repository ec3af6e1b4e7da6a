"""Transforms in Python that leave Python's lock, on this loader's threads and in as many of nnU-Net's processes, in one run.

    python -m benchmarks.own_transforms [--workers 2] [--seconds 20] [--repetitions 3] [--json FILE]

nnU-Net's default recipe on brains of 1 mm, patches of 128^3, with one transform of a user's own (benchmarks/nnunet_trainers).
TorchIO has to be installed. Exits with 1 where this loader gives fewer samples per second than nnU-Net's by more than a tenth.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fastnnunet_loader.bench.measure import Measurement, measure

from .machine import described, machine, prepare

TRAINERS = {"SciPy": "nnUNetTrainerSciPy", "torch": "nnUNetTrainerTorch", "TorchIO": "nnUNetTrainerTorchIO"}
TOLERATED = 0.9


def rate(runs: list[Measurement]) -> float:
    return statistics.median(run.samples_per_second for run in runs)


def cpu(runs: list[Measurement]) -> float:
    return statistics.median(run.cpu_seconds_per_sample for run in runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    log, console = Console(stderr=True), Console()
    facts = machine()
    dataset = prepare(args.root.resolve(), log)
    os.environ["nnUNet_extTrainer"] = str(Path(__file__).parent / "nnunet_trainers")
    table = Table(title=f"one transform in Python, {args.workers} threads or processes", caption=described(facts))
    for heading in ("transform", "samples/s", "nnU-Net's", "ratio", "CPU s a sample", "nnU-Net's"):
        table.add_column(heading, justify="left" if heading == "transform" else "right")
    results, slower = {}, False
    options = {"workers": args.workers, "seconds": args.seconds, "watch_memory": False}
    for name, trainer in TRAINERS.items():
        runs: dict[str, list[Measurement]] = {"nnunet": [], "fastnnunet": []}
        for repetition in range(1, args.repetitions + 1):
            for loader, measured in runs.items():
                log.print(f"{name}: {loader}, run {repetition}", highlight=False)
                measured.append(measure(loader, dataset, "3d_fullres", trainer=trainer, **options))
        ours, theirs = runs["fastnnunet"], runs["nnunet"]
        ratio = rate(ours) / rate(theirs)
        slower = slower or ratio < TOLERATED
        table.add_row(
            name, f"{rate(ours):.2f}", f"{rate(theirs):.2f}", f"{ratio:.2f}", f"{cpu(ours):.3f}", f"{cpu(theirs):.3f}"
        )
        results[name] = {loader: [asdict(run) for run in measured] for loader, measured in runs.items()}
    console.print(table)
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": facts, "results": results}, indent=1) + "\n", encoding="utf-8")
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
