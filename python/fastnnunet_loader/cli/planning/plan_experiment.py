"""`fastnnunet plan_experiment`: nnUNetv2_plan_experiment."""

from __future__ import annotations

import argparse

from .options import add_datasets, add_planning, add_resources, installed

__all__ = ["add_arguments", "plan", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of nnU-Net's command, and those of this package."""
    nnunet = parser.add_argument_group("options of nnUNetv2_plan_experiment")
    add_datasets(nnunet)
    add_planning(nnunet)
    add_resources(parser)


def plan(args: argparse.Namespace) -> str:
    """Call nnU-Net's function; return the name of the plans."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments

    return str(
        plan_experiments(
            args.d,
            args.pl,
            args.gpu_memory_target,
            args.preprocessor_name,
            args.overwrite_target_spacing,
            args.overwrite_plans_name,
        )
    )


def run(args: argparse.Namespace) -> int:
    """Plan."""
    with installed(args):
        plan(args)
    return 0
