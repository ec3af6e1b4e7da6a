"""The options that every way to make a loader has."""

from __future__ import annotations

import os
from typing import Literal, TypedDict

__all__ = ["LoaderKeywords", "ScriptKeywords"]


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
    most_threads: int | None
    prefetch: int | None
    check_finite: bool
    keep_blocks: bool
    budget_binds: bool | None
    unrestricted_pickles: bool
    stall_after: float
    abort_after: float | None
    cache_dir: str | os.PathLike[str] | None
    cache_size: int | str | None


class ScriptKeywords(LoaderKeywords, total=False):
    """Those of loaders whose ranks share batches."""

    ranks: int
