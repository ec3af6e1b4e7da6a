"""What the loader costs a training: iterations per second fed by it, against the same training fed with one batch.

    python -m benchmarks.training [--device cuda] [--json FILE]
    nnUNet_compile=f taskset -c 0,1 python -m benchmarks.training --threads 2      a network that is not compiled, two cores

nnU-Net's default trainer on six real brains of 1 mm, patches of 128^3, batches of two, compiled by torch.compile where nnU-Net
does that; each side in a process of its own, alternating, with medians. "one batch" is the idea of nnU-Net's
nnUNetTrainerBenchmark_5epochs_noDataLoading: a batch that is made before anything is timed. Before that, samples are compared
with what nnU-Net's own code makes of the same windows.
Where there is no CUDA device nothing is measured, for on a CPU the network takes the cores that the loader needs;
`--device cpu` does it all the same, and judges nothing. Exits with 1 where the loader costs more than it may.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .agreement import check_agreement
from .machine import described, machine, prepare

FEEDS = ("one batch", "fastnnunet", "nnunet")
LEAST_SHARE = 0.97  # of the iterations with one batch
WARM_UP = 10


def repeated(batch: Any) -> Iterator[Any]:
    while True:
        yield batch


def train(feed: str, args: argparse.Namespace) -> dict[str, float]:
    """Train in this process; return iterations per second and the share of the time that the training waited for batches."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    import fastnnunet_loader as fl

    torch.manual_seed(0)
    device = torch.device(args.device)
    if device.type != "cpu":
        torch.set_num_threads(1)  # as nnUNetv2_train does
    if feed != "nnunet":
        fl.install(threads=args.threads, seed=0)
    trainer = get_trainer_from_args(args.dataset, "3d_fullres", 0, "nnUNetTrainer", "nnUNetPlans", False, device)
    trainer.initialize()
    batches, validation = trainer.get_dataloaders()
    source = batches
    if feed == "one batch":
        source = repeated(next(batches))  # in the memory that the loader's batches are in
        batches.loader.close()
    trainer.network.train()
    waited = started = 0.0
    for number in range(-WARM_UP if args.warm_up is None else -args.warm_up, args.iterations):
        if number == 0:
            _finish(device)
            waited, started = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - asked
        trainer.train_step(batch)
    _finish(device)
    seconds = time.perf_counter() - started
    for loader in (batches, validation):
        getattr(loader, "_finish", lambda: None)()
    return {"iterations_per_second": args.iterations / seconds, "waited": waited / seconds}


def _finish(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(feed: str, args: argparse.Namespace) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training", "--feed", feed, "--dataset", args.dataset]
    command += ["--device", args.device, "--iterations", str(args.iterations)]
    command += [] if args.threads is None else ["--threads", str(args.threads)]
    command += [] if args.warm_up is None else ["--warm-up", str(args.warm_up)]
    environment = {**os.environ}
    if args.threads is not None:
        environment["nnUNet_n_proc_DA"] = str(args.threads)  # nnU-Net's processes
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise RuntimeError(f"[{feed}] expected figures, got exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of this loader, and processes of nnU-Net's (default: theirs)")
    parser.add_argument("--iterations", type=int, default=100, help="timed, each time (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, help=f"iterations before them (default: {WARM_UP})")
    parser.add_argument("--repetitions", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps the data")
    parser.add_argument("--dataset", help="planned and preprocessed, where nnU-Net's variables say (default: six brains)")
    parser.add_argument("--feed", choices=FEEDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.feed is not None:
        print(json.dumps(train(args.feed, args)), flush=True)
        return 0
    console, log = Console(), Console(stderr=True)
    if args.device == "cuda" and not torch.cuda.is_available():
        console.print("not measured: there is no CUDA device here (--device cpu trains on the processor)")
        return 0
    compiled = os.environ.get("nnUNet_compile")
    args.dataset = args.dataset or prepare(args.data.resolve(), log)
    # The preparation asks for no compilation; a training here is as the user has it, and nnU-Net's default is to compile.
    os.environ["nnUNet_compile"] = "t" if compiled is None else compiled
    log.print("comparing samples with nnU-Net's", highlight=False)
    check_agreement(args.dataset, "3d_fullres")
    runs: dict[str, list[dict[str, float]]] = {feed: [] for feed in FEEDS}
    for repetition in range(1, args.repetitions + 1):
        for feed, measured in runs.items():
            log.print(f"{feed}, run {repetition} of {args.repetitions}", highlight=False)
            measured.append(measure(feed, args))
    speeds = {feed: statistics.median(run["iterations_per_second"] for run in measured) for feed, measured in runs.items()}
    table = Table(title=f"training on {args.device}, iterations per second")
    for heading in ("fed by", "iterations/s", "of one batch's", "waited"):
        table.add_column(heading, justify="left" if heading == "fed by" else "right")
    for feed, measured in runs.items():
        apart = (max(r["iterations_per_second"] for r in measured) - min(r["iterations_per_second"] for r in measured)) / 2
        waited = statistics.median(run["waited"] for run in measured)
        share = speeds[feed] / speeds["one batch"]
        table.add_row(feed, f"{speeds[feed]:.3f} ± {apart:.3f}", f"{share:.1%}", f"{waited:.1%}")
    console.print(table)
    facts = machine()
    facts["device"] = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    facts["compiled"] = args.device == "cuda" and os.environ["nnUNet_compile"].lower() in ("true", "1", "t")
    how = "compiled" if facts["compiled"] else "not compiled"
    console.print(f"{facts['device']}, network {how}; {described(facts)}", style="dim")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": facts, "runs": runs}, indent=1) + "\n", encoding="utf-8")
    share = speeds["fastnnunet"] / speeds["one batch"]
    if args.device == "cuda" and share < LEAST_SHARE:
        console.print(f"missed: {share:.1%} of the iterations with one batch, expected {LEAST_SHARE:.0%}", style="red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
