"""`fastnnunet preview`: a picture of what the network will see, and of what each transform does."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CommandError
from ..folders import check_dataset, dataset_folder, is_ours, nnunet_folders
from ..sample_id import SampleId, role_name
from .arguments import count, fold, seed

__all__ = ["add_arguments", "run"]

_LAST_STEP = 2**48 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the samples, and what is shown of them."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="name or number of the data set")
    add("configuration", metavar="CONFIG", help="configuration of the plans, such as 3d_fullres")
    add("fold", metavar="FOLD", type=fold, help="fold of the cross-validation, or 'all'")
    add("-o", metavar="FILE", type=Path, required=True, help="PNG file to write")
    add("-tr", metavar="TRAINER", default="nnUNetTrainer", help="trainer class (default: %(default)s)")
    add("-p", metavar="PLANS", default="nnUNetPlans", help="name of the plans (default: %(default)s)")
    columns = parser.add_mutually_exclusive_group()
    columns.add_argument(
        "--stages", action="store_true", help="show the patch as cut, then after each transform that changed it (the default)"
    )
    columns.add_argument("--draws", metavar="N", type=count, help="show N draws of the whole pipeline for the same patch")
    add("--targets", action="store_true", help="also show the deep-supervision targets")
    add("--rows", metavar="N", type=count, default=3, help="number of samples (default: %(default)s)")
    add("--seed", metavar="N", type=seed, default=0, help="seed of the training (default: %(default)s)")
    add(
        "--step",
        metavar="N",
        type=_step,
        default=1,
        help="batch to start with (default: %(default)s, the first that a training sees, because nnU-Net drops batch 0)",
    )
    add("--val", action="store_true", help="show samples of the validation, which is not augmented")
    add(
        "--reproduce",
        metavar="SAMPLE",
        type=_sample,
        help="draw this one sample, as errors and skipped cases name it: seed=N,step=N,slot=N[,role=val][,rank=N][,ranks=N]"
        "[,attempt=N]",
    )


def _step(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_STEP:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 2**48 - 1, got {text!r}")
    return int(text)


def _sample(text: str) -> tuple[SampleId, int]:
    try:
        return SampleId.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Draw samples that a training with this seed would see."""
    if args.o.is_dir():
        raise CommandError(f"[-o] expected a file, got the folder {args.o}")
    if args.o.exists() and not is_ours(args.o):
        raise CommandError(f"[-o] expected a new file, or the picture of an earlier preview, got {args.o} with other content")

    folder = dataset_folder(args.dataset, nnunet_folders(("nnUNet_preprocessed",))["nnUNet_preprocessed"])
    check_dataset(folder, args.p, args.configuration, args.fold, args.tr)

    from ..loading.loader import DataLoader
    from ..nnunet.distributed.shares import first_slot, shared
    from ..nnunet.sources import open_source
    from ..preview.pictures import draw_rows
    from ..preview.views import Viewer

    number = args.fold if args.fold == "all" else int(args.fold)
    sample, ranks = args.reproduce or (SampleId(seed=args.seed, role=int(args.val)), 1)
    source = open_source(folder.name, args.configuration, number, args.tr, args.p, rank=sample.rank, ranks=ranks)
    validation = role_name(sample.role) == "val"
    cases = source.val if validation else source.train
    if ranks > 1:
        cases = shared(cases, source.trainer, sample.rank, ranks)
    first = first_slot(cases)
    with DataLoader.from_nnunet(cases, threads=1, seed=sample.seed, rank=sample.rank, role=sample.role) as loader:
        viewer = Viewer(source, loader, targets=args.targets)
        end = first + loader.batch_size
        if args.reproduce and not first <= sample.slot < end:
            expected = f"from {first} to {end - 1} of rank {sample.rank}" if ranks > 1 else f"below {end}"
            raise CommandError(f"[--reproduce] expected a slot {expected}, got {sample.slot}")
        if args.reproduce:
            rows = [viewer.stages(sample.step, sample.slot - first, sample.attempt)]
        else:
            rows = [
                viewer.draws(step, slot, args.draws) if args.draws else viewer.stages(step, slot)
                for step, slot in viewer.samples(args.step, args.rows)
            ]
    kind = "validation" if validation else "training"
    title = f"{folder.name}   {args.configuration}   fold {args.fold}   {kind}   seed {sample.seed}"
    try:
        file = draw_rows(rows, source.label_names, args.o, title, viewer.legend)
    except ValueError as error:
        raise CommandError(f"{error}; --rows and --draws make it lower") from error
    print(file)
    return 0
