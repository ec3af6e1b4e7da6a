"""`fastnnunet train`: nnUNetv2_train with batches from this package."""

from __future__ import annotations

import argparse
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoints import naming_checkpoints
from ..errors import CommandError
from ..folders import check_dataset, dataset_folder, inherited, nnunet_folders, read_json
from ..loading.storage.preprocessed import mirror_preprocessed
from ..nnunet.distributed.launch import launched
from .arguments import count, fold
from .loader_options import add_loader_options, check_loader_options, install_arguments

if TYPE_CHECKING:
    import torch

__all__ = ["add_arguments", "check_trainer_exists", "run", "use_device"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nnUNetv2_train's own arguments, with its names and defaults, and those of the loader."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="name or number of the data set")
    add("configuration", metavar="CONFIG", help="configuration of the plans, such as 3d_fullres")
    add("fold", metavar="FOLD", type=fold, help="fold of the cross-validation, or 'all'")

    nnunet = parser.add_argument_group("options of nnUNetv2_train")
    add = nnunet.add_argument
    add("-tr", metavar="TRAINER", default="nnUNetTrainer", help="trainer class (default: %(default)s)")
    add("-p", metavar="PLANS", default="nnUNetPlans", help="name of the plans (default: %(default)s)")
    add("-pretrained_weights", metavar="FILE", type=Path, help="checkpoint with the initial weights")
    add("-num_gpus", metavar="N", type=count, default=1, help="number of GPUs (default: %(default)s)")
    add("--npz", action="store_true", help="save the probabilities of the final validation, for ensembling")
    add("--c", action="store_true", help="continue from the last checkpoint, with the batches that would have followed")
    add("--val", action="store_true", help="only run the validation of a finished training")
    add("--val_best", action="store_true", help="validate with checkpoint_best instead of checkpoint_final")
    add("--disable_checkpointing", action="store_true", help="save no checkpoint")
    add("-device", choices=("cuda", "cpu", "mps"), default="cuda", help="device to train on (default: %(default)s)")

    add_loader_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check the arguments before torch and nnU-Net are imported, then train."""
    _check_options(args)
    args.dataset = mirror_preprocessed(args.dataset, args.cache_dir)
    folders = nnunet_folders(("nnUNet_preprocessed", "nnUNet_results"))
    dataset = dataset_folder(args.dataset, folders["nnUNet_preprocessed"])
    check_dataset(dataset, args.p, args.configuration, args.fold, args.tr)
    # Otherwise joblib, which scikit-learn imports, makes a semaphore in shared memory.
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")

    import torch

    launch = launched()
    use_device(args.device, args.num_gpus, 1 if launch is None else launch.ranks_here)
    results = folders["nnUNet_results"] / dataset.name
    if launch is None:
        _train(args, dataset.name, results, torch.device(args.device), args.seed)
        return 0

    from ..nnunet.checkpoint import agents_of
    from ..nnunet.distributed.group import joined

    with joined(launch, args.device, agents_of) as group:
        _train(args, dataset.name, results, group.device, group.seed if args.seed is None else args.seed)
    return 0


def _train(args: argparse.Namespace, dataset: str, results: Path, device: torch.device, seed: int | None) -> None:
    """Train on a device with nnU-Net's own function."""
    from .. import install

    install(**{**install_arguments(args), "seed": seed})
    _check_trainer(args, results)

    from nnunetv2.run.run_training import run_training

    with naming_checkpoints():
        run_training(
            dataset,
            args.configuration,
            args.fold,
            args.tr,
            args.p,
            None if args.pretrained_weights is None else str(args.pretrained_weights),
            args.num_gpus,
            args.npz,
            args.c,
            args.val,
            args.disable_checkpointing,
            args.val_best,
            device=device,
        )


def use_device(device: str, gpus: int = 1, ranks_here: int = 1) -> None:
    """Give torch as many threads as it needs beside the device. Raises CommandError if there are not so many GPUs.

    ranks_here: how many ranks of torchrun share the cores of this machine.
    """
    import torch

    from .. import available_cores

    if device == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found < gpus:
            raise CommandError(f"[-device] expected {gpus} CUDA device(s), got {found}; -device cpu trains without")
        torch.set_num_threads(1)  # as nnUNetv2_train does: the GPU does the work
        if torch.get_num_interop_threads() != 1:  # torch accepts this only once per process
            torch.set_num_interop_threads(1)
    elif device == "cpu":
        torch.set_num_threads(max(1, available_cores() // ranks_here))


def _check_options(args: argparse.Namespace) -> None:
    if args.c and args.val:
        raise CommandError("[--c, --val] expected one of them, got both")
    if args.val_best and args.disable_checkpointing:
        raise CommandError("[--val_best] expected a checkpoint to be saved, got --disable_checkpointing")
    if args.num_gpus > 1 and args.device != "cuda":
        raise CommandError(f"[-num_gpus] expected -device cuda with several, got -device {args.device}")
    if launched() is not None:
        if args.num_gpus > 1:
            raise CommandError(f"[-num_gpus] expected 1 under torchrun, which starts the ranks, got {args.num_gpus}")
        if args.device == "mps":
            raise CommandError("[-device] expected cuda or cpu under torchrun, got mps")
    check_loader_options(args)
    if args.pretrained_weights is not None:
        if args.c:
            raise CommandError("[-pretrained_weights] expected a new training, got --c")
        if not args.pretrained_weights.is_file():
            raise CommandError(f"[-pretrained_weights] expected a file, got {args.pretrained_weights}")


def _trainer_exists(name: str) -> bool:
    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    except ImportError:  # nnU-Net 2.6, which looks in its own folders only
        import nnunetv2
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

        own = str(Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer")
        return recursive_find_python_class(own, name, "nnunetv2.training.nnUNetTrainer") is not None
    try:
        recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        # It raises one where it finds no such class, and imports its modules to look.
        if traceback.extract_tb(error.__traceback__)[-1].filename != recursive_find_trainer_class_by_name.__code__.co_filename:
            raise CommandError("[-tr] expected trainers that can be imported, got an error of a module") from error
        return False
    return True


def check_trainer_exists(name: str) -> None:
    """Raise CommandError if nnU-Net finds no trainer of this name."""
    if not _trainer_exists(name):
        searched = os.environ.get("nnUNet_extTrainer") or "not set"
        raise CommandError(f"[-tr] expected a trainer of nnU-Net, or of nnUNet_extTrainer ({searched}), got {name!r}")


def _check_trainer(args: argparse.Namespace, results: Path) -> None:
    """Check that the trainer exists, and that --val and a cascade find what they need of an earlier training."""
    check_trainer_exists(args.tr)
    trained = f"{args.tr}__{args.p}__"
    output = results / f"{trained}{args.configuration}" / f"fold_{args.fold}"
    if args.val and not (output / "checkpoint_final.pth").is_file():
        raise CommandError(f"[--val] expected a finished training in {output}, got no checkpoint_final.pth")
    preprocessed = Path(os.environ["nnUNet_preprocessed"]) / results.name
    configurations = read_json(preprocessed / f"{args.p}.json")["configurations"]
    previous = inherited(configurations, args.configuration, "previous_stage")
    if previous:
        folder = results / f"{trained}{previous}" / "predicted_next_stage" / args.configuration
        if not folder.is_dir():
            raise CommandError(
                f"[CONFIG] expected predictions of {previous} in {folder}, got none\n"
                f"  {args.configuration} comes after it: train all folds of {previous} first"
            )
