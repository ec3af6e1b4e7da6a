"""`fastnnunet plan_and_preprocess`: nnUNetv2_plan_and_preprocess, on threads and within a memory budget."""

from __future__ import annotations

import argparse

from .extract_fingerprint import extract
from .options import (
    add_datasets,
    add_extraction,
    add_messages,
    add_planning,
    add_preprocessing,
    add_resources,
    installed,
    numbers_of_cases,
)
from .plan_experiment import plan
from .preprocess import preprocess_all

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of nnU-Net's command, and those of this package."""
    nnunet = parser.add_argument_group("options of nnUNetv2_plan_and_preprocess")
    add_datasets(nnunet)
    add_extraction(nnunet, "-npfp")
    nnunet.add_argument("--no_pp", action="store_true", help="do not preprocess")
    add_planning(nnunet)
    add_preprocessing(nnunet)
    add_messages(nnunet)
    add_resources(parser)


def run(args: argparse.Namespace) -> int:
    """Extract fingerprints, plan and preprocess."""
    numbers_of_cases(args)  # before anything is imported
    from ...preprocessing.reading import keeping

    with installed(args), keeping():
        print("Fingerprint extraction...")
        extract(args, 8 if args.npfp is None else args.npfp)
        print("Experiment planning...")
        plans = plan(args)
        if not args.no_pp:
            print("Preprocessing...")
            preprocess_all(args, plans)
    return 0
