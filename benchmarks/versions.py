"""Two versions of this package, in one run.

    python -m benchmarks.versions CHECKOUT [loader] [transforms] [prediction] [--json FILE]

CHECKOUT is a folder with another version, usually an older one, whose extensions lie beside its package. Both versions
measure themselves, alternately, on the same data: CPU seconds per sample of the kinds of training in benchmarks.loader,
milliseconds of every transform and trainer's tree (benchmarks.transforms), CPU seconds of the pieces of a prediction
(benchmarks.prediction). The table has the ratio of the medians, this version's to the other one's, and how far the ratios of
single rounds lie apart. Exits with 1 where this version takes a tenth
more, and more in every round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .loader import ROWS, WORKERS, Row
from .machine import add_cascade, machine, prepare

HERE = Path(__file__).resolve().parents[1]
PARTS = ("loader", "transforms", "prediction")
TOLERATED = 1.1


@dataclass
class Work:
    """What both versions did, once a round."""

    part: str
    name: str
    unit: str
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.after) / statistics.median(self.before)

    @property
    def rounds(self) -> list[float]:
        return [after / before for before, after in zip(self.before, self.after, strict=True)]


def run(tree: Path, module: str, *arguments: str) -> str:
    """Run a module of a version; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'python'}{os.pathsep}{tree}", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, encoding="utf-8")
    # A benchmark exits with 1 where its own expectations are missed; its figures are there all the same.
    if done.returncode not in (0, 1):
        sys.exit(f"[{tree}] expected {module} to measure, got exit code {done.returncode}")
    return done.stdout


def loader_figures(tree: Path, row: Row, dataset: str, seconds: float) -> dict[str, float]:
    options = ["--workers", str(WORKERS), "--seconds", str(seconds), "-tr", row.trainer]
    if not row.keep_blocks:
        options.append("--no-blocks")
    place = [dataset, row.configuration, str(row.fold)]
    said = run(tree, "fastnnunet_loader.bench.measure", "fastnnunet", *place, *options)
    return {row.name: json.loads(said.splitlines()[-1])["cpu_seconds_per_sample"]}


def figures_of(tree: Path, module: str, read: Callable[[Any], dict[str, float]], *arguments: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        run(tree, module, *arguments, "--json", str(file))
        return read(json.loads(file.read_text(encoding="utf-8")))


def of_transforms(found: Any) -> dict[str, float]:
    return {entry["name"]: entry["native_ms"] for part in ("leaves", "trees") for entry in found[part]}


def of_prediction(found: Any) -> dict[str, float]:
    return {entry["work"]: entry["cpu_seconds"] for entry in found["results"] if entry["side"] == "fastnnunet"}


def measured(args: argparse.Namespace, log: Console) -> list[Work]:
    """Each version in turn, `rounds` times; which one comes first changes."""
    jobs: list[tuple[str, str, Callable[[Path], dict[str, float]]]] = []
    data = args.data.resolve()
    if "loader" in args.parts:
        for row in ROWS:
            if args.only in row.name:
                dataset = prepare(data, log, row.brains)
                if row.configuration == "3d_cascade_fullres":
                    add_cascade(data, dataset, (row.trainer,))
                jobs.append(("loader", "s", partial(loader_figures, row=row, dataset=dataset, seconds=args.seconds)))
    if "transforms" in args.parts:
        options = ("--data", str(data), "--only", args.only, "--draws", str(args.draws))
        jobs.append(("transforms", "ms", lambda tree: figures_of(tree, "benchmarks.transforms", of_transforms, *options)))
    if "prediction" in args.parts:
        pieces = ("export", "preprocess", "resize", "--classes", "5", "--data", str(data))
        jobs.append(("prediction", "s", lambda tree: figures_of(tree, "benchmarks.prediction", of_prediction, *pieces)))
    works: dict[tuple[str, str], Work] = {}
    for part, unit, job in jobs:
        for number in range(args.rounds):
            sides = [("before", args.checkout.resolve()), ("after", HERE)]
            for side, tree in sides if number % 2 == 0 else sides[::-1]:
                log.print(f"{part}: {side}, round {number + 1} of {args.rounds}", highlight=False)
                for name, value in job(tree).items():
                    getattr(works.setdefault((part, name), Work(part, name, unit)), side).append(value)
    return [work for work in works.values() if len(work.before) == len(work.after) == args.rounds]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("checkout", type=Path, help="folder of the other version")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--only", metavar="TEXT", default="", help="kinds of training and transforms with this in their name")
    parser.add_argument("--rounds", type=int, default=3, help="of each version (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each training (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=10, help="of each transform's parameters (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps the data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    args = parser.parse_args()
    args.parts = args.parts or list(PARTS)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected parts of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    if not (args.checkout / "python" / "fastnnunet_loader").is_dir():
        parser.error(f"expected a checkout of this repository, got {args.checkout}")
    log = Console(stderr=True)
    works = measured(args, log)
    table = Table(title="time of this version / time of the other one")
    for heading in ("part", "what", "other", "this", "ratio", "rounds"):
        table.add_column(heading, justify="left" if heading in ("part", "what") else "right")
    for work in works:
        before, after = (f"{statistics.median(side):.4g} {work.unit}" for side in (work.before, work.after))
        rounds = f"{min(work.rounds):.2f} to {max(work.rounds):.2f}"
        table.add_row(work.part, work.name, before, after, f"{work.ratio:.2f}", rounds)
    Console().print(table)
    if args.json:
        commits = [
            subprocess.run(
                ["git", "rev-parse", "HEAD"], cwd=tree, check=True, capture_output=True, encoding="utf-8"
            ).stdout.strip()
            for tree in (args.checkout, HERE)
        ]
        figures = [{**work.__dict__, "ratio": work.ratio} for work in works]
        text = json.dumps({"machine": machine(), "before": commits[0], "after": commits[1], "works": figures}, indent=1)
        args.json.write_text(text + "\n", encoding="utf-8")
    slower = [work.name for work in works if min(work.rounds) > 1 and work.ratio > TOLERATED]
    if slower:
        log.print(f"slower than before: {'; '.join(slower)}", highlight=False, markup=False)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
