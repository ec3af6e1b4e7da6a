"""A line of code, and a command, that make exactly one sample of a training again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

__all__ = ["Origin", "command", "line"]

_ROLES = ("train", "val")


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


def _identity(seed: int, rank: int, role: int, step: int, slot: int, attempt: int, ranks: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = {"seed": seed, "step": step, "slot": slot}
    if role != 0:
        found["role"] = _ROLES[role] if role < len(_ROLES) else role
    if rank != 0:
        found["rank"] = rank
    if ranks != 1:
        found["ranks"] = ranks
    if attempt != 0:
        found["attempt"] = attempt
    return found


def line(origin: Origin | None, *, seed: int, rank: int, role: int, step: int, slot: int, attempt: int) -> str:
    """Python that makes the sample again; without an origin it takes the loader that the error came from."""
    if origin is None:
        more = f", attempt={attempt}" if attempt else ""
        return f"loader.sample(step={step}, slot={slot}{more})  # of a loader with seed={seed}, rank={rank}, role={role}"
    given = {"trainer": (origin.trainer, "nnUNetTrainer"), "plans": (origin.plans, "nnUNetPlans")}
    named: dict[str, Any] = {name: value for name, (value, default) in given.items() if value != default}
    if origin.check_finite:
        named["check_finite"] = True
    named |= _identity(seed, rank, role, step, slot, attempt, origin.ranks)
    arguments = [repr(origin.dataset), repr(origin.configuration), repr(origin.fold)]
    arguments += [f"{name}={value!r}" for name, value in named.items()]
    return f"import fastnnunet_loader as fl; fl.reproduce({', '.join(arguments)})"


def command(origin: Origin, *, seed: int, rank: int, role: int, step: int, slot: int, attempt: int) -> str:
    """The command that draws the sample."""
    named = _identity(seed, rank, role, step, slot, attempt, origin.ranks)
    options = [] if origin.trainer == "nnUNetTrainer" else ["-tr", origin.trainer]
    options += [] if origin.plans == "nnUNetPlans" else ["-p", origin.plans]
    sample = ",".join(f"{name}={value}" for name, value in named.items())
    what = [str(part) for part in (origin.dataset, origin.configuration, origin.fold)]
    return shlex.join(["fastnnunet", "preview", *what, *options, "-o", "sample.png", "--reproduce", sample])
