"""The options that every way to make a loader has."""

from __future__ import annotations

import os
from typing import Literal, TypedDict

import torch.distributed as dist

from ...system import available_cores, default_budget, threads_of

__all__ = ["LoaderKeywords", "of_this_rank"]


class LoaderKeywords(TypedDict, total=False):
    """Keyword arguments of `DataLoader.from_nnunet`, where they are explained; all loaders have them."""

    threads: int | None
    seed: int | None
    rank: int
    role: str | int
    memory_budget: int | str | None
    on_bad_case: Literal["raise", "skip"]
    max_skipped: float
    patience: float
    pin_memory: bool | None
    prefetch: int | None
    check_finite: bool
    keep_blocks: bool
    budget_binds: bool | None
    unrestricted_pickles: bool
    stall_after: float
    abort_after: float | None


def of_this_rank(options: LoaderKeywords) -> LoaderKeywords:
    """Return the options with what torch.distributed or torchrun tells: the rank, and its share of the cores and the memory.

    torchrun's variables count before the process group is there, too: a loader is often made first.
    """
    made: LoaderKeywords = {**options}
    if dist.is_available() and dist.is_initialized():
        made.setdefault("rank", dist.get_rank())
    elif (rank := _number("RANK")) is not None and _number("WORLD_SIZE") is not None:
        made.setdefault("rank", rank)
    here = _number("LOCAL_WORLD_SIZE") or 1
    if here > 1:
        if made.get("memory_budget") is None:
            made["memory_budget"] = default_budget() // 2 // here
            made.setdefault("budget_binds", False)
        if made.get("threads") is None:
            made["threads"] = threads_of(max(1, available_cores() // here))
    return made


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() else None
