"""`fastnnunet pack`: images of any kind into a folder that `from_folder` reads."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from ...errors import CommandError
from ..loader_options import add_setting

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fl.pack`."""
    add = parser.add_argument
    add(
        "images",
        metavar="IMAGES",
        type=Path,
        help="a folder of images and of folders with a DICOM series each, one of these, or a JSON file with a list of cases",
    )
    add("-o", "--output", metavar="FOLDER", type=Path, required=True, help="the folder to write")
    add("--labels", metavar="FOLDER", type=Path, help="labels, a file for each case, of its name")
    add("--targets", metavar="FOLDER", type=Path, help="regression targets, a file for each case, of its name")
    add("--overwrite", action="store_true", help="replace files of other programs, and what other settings packed")
    _add_input(parser.add_argument_group("what is read"))
    _add_steps(parser.add_argument_group("what is done to it"))
    resources = parser.add_argument_group("resources")
    add_setting(
        resources, "memory_budget", "memory limit of all cases in progress, such as 8GB (default: half the free memory)"
    )
    add_setting(resources, "threads", "number of threads, for all cases in progress together (default: the cores)")
    add_setting(resources, "patience", "seconds for which a read is retried if a disk or file server does not answer")
    resources.add_argument("--no-progress", action="store_true", help="show no progress")


def _add_input(group: Any) -> None:
    add = group.add_argument
    add("--section", metavar="NAME", default="training", help="the list in the JSON file (default: %(default)s)")
    add(
        "--label-suffix",
        metavar="TEXT",
        default="",
        help="what follows the case in names of labels, such as _seg (default: nothing)",
    )
    add("--target-suffix", metavar="TEXT", default="", help="what follows the case in names of targets (default: nothing)")
    add(
        "--channel-endings",
        action=argparse.BooleanOptionalAction,
        help="whether images end in the number of their channel, as CASE_0000.nii.gz (default: if some end in _0000, and "
        "labels do not)",
    )
    add(
        "--image-spacing",
        metavar="MM",
        type=float,
        nargs="+",
        help="spacing of pictures and NumPy's files, which do not tell theirs",
    )
    add("--series", metavar="UID", help="the DICOM series by its UID or description, for folders with several")
    add(
        "--ignore-headers",
        action="store_true",
        help="accept labels and channels whose headers put them elsewhere, if the size is that of the image",
    )


def _add_steps(group: Any) -> None:
    add = group.add_argument
    add("--plans", metavar="FILE", type=Path, help="nnU-Net's plans.json, which then says all that follows")
    add("--configuration", metavar="NAME", help="of the plans, such as 3d_fullres")
    add("--dataset-json", metavar="FILE", type=Path, help="nnU-Net's, for its classes (default: the one beside the plans)")
    add(
        "--spacing",
        metavar="MM",
        type=float,
        nargs="+",
        help="spacing along the first, second and third axis of the files; two keep slices as they are (default: theirs)",
    )
    add("--orientation", metavar="RAS", help="where the axes of the files are to point to (default: as they do)")
    add("--crop", choices=["nonzero"], help="keep the box of what is not zero (default: everything)")
    add(
        "--normalize",
        metavar="HOW",
        nargs="+",
        default=["none"],
        help="for all channels, or for each: none, zscore, zscore-nonzero, ct, rescale, rgb or percentiles:LOW:HIGH "
        "(default: none)",
    )
    add(
        "--intensities",
        metavar="FILE",
        type=Path,
        help="for ct: plans, a fingerprint, or the pack.json of another folder (default: found in a first pass over all cases)",
    )
    add(
        "--patch-size",
        metavar="N",
        type=int,
        nargs="+",
        help="of trainings, for which files are stored; the file's last axis first (default: 128 128 128)",
    )


NAMES = {"images": "IMAGES", "output": "-o"}


def run(args: argparse.Namespace) -> int:
    """Pack."""
    from ... import pack

    given = {name: getattr(args, name) for name in inspect.signature(pack).parameters if name in vars(args)}
    normalize = given.pop("normalize")
    try:
        packed = pack(
            given.pop("images"),
            given.pop("output"),
            normalize=normalize[0] if len(normalize) == 1 else normalize,
            progress=not args.no_progress,
            say=lambda text: print(text.removeprefix("warning: "), file=sys.stderr, flush=True),
            **given,
        )
    except ModuleNotFoundError as error:
        raise CommandError(str(error)) from None
    except ValueError as error:
        raise CommandError(re.sub(r"^\[(\w+)\]", lambda match: f"[{_option(match[1], args)}]", str(error))) from None
    print(f"{len(packed)} cases in {args.output}")
    return 0


def _option(name: str, args: argparse.Namespace) -> str:
    """The name that a user of the command knows for an argument of the function."""
    return NAMES.get(name, f"--{name.replace('_', '-')}" if name in vars(args) else name)
