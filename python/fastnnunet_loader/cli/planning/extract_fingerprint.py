"""`fastnnunet extract_fingerprint`: nnUNetv2_extract_fingerprint, on threads and within a memory budget."""

from __future__ import annotations

import argparse

from .options import accepted, add_datasets, add_extraction, add_messages, add_resources, installed

__all__ = ["add_arguments", "extract", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of nnU-Net's command, and those of this package."""
    nnunet = parser.add_argument_group("options of nnUNetv2_extract_fingerprint")
    add_datasets(nnunet)
    add_extraction(nnunet, "-np")
    add_messages(nnunet)
    add_resources(parser)


def extract(args: argparse.Namespace, most_cases: int | None) -> None:
    """Call nnU-Net's function. most_cases: None for nnU-Net's default."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints

    bar = accepted(extract_fingerprints, show_progress_bar=not args.no_pbar)
    most_cases = default_num_processes if most_cases is None else most_cases
    extract_fingerprints(args.d, args.fpe, most_cases, args.verify_dataset_integrity, args.clean, args.verbose, **bar)


def run(args: argparse.Namespace) -> int:
    """Extract the fingerprints."""
    with installed(args):
        extract(args, args.np)
    return 0
