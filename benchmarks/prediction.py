"""Prediction, here and in nnU-Net, on real heads, in one run.

    python -m benchmarks.prediction [export] [convert] [preprocess] [resize] [predict] [--json FILE]

export: logits of 180 x 216 x 180 in float16 to the labels of an image of 301 x 370 x 316. resize: a T1 of 1 mm to that
size, cubic. convert, preprocess: nnU-Net's own convert_predicted_logits_to_segmentation_with_correct_shape and
DefaultPreprocessor.run_case_npy, called as programs call them, here after fl.install(). Each side runs in a process of its
own, with one thread; the results are compared before anything is shown.
predict: `fastnnunet predict` and `nnUNetv2_predict` as users call them, on the CPU, with a small network that was trained
for a moment, for 3 and for 30 heads; memory is that of the whole process tree.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import fastnnunet_loader as fl
from fastnnunet_loader import demo
from fastnnunet_loader.bench.measure import PeakMemory

from .machine import machine

SIDES = ("nnunet", "fastnnunet")
PARTS = ("export", "convert", "preprocess", "resize", "predict")
CASES = (3, 30)
DATASET_ID = 140
TRAINER = "nnUNetTrainerDemo"
PREDICTED = (180, 216, 180)
IMAGE = (301, 370, 316)
CLASSES = (5, 20, 117)
# nnU-Net would hold some 25 GB for these.
TOO_MANY_FOR_NNUNET = 117
MIB = 2**20


@dataclass(frozen=True)
class Figures:
    """What one side took for one piece of work."""

    side: str
    work: str
    cpu_seconds: float
    """The process', all threads together, of the fastest of the repetitions."""
    extra_memory: int
    """Bytes at the peak beyond what the inputs take, the result included."""


def head() -> np.ndarray:
    from nilearn.datasets import load_mni152_template

    return np.asarray(load_mni152_template(resolution=1).dataobj, np.float32)[None]


def logits(classes: int) -> np.ndarray:
    """(classes, *PREDICTED) float16: each class likes a part of the intensities, with some noise."""
    image = fl.resample(head(), PREDICTED)[0]
    liked = np.concatenate([[0.0], np.quantile(image[image > 0.05], (np.arange(classes - 1) + 0.5) / (classes - 1))])
    rng = np.random.default_rng(0)
    predicted = np.empty((classes, *PREDICTED), np.float16)
    for label in range(classes):
        predicted[label] = 0.2 * rng.standard_normal(PREDICTED, np.float32) - 60 * (image - liked[label]) ** 2
    return predicted


def plans_manager() -> Any:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    kwargs = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "architecture": {},
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": kwargs,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**kwargs, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**kwargs, "order": 1},
    }
    return PlansManager(
        {
            "plans_name": "plans",
            "dataset_name": "Dataset001_head",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "foreground_intensity_properties_per_channel": {"0": {}},
            "configurations": {"3d_fullres": configuration},
        }
    )


def preprocessor(side: str) -> Callable[[], np.ndarray]:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    if side == "fastnnunet":
        fl.install(threads=1)
    image, plans = head(), plans_manager()
    spacing = [new / old for old, new in zip(image.shape[1:], IMAGE, strict=True)]

    def preprocess() -> np.ndarray:
        made: np.ndarray = DefaultPreprocessor(verbose=False).run_case_npy(
            image, None, {"spacing": spacing}, plans, plans.get_configuration("3d_fullres"), {}
        )[0]
        return made

    return preprocess


def exporter(side: str, classes: int, direct: bool) -> Callable[[], np.ndarray]:
    predicted = logits(classes)
    if side == "fastnnunet" and not direct:
        return lambda: fl.logits_to_segmentation(predicted, IMAGE, threads=1)
    if side == "fastnnunet":
        fl.install(threads=1)
    import torch
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    plans = plans_manager()
    properties = {
        "spacing": [old / new for old, new in zip(PREDICTED, IMAGE, strict=True)],
        "shape_before_cropping": IMAGE,
        "bbox_used_for_cropping": [[0, size] for size in IMAGE],
        "shape_after_cropping_and_before_resampling": IMAGE,
    }
    labels = LabelManager({"background": 0, **{f"class {i}": i for i in range(1, classes)}}, None)

    def export() -> np.ndarray:
        segmentation: np.ndarray = convert_predicted_logits_to_segmentation_with_correct_shape(
            torch.from_numpy(predicted),
            plans,
            plans.get_configuration("3d_fullres"),
            labels,
            properties,
            num_threads_torch=1,
        )
        return segmentation

    return export


def resizer(side: str) -> Callable[[], np.ndarray]:
    image = head()
    if side == "fastnnunet":
        return lambda: fl.resample(image, IMAGE, threads=1)
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg

    return lambda: resample_data_or_seg(image, IMAGE)  # type: ignore[no-any-return]


def memory_now(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"[prediction] expected {field} in /proc/self/status, got none")


def measure_here(side: str, work: str, result: Path) -> Figures:
    part, _, classes = work.partition(" ")
    if part in ("export", "convert"):
        run = exporter(side, int(classes), direct=part == "convert")
    else:
        run = preprocessor(side) if part == "preprocess" else resizer(side)
    # What was freed goes back to the system, so that nobody takes it unseen; then the peak starts here.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = memory_now("VmRSS")
    cpu = []
    while len(cpu) < 3 and sum(cpu) < 10.0:
        started = time.process_time()
        out = run()
        cpu.append(time.process_time() - started)
        if len(cpu) == 1:
            peak = memory_now("VmHWM") - before
            np.save(result, out)
        del out
    return Figures(side, work, min(cpu), peak)


def measure(side: str, work: str, result: Path) -> Figures:
    command = [sys.executable, "-m", "benchmarks.prediction", "--measure", side, work, str(result)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise RuntimeError(f"[prediction] expected figures of {side}, got exit code {done.returncode}:\n{done.stderr}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Run:
    """A command from its start to its end."""

    side: str
    cases: int
    seconds: float
    cpu_seconds: float
    peak_memory: int
    """Bytes of the process and all that it started together, pages that they share counted once."""


def prepare_model(root: Path, say: Console) -> Path:
    """Train a network on heads of 3 mm, unless that was done; return a folder of heads of 2 mm."""
    environment = demo.nnunet_environment(root)
    os.environ.update(environment)
    done = root / f"prepared-{DATASET_ID}"
    if not done.exists():
        say.print(f"preparing {max(CASES)} heads and a network in {root} (once, some minutes)")
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            Path(environment[variable]).mkdir(parents=True, exist_ok=True)
        with redirect_stdout(StringIO()):
            demo.build_dataset(root / "nnUNet_raw", DATASET_ID, "heads", cases=5, resolution=3)
            demo.build_dataset(root / "to_predict", DATASET_ID, "heads", cases=max(CASES), resolution=2, seed=1)
            demo.plan_and_preprocess(DATASET_ID)
        train = ["train", str(DATASET_ID), "3d_fullres", "0", "-tr", TRAINER, "-device", "cpu"]
        short = {"FASTNNUNET_DEMO_EPOCHS": "2", "FASTNNUNET_DEMO_ITERATIONS": "40"}
        command = [sys.executable, "-m", "fastnnunet_loader.cli", *train]
        subprocess.run(command, env={**os.environ, **short}, check=True, stdout=subprocess.DEVNULL)
        done.touch()
    return root / "to_predict" / f"Dataset{DATASET_ID}_heads" / "imagesTr"


def measure_run(side: str, images: Path, output: Path, cases: int, device: str) -> Run:
    program = {
        "fastnnunet": ["-m", "fastnnunet_loader.cli", "predict"],
        "nnunet": ["-c", "from nnunetv2.inference.predict_from_raw_data import predict_entry_point as p; p()"],
    }[side]
    options = ["-i", str(images), "-o", str(output), "-d", str(DATASET_ID), "-tr", TRAINER, "-c", "3d_fullres", "-f", "0"]
    before, started = os.times(), time.monotonic()
    with (
        subprocess.Popen(
            [sys.executable, *program, *options, "-device", device, "--disable_tta"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        ) as process,
        PeakMemory(process.pid) as peak,
    ):
        said = process.communicate()[0]
    seconds, after = time.monotonic() - started, os.times()
    if process.returncode != 0:
        raise RuntimeError(f"[predict] expected {side} to end well, got exit code {process.returncode}:\n{said[-3000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(side, cases, seconds, cpu, peak.bytes)


def check_run(ours: Path, theirs: Path) -> None:
    import nibabel

    names = [sorted(file.name for file in folder.glob("*.nii.gz")) for folder in (ours, theirs)]
    if names[0] != names[1] or not names[0]:
        raise AssertionError(f"[predict] expected the files {names[1]}, got {names[0]}")
    voxels = wrong = foreground = 0
    for name in names[0]:
        a, b = (np.asarray(nibabel.load(folder / name).dataobj) for folder in (ours, theirs))
        voxels, wrong, foreground = voxels + a.size, wrong + np.count_nonzero(a != b), foreground + np.count_nonzero(b)
    if wrong > 1e-4 * voxels or not foreground:
        raise AssertionError(f"[predict] expected equal segmentations, got {wrong} of {voxels} voxels that differ")


def run_predictions(root: Path, counts: list[int], device: str, log: Console) -> list[Run]:
    images, runs = prepare_model(root, log), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in counts:
            chosen = folder / f"images {count}"
            chosen.mkdir()
            for file in sorted(images.iterdir())[:count]:
                shutil.copy(file, chosen)
            for side in SIDES:
                log.print(f"predict {count} cases, {side}", highlight=False, markup=False)
                runs.append(measure_run(side, chosen, folder / f"{side} {count}", count, device))
            check_run(folder / f"fastnnunet {count}", folder / f"nnunet {count}")
    return runs


def show_runs(runs: list[Run], console: Console) -> None:
    table = Table(title="predict, all cores")
    for heading in ("cases", "command", "seconds", "CPU s", "peak memory, MiB"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for r in runs:
        command = "fastnnunet predict" if r.side == "fastnnunet" else "nnUNetv2_predict"
        table.add_row(str(r.cases), command, f"{r.seconds:.1f}", f"{r.cpu_seconds:.1f}", f"{r.peak_memory / MIB:.0f}")
    console.print(table)


def check(work: str, ours: Path, theirs: Path) -> None:
    a, b = np.load(ours, mmap_mode="r"), np.load(theirs, mmap_mode="r")
    if a.shape != b.shape or a.dtype != b.dtype:
        raise AssertionError(f"[{work}] expected {b.shape} of {b.dtype}, got {a.shape} of {a.dtype}")
    if work.startswith(("export", "convert")):
        wrong = np.count_nonzero(a != b) / a.size
        if wrong > 1e-4:
            raise AssertionError(f"[{work}] expected equal labels, got {wrong:.2%} that differ")
    elif (wrong := float(np.abs(a - b).max() / np.ptp(b))) > 1e-4:
        raise AssertionError(f"[{work}] expected equal images, got a difference of {wrong:.1e} of the range")


def show(results: list[Figures], facts: dict[str, Any], console: Console) -> None:
    if results:
        show_figures(results, console)
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    console.print(f"{facts['processor']}, {facts['cores']} cores; Python {facts['python']}, {versions}", style="dim")


def show_figures(results: list[Figures], console: Console) -> None:
    table = Table(title=f"one thread, to {' x '.join(map(str, IMAGE))}")
    table.add_column("work")
    for heading in ("nnU-Net, CPU s", "this, CPU s", "times less", "nnU-Net, MiB extra", "this, MiB extra"):
        table.add_column(heading, justify="right")
    by = {(r.work, r.side): r for r in results}
    for work in dict.fromkeys(r.work for r in results):
        ours, theirs = by[work, "fastnnunet"], by.get((work, "nnunet"))
        table.add_row(
            work + (" classes" if work.startswith(("export", "convert")) else " cubic"),
            f"{theirs.cpu_seconds:.2f}" if theirs else "-",
            f"{ours.cpu_seconds:.3f}",
            f"{theirs.cpu_seconds / ours.cpu_seconds:.0f} x" if theirs else "-",
            f"{theirs.extra_memory / MIB:.0f}" if theirs else "-",
            f"{ours.extra_memory / MIB:.0f}",
        )
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", default=list(PARTS), help=f"{', '.join(PARTS)}; all unless given")
    parser.add_argument("--classes", type=int, nargs="+", default=list(CLASSES), help="of export and convert")
    parser.add_argument("--cases", type=int, nargs="+", default=list(CASES), help="of predict")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of predict (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps data and network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--measure", nargs=3, metavar=("SIDE", "WORK", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        side, work, result = args.measure
        print(json.dumps(asdict(measure_here(side, work, Path(result)))))
        return 0
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected parts of {PARTS}, got {sorted(unknown)}")

    log = Console(stderr=True)
    works = [f"export {classes}" for classes in args.classes] if "export" in args.parts else []
    works += (
        [f"convert {classes}" for classes in args.classes if classes < TOO_MANY_FOR_NNUNET] if "convert" in args.parts else []
    )
    works += [part for part in ("preprocess", "resize") if part in args.parts]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for work in works:
            files = {side: Path(folder) / f"{side}.npy" for side in SIDES}
            alone = work.startswith("export") and int(work.split()[1]) >= TOO_MANY_FOR_NNUNET
            for side in SIDES[1:] if alone else SIDES:
                log.print(f"{work}, {side}", highlight=False, markup=False)
                results.append(measure(side, work, files[side]))
            if not alone:
                check(work, files["fastnnunet"], files["nnunet"])
    runs = run_predictions(args.data.resolve(), args.cases, args.device, log) if "predict" in args.parts else []
    facts = machine()
    if runs:
        facts["device"] = args.device
        show_runs(runs, Console())
    show(results, facts, Console())
    if args.json:
        figures = {"results": [asdict(r) for r in results], "runs": [asdict(r) for r in runs]}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": facts, **figures}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
