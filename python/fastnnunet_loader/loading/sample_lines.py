"""A line of code, and a command, that make exactly one sample of a training again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any

from ..sample_id import SampleId
from .reading.source import Share

__all__ = ["Origin", "command", "line"]


@dataclass(frozen=True)
class Origin:
    """Which training a loader belongs to."""

    dataset: str
    configuration: str
    fold: int | str
    trainer: str
    plans: str
    check_finite: bool = False
    ranks: int = 1
    """How many share each batch."""


def line(origin: Origin | None, sample: SampleId, share: Share | None = None, first_slot: int = 0) -> str:
    """Python that makes the sample again; without an origin it takes the loader that the error came from.

    share, first_slot: of a rank that shares batches with others, and its first slot in them.
    """
    if origin is None:
        more = f", attempt={sample.attempt}" if sample.attempt else ""
        ranks = f"rank={share.rank}, ranks={share.ranks}" if share is not None and share.ranks > 1 else f"rank={sample.rank}"
        loader = f"seed={sample.seed}, {ranks}, role={sample.role}"
        return f"loader.sample(step={sample.step}, slot={sample.slot - first_slot}{more})  # of a loader with {loader}"
    given = {"trainer": (origin.trainer, "nnUNetTrainer"), "plans": (origin.plans, "nnUNetPlans")}
    named: dict[str, Any] = {name: value for name, (value, default) in given.items() if value != default}
    if origin.check_finite:
        named["check_finite"] = True
    named |= _made_by(sample, share).named(origin.ranks)
    arguments = [repr(origin.dataset), repr(origin.configuration), repr(origin.fold)]
    arguments += [f"{name}={value!r}" for name, value in named.items()]
    return f"import fastnnunet_loader as fl; fl.reproduce({', '.join(arguments)})"


def _made_by(sample: SampleId, share: Share | None) -> SampleId:
    """The sample with the rank that made it: its cases may be that rank's own, also where its random numbers are not."""
    return sample if share is None else replace(sample, rank=share.rank)


def command(origin: Origin, sample: SampleId, share: Share | None = None) -> str:
    """The command that draws the sample."""
    options = [] if origin.trainer == "nnUNetTrainer" else ["-tr", origin.trainer]
    options += [] if origin.plans == "nnUNetPlans" else ["-p", origin.plans]
    what = [str(part) for part in (origin.dataset, origin.configuration, origin.fold)]
    of = ["--reproduce", _made_by(sample, share).as_text(origin.ranks)]
    return shlex.join(["fastnnunet", "preview", *what, *options, "-o", "sample.png", *of])
