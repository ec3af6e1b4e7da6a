"""This loader and nnU-Net's own, on the same data, in one run.

    python -m benchmarks.loader [--json]

Six real brains of 1 mm, one channel, five labels, 3D patches of 128^3, batches of two, nnU-Net's default augmentation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fastnnunet_loader import demo
from fastnnunet_loader.measure import Measurement, measure

DATASET_ID = 128
CASES = 6
EXTRA_THREADS = 4
MIB = 2**20


def prepare(root: Path, say: Console) -> str:
    """Build, plan and preprocess the brains, unless they are there; return the data set's name."""
    environment = demo.nnunet_environment(root)
    os.environ.update(environment)
    name = f"Dataset{DATASET_ID}_brains128"
    done = root / "prepared"
    if not done.exists():
        say.print(f"preparing {CASES} brains in {root} (once, some minutes)")
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            Path(environment[variable]).mkdir(parents=True, exist_ok=True)
        raw = root / "nnUNet_raw"
        with redirect_stdout(StringIO()):
            demo.build_dataset(raw, DATASET_ID, "brains128", "brains128", CASES, resolution=1)
            demo.plan_and_preprocess(DATASET_ID, planner=demo.BrainsPlanner)
        done.touch()
    return name


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpu = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    packages = ("fastnnunet-loader", "nnunetv2", "batchgenerators", "batchgeneratorsv2", "torch", "numpy")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def show(results: list[Measurement], facts: dict[str, Any], summary: dict[str, float], console: Console) -> None:
    first = results[0]
    patch = " x ".join(map(str, first.patch_size))
    table = Table(title=f"batches of {first.batch_size} x ({patch}), {CASES} cases")
    table.add_column("loader")
    for heading in ("workers", "samples/s", "CPU s/sample", "first batch, s", "peak memory, MiB"):
        table.add_column(heading, justify="right")
    for r in results:
        table.add_row(
            "this one (threads)" if r.loader == "fastnnunet" else "nnU-Net's (processes)",
            str(r.workers),
            f"{r.samples_per_second:.2f}",
            f"{r.cpu_seconds_per_sample:.3f}",
            f"{r.first_batch_seconds:.2f}",
            f"{r.peak_memory / MIB:.0f}",
        )
    console.print(table)
    console.print(f"CPU seconds per sample: {summary['cpu_ratio']:.1f} times fewer than nnU-Net's")
    console.print(f"peak memory per extra thread: {summary['memory_per_thread'] / MIB:.0f} MiB")
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    console.print(f"{facts['processor']}, {facts['cores']} cores; Python {facts['python']}, {versions}", style="dim")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps the data")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each measurement")
    args = parser.parse_args()
    log = Console(stderr=True)
    name = prepare(args.data.resolve(), log)

    runs = [("nnunet", 1), ("nnunet", 2), *(("fastnnunet", threads) for threads in range(1, EXTRA_THREADS + 1))]
    results = []
    for number, (loader, workers) in enumerate(runs, start=1):
        log.print(f"[{number}/{len(runs)}] {loader}, {workers} workers", highlight=False, markup=False)
        results.append(measure(loader, name, "3d_fullres", workers=workers, seconds=args.seconds))
    by = {(r.loader, r.workers): r for r in results}
    growth = by["fastnnunet", EXTRA_THREADS].peak_memory - by["fastnnunet", 1].peak_memory
    summary = {
        "cpu_ratio": by["nnunet", 1].cpu_seconds_per_sample / by["fastnnunet", 1].cpu_seconds_per_sample,
        "memory_per_thread": growth / (EXTRA_THREADS - 1),
    }
    if args.json:
        print(json.dumps({"machine": machine(), "results": [asdict(r) for r in results], "summary": summary}, indent=2))
    else:
        show(results, machine(), summary, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
