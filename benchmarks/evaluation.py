"""Metrics, ensembles and postprocessing of one case, here and in nnU-Net, on a real head, in one run.

    python -m benchmarks.evaluation [--labels N ...] [--json FILE]

metrics: compute_metrics of a head of 197 x 233 x 189. postprocess: load_postprocess_save, which keeps the largest component
of the foreground, of the same. ensemble: merge_files of two models' probabilities at a quarter of the resolution. Each is
nnU-Net's own function with its files, here after fl.install(), and each side runs in a process of its own, with one thread.
The results are compared before anything is shown. The floor is what reads the files with nnU-Net's reader (with NumPy for
probabilities) and, where there is an output, writes it.
threads: the metrics of four cases by nnU-Net's pool after fl.install(), on one thread and on two.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import fastnnunet_loader as fl

from .machine import machine

SIDES = ("nnunet", "fastnnunet")
PARTS = ("metrics", "postprocess", "ensemble")
LABELS = (2, 117)


@dataclass(frozen=True)
class Figures:
    """What one side took for one case."""

    side: str
    work: str
    labels: int
    cpu_seconds: float
    """The process', all threads together, of the fastest of the repetitions."""


def main() -> int:
    """Measure, compare, show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--labels", type=int, nargs="+", default=list(LABELS), help="numbers of labels, background apart")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "LABELS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure_here(args.measure[0], int(args.measure[1]))))
        return 0
    log, results, threads = Console(stderr=True), [], []
    for labels in args.labels:
        with tempfile.TemporaryDirectory() as folder:
            make_case(Path(folder), labels)
            measured = {}
            for side in SIDES:
                log.print(f"{labels} labels, {side}", highlight=False, markup=False)
                measured[side] = measure(Path(folder), side, labels)
        for work in PARTS:
            if measured["nnunet"][work][1] != measured["fastnnunet"][work][1]:
                raise RuntimeError(f"[{work}] expected nnU-Net's result, got another")
            results += [Figures(side, work, labels, measured[side][work][0]) for side in SIDES]
            results.append(Figures("floor", work, labels, measured["nnunet"][f"{work}, floor"][0]))
        for count in (1, 2):
            seconds, wall = measured["fastnnunet"][f"threads {count}"]
            threads.append({"labels": labels, "threads": count, "cpu_seconds": seconds, "seconds": wall})
    facts = machine()
    show(results, threads, facts, Console())
    if args.json:
        figures = {"machine": facts, "results": [asdict(one) for one in results], "threads": threads}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


# Data


def make_case(folder: Path, labels: int) -> None:
    """Write two segmentations, and probabilities of two models, of the labels 1 to `labels`."""
    import SimpleITK as sitk
    from nilearn.datasets import load_mni152_template
    from scipy import ndimage
    from scipy.spatial import cKDTree

    head = np.asarray(load_mni152_template(resolution=1).dataobj, np.float32)
    brain = head > 0.3
    rng = np.random.default_rng(0)
    places = np.argwhere(brain)
    seeds = places[rng.choice(len(places), labels, replace=False)]
    reference = np.zeros(head.shape, np.uint8 if labels < 255 else np.uint16)
    reference[brain] = cKDTree(seeds).query(places)[1] + 1
    predicted = np.roll(reference, 2, axis=1)
    for _ in range(40):
        x, y, z = (int(rng.integers(0, size - 6)) for size in head.shape)
        predicted[x : x + 4, y : y + 4, z : z + 4] = rng.integers(1, labels + 1)
    for name, array in (("reference", reference), ("prediction", predicted)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nii.gz"), True)
    small = predicted[::4, ::4, ::4]
    properties = {
        "sitk_stuff": {"spacing": (4.0,) * 3, "origin": (0.0,) * 3, "direction": tuple(np.eye(3).ravel())},
        "spacing": [4.0] * 3,
    }
    for model in range(2):
        probabilities = np.empty((labels + 1, *small.shape), np.float32)
        for label in range(labels + 1):
            probabilities[label] = ndimage.gaussian_filter((small == label).astype(np.float32), 0.6 + 0.4 * model)
        # As a network's: no value is zero, and none has few digits.
        probabilities += 1e-5 * rng.random(probabilities.shape, np.float32)
        probabilities /= probabilities.sum(0)
        np.savez_compressed(folder / f"model_{model}.npz", probabilities=probabilities)
        (folder / f"model_{model}.pkl").write_bytes(pickle.dumps(properties))


# One side


def measure(folder: Path, side: str, labels: int) -> dict[str, tuple[float, Any]]:
    """Measure in a process of its own: CPU seconds and what came out, by work."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.evaluation", "--measure", side, str(labels)]
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*sys.path, str(root)])}
    environment["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return {work: (seconds, outcome) for work, (seconds, outcome) in json.loads(done.stdout.splitlines()[-1]).items()}


def measure_here(side: str, labels: int) -> dict[str, tuple[float, Any]]:
    """Return what `measure` does. The outcome of `threads` is the seconds of a clock."""
    from nnunetv2.ensembling import ensemble
    from nnunetv2.evaluation import evaluate_predictions
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.postprocessing import remove_connected_components as components
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    if side == "fastnnunet":
        fl.install()
    reader, all_labels = SimpleITKIO(), list(range(1, labels + 1))
    manager = LabelManager({"background": 0, **{f"label {n}": n for n in all_labels}}, None)
    models = ["model_0.npz", "model_1.npz"]
    case = ("reference.nii.gz", "prediction.nii.gz", reader, all_labels, None)

    def metrics() -> Any:
        return repr(evaluate_predictions.compute_metrics(*case))

    def postprocess() -> Any:
        largest = components.remove_all_but_largest_component_from_segmentation
        kwargs = {"labels_or_regions": all_labels}
        components.load_postprocess_save("prediction.nii.gz", "out.nii.gz", reader, [largest], [kwargs])
        return _digest("out.nii.gz")

    def merge() -> Any:
        ensemble.merge_files(models, "merged", ".nii.gz", reader, manager)
        return _digest("merged.nii.gz")

    def read() -> Any:
        for file in case[:2]:
            reader.read_seg(file)

    def read_and_write() -> Any:
        segmentation, properties = reader.read_seg("prediction.nii.gz")
        reader.write_seg(segmentation[0], "floor.nii.gz", properties)

    def read_models() -> Any:
        for model in models:
            np.load(model)["probabilities"]

    works: dict[str, Callable[[], Any]] = {"metrics": metrics, "postprocess": postprocess, "ensemble": merge}
    if side == "nnunet":
        works |= {"metrics, floor": read, "postprocess, floor": read_and_write, "ensemble, floor": read_models}
    measured: dict[str, tuple[float, Any]] = {}
    for name, work in works.items():
        seconds, outcome = [], None
        for _ in range(2):
            begin = time.process_time()
            outcome = work()
            seconds.append(time.process_time() - begin)
        measured[name] = (min(seconds), outcome)
    if side == "fastnnunet":
        for count in (1, 2):
            wall, begin = time.perf_counter(), time.process_time()
            with evaluate_predictions.multiprocessing.get_context("spawn").Pool(count) as pool:
                pool.starmap(evaluate_predictions.compute_metrics, [case] * 4)
            measured[f"threads {count}"] = (time.process_time() - begin, time.perf_counter() - wall)
    return measured


def _digest(file: str) -> str:
    import hashlib

    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def show(results: list[Figures], threads: list[dict[str, Any]], facts: dict[str, Any], console: Console) -> None:
    """Print tables."""
    console.print(json.dumps(facts), highlight=False, markup=False)
    table = Table("work", "labels", "nnU-Net, CPU s", "here, CPU s", "times less", "floor, CPU s")
    for work, labels in dict.fromkeys((one.work, one.labels) for one in results):
        theirs, ours, floor = (
            next(one.cpu_seconds for one in results if (one.side, one.work, one.labels) == (side, work, labels))
            for side in (*SIDES, "floor")
        )
        table.add_row(work, str(labels), f"{theirs:.2f}", f"{ours:.2f}", f"{theirs / ours:.1f}", f"{floor:.2f}")
    console.print(table)
    table = Table("metrics of 4 cases, threads", "labels", "CPU s", "seconds")
    for one in threads:
        table.add_row(str(one["threads"]), str(one["labels"]), f"{one['cpu_seconds']:.2f}", f"{one['seconds']:.2f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
