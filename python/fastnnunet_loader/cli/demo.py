"""`fastnnunet demo`: a small real data set, planned, preprocessed, trained, validated and measured."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CommandError
from .arguments import count, seconds, seed
from .bench import comparison

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ..bench.measure import Measurement

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
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console()
    console.print(f"files: {root}\nwhat nnU-Net says: {log}", highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console) as progress,
        log.open("w", encoding="utf-8") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        name = _prepare(root, args, progress)
        before, after, loader_report = _train(name, args, progress)
        predicted = _predict(name, args, root, progress)
        picture = _draw(name, args, root / "patches.png", progress)
        measured = _measure(name, args, progress)
    _show(console, before, after, measured, picture)
    console.print(f"a segmentation by the trained network, as `fastnnunet predict` makes it: {predicted}", highlight=False)
    console.print(loader_report, style="dim", highlight=False)
    console.print(f"done in {time.monotonic() - started:.0f} s")
    if after <= before:
        raise CommandError(f"[demo] expected validation Dice to rise above {before:.3f}, got {after:.3f}; see {log}")
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


@contextlib.contextmanager
def _step(progress: Progress, what: str, total: float | None = None) -> Iterator[Callable[[str], None]]:
    """Show a step while it runs; yields a function that marks one part as done and shows a word about it."""
    task = progress.add_task(what, total=total)
    yield lambda word: progress.update(task, advance=1, description=f"{what}: {word}")
    progress.update(task, total=1, completed=1)


def _prepare(root: Path, args: argparse.Namespace, progress: Progress) -> str:
    from ..demo import build_dataset, nnunet_environment, plan_and_preprocess

    environment = nnunet_environment(root)
    os.environ.update(environment)
    raw = root / "nnUNet_raw"
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        # What an earlier demo left here, perhaps with another size.
        shutil.rmtree(Path(environment[variable]) / f"Dataset{DATASET_ID}_{DATASET}", ignore_errors=True)
        Path(environment[variable]).mkdir(exist_ok=True)
    with _step(progress, f"{args.cases} brains of {args.resolution} mm"):
        folder = build_dataset(raw, DATASET_ID, DATASET, cases=args.cases, resolution=args.resolution, seed=args.seed)
    with _step(progress, "planning and preprocessing by nnU-Net"):
        plan_and_preprocess(DATASET_ID, (CONFIGURATION,), gpu_memory_target_in_gb=GPU_MEMORY_GB)
    return folder.name


def _train(name: str, args: argparse.Namespace, progress: Progress) -> tuple[float, float, str]:
    """Train fold 0 as `fastnnunet train` does; return the Dice before and after, and the loader's description of itself."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    from .. import available_cores, install, uninstall

    device = args.device or _default_device()
    if device == "cpu":
        torch.set_num_threads(available_cores())
    os.environ["FASTNNUNET_DEMO_EPOCHS"] = str(args.epochs)
    os.environ["FASTNNUNET_DEMO_ITERATIONS"] = str(args.iterations)
    os.environ["FASTNNUNET_DEMO_VAL_ITERATIONS"] = "4"
    torch.manual_seed(args.seed)
    install(threads=args.threads, seed=args.seed)
    try:
        trainer = get_trainer_from_args(name, CONFIGURATION, 0, TRAINER, "nnUNetPlans", False, torch.device(device))
        trainer.initialize()
        with _step(progress, "validation of the untrained network"):
            trainer.perform_actual_validation(False)
            before = _validation_dice(trainer)
        report = ""
        with _step(progress, f"training on {device}", total=args.epochs) as epoch_done:
            end_epoch, end_training = trainer.on_epoch_end, trainer.on_train_end

            def on_epoch_end() -> None:
                end_epoch()
                # nnU-Net's estimate, from the patches of its validation batches.
                dice = float(trainer.logger.get_value("mean_fg_dice", step=-1))
                epoch_done(f"epoch {trainer.current_epoch}, Dice of patches {dice:.2f}")

            def on_train_end() -> None:
                nonlocal report
                stats = trainer.dataloader_train.loader.stats()
                report = (
                    f"{stats.batches} training batches, the first after {stats.first_batch:.2f} s; the training waited "
                    f"{stats.waited:.1f} s for batches in all; {_counted(stats.threads, 'thread')}, no worker process"
                )
                end_training()

            trainer.on_epoch_end, trainer.on_train_end = on_epoch_end, on_train_end
            trainer.run_training()
        with _step(progress, "final validation"):
            trainer.perform_actual_validation(False)
            after = _validation_dice(trainer)
    finally:
        uninstall()
    return before, after, report


def _counted(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _validation_dice(trainer: Any) -> float:
    summary = json.loads((Path(trainer.output_folder) / "validation" / "summary.json").read_text(encoding="utf-8"))
    return float(summary["foreground_mean"]["Dice"])


def _predict(name: str, args: argparse.Namespace, root: Path, progress: Progress) -> Path:
    """Predict, from its raw image, one case that the network was not trained on."""
    from .command import main

    splits = json.loads((root / "nnUNet_preprocessed" / name / "splits_final.json").read_text(encoding="utf-8"))
    case, images, out = splits[0]["val"][0], root / "images", root / "predicted"
    with _step(progress, f"prediction of {case}"):
        for folder in (images, out):
            shutil.rmtree(folder, ignore_errors=True)
        images.mkdir()
        shutil.copy(root / "nnUNet_raw" / name / "imagesTr" / f"{case}_0000.nii.gz", images)
        command = ["predict", "-i", str(images), "-o", str(out), "-d", name, "-c", CONFIGURATION, "-f", "0", "-tr", TRAINER]
        device = args.device or _default_device()
        code = main([*command, "-device", device])
        if code == 130:
            raise KeyboardInterrupt
        if code != 0:
            raise CommandError(f"[demo] expected a prediction of {case}, got an error; see {root / 'nnunet.log'}")
    return out / f"{case}.nii.gz"


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _draw(name: str, args: argparse.Namespace, file: Path, progress: Progress) -> Path:
    from ..loading.loader import DataLoader
    from ..nnunet.sources import open_source
    from ..preview.pictures import draw_rows
    from ..preview.views import Viewer

    with _step(progress, "picture of augmented patches"):
        source = open_source(name, CONFIGURATION, 0, TRAINER)
        with DataLoader.from_nnunet(source.train, threads=args.threads, seed=args.seed) as loader:
            viewer = Viewer(source, loader)
            rows = [viewer.draws(step, slot, 4) for step, slot in viewer.samples(0, 4)]
        return draw_rows(rows, source.label_names, file, f"{name}   {CONFIGURATION}   training", viewer.legend)


def _measure(name: str, args: argparse.Namespace, progress: Progress) -> list[Measurement]:
    from ..bench.measure import LOADERS, measure
    from ..loading.loader import default_threads

    workers = args.threads or default_threads()
    with _step(progress, "both loaders on this data", total=len(LOADERS)) as loader_done:
        measured = []
        for loader in LOADERS:
            measured.append(
                measure(loader, name, CONFIGURATION, workers=workers, seconds=args.seconds, trainer=TRAINER, seed=args.seed)
            )
            loader_done(loader)
    return measured


def _show(console: Console, before: float, after: float, measured: list[Measurement], picture: Path) -> None:
    console.print(f"\nvalidation Dice: {before:.3f} before the training, {after:.3f} after it\n")
    console.print(comparison(measured))
    console.print(f"\naugmented patches with their labels: {picture}", highlight=False)
