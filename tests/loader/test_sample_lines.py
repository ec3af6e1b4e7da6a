"""The line of code and the command that a message about a sample contains: both name that sample, and its training."""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import shlex
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.cli import preview
from fastnnunet_loader.loading.sample_lines import Origin, command, line
from fastnnunet_loader.sample_id import SampleId

SAMPLES = [SampleId(3, 4, 1, role, rank, attempt) for role, rank, attempt in itertools.product((0, 1, 2), (0, 1), (0, 2))]
ORIGINS = [
    Origin("Dataset001_brains", "3d_fullres", fold, trainer, plans, check_finite, ranks)
    for fold, trainer, plans, check_finite, ranks in itertools.product(
        (0, "all"), ("nnUNetTrainer", "nnUNetTrainerDA5"), ("nnUNetPlans", "my plans"), (False, True), (1, 2)
    )
]


def arguments_of(code: str) -> dict[str, Any]:
    """What `fl.reproduce` is called with, defaults included."""
    call = ast.parse(code).body[-1].value  # type: ignore[attr-defined]
    assert ast.unparse(call.func) == "fl.reproduce"
    given = inspect.signature(fl.reproduce).bind(
        *(ast.literal_eval(one) for one in call.args), **{one.arg: ast.literal_eval(one.value) for one in call.keywords}
    )
    given.apply_defaults()
    return given.arguments


@pytest.mark.parametrize("origin", ORIGINS, ids=str)
def test_line_and_command_name_the_sample_and_its_training(origin: Origin) -> None:
    parser = argparse.ArgumentParser()
    preview.add_arguments(parser)
    for sample in SAMPLES:
        if sample.rank >= origin.ranks:
            continue
        role = ("train", "val", 2)[sample.role]
        assert arguments_of(line(origin, sample)) == {
            "dataset": origin.dataset,
            "configuration": origin.configuration,
            "fold": origin.fold,
            "trainer": origin.trainer,
            "plans": origin.plans,
            "check_finite": origin.check_finite,
            "ranks": origin.ranks,
            **{name: sample[name] for name in ("seed", "step", "slot", "rank", "attempt")},
            "role": role,
        }
        program, name, *words = shlex.split(command(origin, sample))
        assert (program, name) == ("fastnnunet", "preview")
        args = parser.parse_args(words)
        assert args.reproduce == (sample, origin.ranks)
        assert (args.dataset, args.configuration, args.fold) == (origin.dataset, origin.configuration, str(origin.fold))
        assert (args.tr, args.p) == (origin.trainer, origin.plans)


def test_without_a_training_the_loader_is_named() -> None:
    for sample in SAMPLES:
        code = line(None, sample)
        call = ast.parse(code).body[0].value  # type: ignore[attr-defined]
        given = {"attempt": 0} | {one.arg: ast.literal_eval(one.value) for one in call.keywords}
        assert given == {name: sample[name] for name in ("step", "slot", "attempt")}
        assert code.endswith(f"seed={sample.seed}, rank={sample.rank}, role={sample.role}")
