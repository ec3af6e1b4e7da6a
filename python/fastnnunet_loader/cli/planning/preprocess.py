"""`fastnnunet preprocess`: nnUNetv2_preprocess, on threads and within a memory budget."""

from __future__ import annotations

import argparse

from ...errors import PreprocessingError
from .options import (
    accepted,
    add_datasets,
    add_messages,
    add_preprocessing,
    add_resources,
    installed,
    numbers_of_cases,
)

__all__ = ["add_arguments", "preprocess_all", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of nnU-Net's command, and those of this package."""
    nnunet = parser.add_argument_group("options of nnUNetv2_preprocess")
    add_datasets(nnunet)
    nnunet.add_argument("-plans_name", metavar="PLANS", default="nnUNetPlans", help="name of the plans (default: %(default)s)")
    add_preprocessing(nnunet)
    add_messages(nnunet)
    add_resources(parser)


def preprocess_all(args: argparse.Namespace, plans: str) -> None:
    """Call nnU-Net's function for each data set and configuration. Bad cases of one do not stop the others.

    Raises:
        PreprocessingError: all bad cases.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess

    from ...preprocessing.session import raise_all

    bar = accepted(preprocess, show_progress_bar=not args.no_pbar)
    numbers = numbers_of_cases(args)
    if len(numbers) == 1:
        numbers *= len(args.c)
    bad: list[PreprocessingError] = []
    for dataset in args.d:
        for configuration, number in zip(args.c, numbers, strict=True):
            try:
                preprocess([dataset], plans, [configuration], [number], args.verbose, **bar)
            except PreprocessingError as error:
                bad += (error, *error.others)
    raise_all(bad)


def run(args: argparse.Namespace) -> int:
    """Preprocess."""
    numbers_of_cases(args)  # before anything is imported
    with installed(args):
        preprocess_all(args, args.plans_name)
    return 0
