"""`fastnnunet preview`: a picture of augmented patches with the outlines of their labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import CommandError
from .folders import check_plans, dataset_folder, nnunet_folders

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what chooses the patches."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="name or number of the data set")
    add("configuration", metavar="CONFIG", help="configuration of the plans, such as 3d_fullres")
    add("fold", metavar="FOLD", help="fold of the cross-validation, or 'all'")
    add("-o", metavar="FILE", type=Path, required=True, help="the picture, a PNG")
    add("-tr", metavar="TRAINER", default="nnUNetTrainer", help="trainer class (default: %(default)s)")
    add("-p", metavar="PLANS", default="nnUNetPlans", help="name of the plans (default: %(default)s)")
    add("--patches", metavar="N", type=int, default=4, help="how many (default: %(default)s)")
    add("--seed", metavar="N", type=int, default=0, help="of the patches; another shows others (default: %(default)s)")
    add("--val", action="store_true", help="patches of the validation, which is not augmented")


def run(args: argparse.Namespace) -> int:
    """Draw the first patches that a training with this seed would see."""
    if args.patches < 1:
        raise CommandError(f"[--patches] expected at least 1, got {args.patches}")
    if args.fold != "all" and not args.fold.isdecimal():
        raise CommandError(f"[FOLD] expected a number or 'all', got {args.fold!r}")
    if args.o.is_dir():
        raise CommandError(f"[-o] expected a file, got the folder {args.o}")

    folder = dataset_folder(args.dataset, nnunet_folders(("nnUNet_preprocessed",))["nnUNet_preprocessed"])
    check_plans(folder, args.p, args.configuration)

    from ..loader import DataLoader
    from ..pictures import Patch, draw_patches, patches_of
    from ..sources import open_source

    fold = args.fold if args.fold == "all" else int(args.fold)
    source = open_source(folder.name, args.configuration, fold, args.tr, args.p)
    names = source.label_names
    role = "val" if args.val else "train"
    patches: list[Patch] = []
    with DataLoader.from_nnunet(source.val if args.val else source.train, seed=args.seed, role=role) as loader:
        while len(patches) < args.patches:
            patches += patches_of(next(loader), list(names))
    title = f"{folder.name}   {args.configuration}   fold {args.fold}   {'validation' if args.val else 'training'}"
    print(draw_patches(patches[: args.patches], names, args.o, title))
    return 0
