"""`fastnnunet demo`: a small real data set, on which `fastnnunet auto` runs, and both loaders are measured."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandError
from ..settings import Settings
from .arguments import count, seconds, seed
from .bench import comparison, last_line

if TYPE_CHECKING:
    from ..bench.measure import Measurement
    from .auto.options import Options
    from .auto.steps import Steps
    from .auto.training import Training

__all__ = ["add_arguments", "run"]

DATASET_ID = 900
DATASET = "Brains"
CONFIGURATION = "3d_fullres"
TRAINER = "nnUNetTrainerDemo"
MARKER = ".fastnnunet_demo"
"""File in the folder of a demo. Only where it is anything is removed."""
# Patches of about 48^3: large enough to hold a structure, small enough for a CPU.
GPU_MEMORY_GB = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the size of the demo; the defaults take less than ten minutes on two cores."""
    add = parser.add_argument
    add(
        "-o",
        metavar="FOLDER",
        type=Path,
        default=Path("fastnnunet_demo"),
        help="folder for all files: new, empty, or from an earlier demo (default: ./%(default)s)",
    )
    add("--cases", metavar="N", type=count, default=8, help="number of brains, at least 5 (default: %(default)s)")
    add("--resolution", metavar="MM", type=count, default=3, help="resolution of the images in mm (default: %(default)s)")
    add("--epochs", metavar="N", type=count, default=8, help="number of epochs (default: %(default)s)")
    add("--iterations", metavar="N", type=count, default=20, help="iterations per epoch (default: %(default)s)")
    add(
        "--threads",
        metavar="N",
        type=count,
        help="number of threads that make batches (default: one less than the cores, at most 8)",
    )
    add("--seed", metavar="N", type=seed, default=0, help="seed of data and batches (default: %(default)s)")
    add("--seconds", metavar="S", type=seconds, default=10.0, help="how long to measure each loader (default: %(default)s)")
    add("-device", choices=("cpu", "cuda"), help="device to train on (default: cuda if available)")


def run(args: argparse.Namespace) -> int:
    """Run the demo and print its results."""
    if args.cases < 5:
        raise CommandError(f"[--cases] expected at least 5, one for each fold, got {args.cases}")
    if args.o.exists() and not args.o.is_dir():
        raise CommandError(f"[-o] expected a folder, got the file {args.o}")
    _check_demo_extra()
    started = time.monotonic()
    root = _own_folder(args.o.resolve())
    log = root / "nnunet.log"
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")

    from rich.console import Console

    from .auto.steps import Steps

    console = Console()
    console.print(f"files: {root}\nwhat nnU-Net says: {log}", highlight=False)
    steps = Steps(sys.stdout, quiet_seconds=0)
    with (
        log.open("w", encoding="utf-8") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        name = _make(root, args, steps)
        result = _learn(name, args, root, steps)
        measured = _measure(name, args, steps)
    console.print(f"\nvalidation Dice: {result.before:.3f} before the training, {result.after:.3f} after it\n")
    console.print(comparison(measured))
    console.print(f"\naugmented patches with their labels: {result.patches}", highlight=False)
    console.print(
        f"a segmentation by the trained network, as `fastnnunet predict` makes it: {result.predicted}", highlight=False
    )
    console.print(f"all of it on one page: {result.page}", highlight=False)
    console.print(result.report, style="dim", highlight=False)
    console.print(f"done in {time.monotonic() - started:.0f} s")
    if result.after <= result.before:
        raise CommandError(
            f"[demo] expected validation Dice to rise above {result.before:.3f}, got {result.after:.3f}; see {log}"
        )
    return 0


def _own_folder(root: Path) -> Path:
    """Return a folder that belongs to the demo alone; the next demo may remove its content."""
    marker = root / MARKER
    if not marker.is_file():
        found = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        if found:
            shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            raise CommandError(
                f"[-o] expected a new or empty folder, or one of an earlier demo, got {root} with {shown}\n"
                f"  fastnnunet demo -o {shlex.quote(str(root / 'fastnnunet_demo'))}"
            )
        root.mkdir(parents=True, exist_ok=True)
        marker.write_text("fastnnunet demo made this folder, and removes and overwrites what is in it.\n", encoding="utf-8")
    return root


def _check_demo_extra() -> None:
    import importlib.metadata
    import importlib.util

    missing = [name for name in ("nnunetv2", "nilearn") if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(f"[demo] expected {' and '.join(missing)}, got none\n  pip install {' '.join(missing)}")
    if importlib.util.find_spec("nnunetv2.utilities.find_objects") is None:
        version = importlib.metadata.version("nnunetv2")
        raise CommandError(
            f"[demo] expected an nnU-Net that finds trainers outside of its own folder, got {version}\n"
            "  pip install nnunetv2==2.8.1"
        )


def _make(root: Path, args: argparse.Namespace, steps: Steps) -> str:
    """Make the data set, in the place of what an earlier demo left here, perhaps with another size. Returns its name."""
    from ..demo import build_dataset, nnunet_environment

    environment = nnunet_environment(root)
    os.environ.update(environment)
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        shutil.rmtree(Path(environment[variable]) / f"Dataset{DATASET_ID}_{DATASET}", ignore_errors=True)
        Path(environment[variable]).mkdir(exist_ok=True)
    for made in ("images", "predicted", "summary"):
        shutil.rmtree(root / made, ignore_errors=True)
    with steps.step(f"{args.cases} brains of {args.resolution} mm"):
        raw = root / "nnUNet_raw"
        folder = build_dataset(raw, DATASET_ID, DATASET, cases=args.cases, resolution=args.resolution, seed=args.seed)
    return folder.name


@dataclass(frozen=True)
class _Result:
    """What the network has learned."""

    before: float
    after: float
    """Dice of the validation before and after the training."""
    report: str
    """The loader's description of itself."""
    predicted: Path
    patches: Path
    page: Path


def _learn(name: str, args: argparse.Namespace, root: Path, steps: Steps) -> _Result:
    """What `fastnnunet auto` does, with a look at the untrained network in between."""
    import torch

    from .auto.course import Course
    from .train import use_device

    options = _options(name, args, root)
    use_device(options.device)
    os.environ["FASTNNUNET_DEMO_EPOCHS"] = str(args.epochs)
    os.environ["FASTNNUNET_DEMO_ITERATIONS"] = str(args.iterations)
    os.environ["FASTNNUNET_DEMO_VAL_ITERATIONS"] = "4"
    course = Course(options, steps)
    with course.installed():
        course.check()
        course.prepare()
        (training,) = course.trainings
        with steps.step("validation of the untrained network"):
            torch.manual_seed(args.seed)
            before = _untrained_dice(training)
        torch.manual_seed(args.seed)
        course.train()
        predicted = _choose_image(options)
        chosen = course.choose()
        course.predict(chosen)
    page = course.summarize(chosen)
    report = steps.record.notes[training.title]
    return _Result(before, training.dice(), report, predicted, course.summary / f"patches_{CONFIGURATION}.png", page)


def _options(name: str, args: argparse.Namespace, root: Path) -> Options:
    import torch

    from ..demo import DemoPlanner
    from .auto.options import Options

    return Options(
        dataset=name,
        raw=root / "nnUNet_raw" / name,
        preprocessed=root / "nnUNet_preprocessed" / name,
        results=root / "nnUNet_results" / name,
        device=args.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        trainer=TRAINER,
        planner=DemoPlanner,
        gpu_memory_target=GPU_MEMORY_GB,
        configurations=(CONFIGURATION,),
        folds=(0,),
        images=root / "images",
        output=root / "predicted",
        settings=Settings(threads=args.threads, seed=args.seed),
        summary=root / "summary",
    )


def _untrained_dice(training: Training) -> float:
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    options = training.options
    trainer = get_trainer_from_args(
        options.dataset,
        training.configuration,
        training.fold,
        options.trainer,
        training.plans,
        False,
        device=torch.device(options.device),
    )
    trainer.initialize()
    trainer.perform_actual_validation(False)
    return training.dice()


def _choose_image(options: Options) -> Path:
    """Take as the image to predict the raw image of a case that the network was not trained on; return what it will be."""
    assert options.images is not None
    assert options.output is not None
    splits = json.loads((options.preprocessed / "splits_final.json").read_text(encoding="utf-8"))
    case = splits[0]["val"][0]
    options.images.mkdir()
    shutil.copy(options.raw / "imagesTr" / f"{case}_0000.nii.gz", options.images)
    return options.output / f"{case}.nii.gz"


def _measure(name: str, args: argparse.Namespace, steps: Steps) -> list[Measurement]:
    from ..bench.measure import LOADERS, measure
    from ..loading.loader import default_threads

    workers = args.threads or default_threads()
    with steps.step("both loaders on this data") as step:
        measured = []
        for loader in LOADERS:
            try:
                measured.append(
                    measure(loader, name, CONFIGURATION, workers=workers, seconds=args.seconds, trainer=TRAINER, seed=args.seed)
                )
            except RuntimeError as error:
                if loader == LOADERS[0]:
                    raise
                print(error)  # into the log
                step.progress(f"nnU-Net's own loader made no batches here: {last_line(error)}")
                continue
            step.progress(loader)
    return measured
