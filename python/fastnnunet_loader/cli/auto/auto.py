"""`fastnnunet auto`: check, plan, preprocess, train, choose, postprocess and predict, one after the other in one process."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ...errors import CommandError
from ...folders import dataset_name, nnunet_folders
from ...settings import Settings
from ..arguments import fold
from ..loader_options import add_loader_options, check_loader_options, install_arguments
from .options import Fold, Options

__all__ = ["add_arguments", "run"]

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def _fold(text: str) -> Fold:
    found = fold(text)
    return found if found == "all" else int(found)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be made, with the names that nnU-Net's commands have for it, and the options of the loader."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="name or number of the data set")
    add(
        "-c",
        "--configurations",
        metavar="CONFIG",
        nargs="+",
        help="configurations to train and compare (default: 2d, 3d_fullres, 3d_lowres and 3d_cascade_fullres, as far as the "
        "plans have them)",
    )
    add("-f", "--folds", metavar="FOLD", nargs="+", type=_fold, default=[0, 1, 2, 3, 4], help="folds (default: 0 1 2 3 4)")
    add("-i", "--images", metavar="FOLDER", type=Path, help="images to predict with the best model: CASE_0000 and so on")
    add("-o", "--output", metavar="FOLDER", type=Path, help="folder for their segmentations")
    add("-tr", "--trainer", metavar="TRAINER", default="nnUNetTrainer", help="trainer class (default: %(default)s)")
    add("-p", "--plans", metavar="PLANS", help="name of the plans, which are made if there are none (default: the planner's)")
    add("-pl", "--planner", metavar="CLASS", default="ExperimentPlanner", help="planner class (default: %(default)s)")
    add(
        "-gpu_memory_target",
        metavar="GB",
        type=float,
        help="gigabytes of GPU memory of the plans (default: the planner's)",
    )
    add(
        "-device",
        "--device",
        choices=("cuda", "cpu", "mps"),
        default="cuda",
        help="device to train and predict on (default: %(default)s)",
    )
    add("--disable_ensembling", action="store_true", help="compare single configurations only")
    add("--npz", action="store_true", help="save probabilities of the final validations (default: where ensembles need them)")
    add_loader_options(parser)
    parser.epilog = "The same command goes on with a run that was interrupted, and does again only what is missing."


def run(args: argparse.Namespace) -> int:
    """Check the arguments before torch and nnU-Net are imported, then do what is missing."""
    options = _options(args)
    # Otherwise joblib, which scikit-learn imports, makes a semaphore in shared memory.
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")
    from ..train import check_trainer_exists, use_device
    from .course import Course
    from .steps import Steps

    use_device(args.device)
    course = Course(options, Steps(sys.stdout))
    check_trainer_exists(args.trainer)
    course.run()
    return 0


def _options(args: argparse.Namespace) -> Options:
    check_loader_options(args)
    if (args.images is None) != (args.output is None):
        raise CommandError("[-i, -o] expected both, to predict, or neither, got one of them")
    if args.images is not None and not args.images.is_dir():
        raise CommandError(f"[-i] expected a folder, got {args.images}")
    if "all" in args.folds and len(args.folds) > 1:
        raise CommandError("[-f] expected numbers or 'all', got both")
    for name in FOLDERS[1:]:
        if given := os.environ.get(name):
            Path(given).mkdir(parents=True, exist_ok=True)  # as nnU-Net does
    folders = nnunet_folders(FOLDERS)
    name = dataset_name(args.dataset)
    raw, preprocessed = folders["nnUNet_raw"] / name, folders["nnUNet_preprocessed"] / name
    if not (raw / "dataset.json").is_file() and not (preprocessed / "dataset.json").is_file():
        raise CommandError(f"[DATASET] expected a raw data set, got no dataset.json in {raw}")
    return Options(
        dataset=name,
        raw=raw,
        preprocessed=preprocessed,
        results=folders["nnUNet_results"] / name,
        device=args.device,
        trainer=args.trainer,
        planner=args.planner,
        gpu_memory_target=args.gpu_memory_target,
        plans=args.plans,
        configurations=None if args.configurations is None else tuple(args.configurations),
        folds=tuple(dict.fromkeys(args.folds)),
        ensembling=not args.disable_ensembling,
        npz=args.npz,
        images=args.images,
        output=args.output,
        settings=Settings(**install_arguments(args)),
    )
