"""A line of code that makes exactly one sample of a training again, and what that line calls."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

__all__ = ["Origin", "command", "line", "reproduce"]

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


def reproduce(
    dataset: str,
    configuration: str,
    fold: int | str,
    *,
    seed: int,
    step: int,
    slot: int,
    role: str | int = "train",
    rank: int = 0,
    ranks: int = 1,
    attempt: int = 0,
    trainer: str = "nnUNetTrainer",
    plans: str = "nnUNetPlans",
    check_finite: bool = False,
) -> dict[str, Any]:
    """Makes one sample of a training again, through the same code: errors and skipped cases print the call.

    Args:
        dataset, configuration, fold, trainer, plans: as nnUNetv2_train takes them.
        seed: of the training; its log has it.
        step, slot: the batch, and the place in it.
        role: "train", "val", or the number of a further loader.
        rank: of torch.distributed.
        ranks: how many there were, each with its share of the batch.
        attempt: 0, or how many draws of this sample were given up before, for skipped cases.
        check_finite: as the training had it.

    Returns:
        'data' (C, X, Y, Z) float32, 'target' (R, X, Y, Z) int16 or bool or a list of them, and 'key', the case. 2D samples have
        no X.

    Raises:
        SampleError: what the training met.
    """
    from .loader import DataLoader
    from .sources import open_source

    source = open_source(dataset, configuration, fold, trainer, plans, rank=rank, ranks=ranks)
    with DataLoader.from_nnunet(
        source.val if role in ("val", 1) else source.train,
        threads=1,
        prefetch=1,
        seed=seed,
        rank=rank,
        role=role,
        check_finite=check_finite,
    ) as loader:
        return loader.sample(step, slot, attempt)
