"""Ranks that share batches: which one this process is, and what each of them takes of the machine."""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch.distributed as dist

from ...sample_id import role_number
from ...system import available_cores, default_budget, most_threads, threads_of
from ..reading.source import Share
from .options import LoaderKeywords, ScriptKeywords

__all__ = ["agree", "of_the_job", "of_this_rank", "require_same_draw", "require_seed"]

T = TypeVar("T")
_seeds_drawn: Counter[int] = Counter()  # by role


def agree(name: str, value: T) -> T:
    """Return one value on all ranks that ask: that of the first one. Nobody waits, and nobody has to ask."""
    if not _has_group() or dist.get_world_size() == 1:
        return value
    store: Any = dist.distributed_c10d._get_default_store()
    agreed: T = json.loads(store.compare_set(f"fastnnunet_loader/{name}", "", json.dumps(value)))
    return agreed


def of_this_rank(options: ScriptKeywords) -> tuple[Share, LoaderKeywords]:
    """Return this rank's share of batches, and options with one seed for all ranks and its share of the cores and the memory.

    torchrun's variables count before the process group is there, too: a loader is often made first.

    Raises:
        ValueError: a rank that there is not, or ranks without a seed in common.
    """
    made = cast("LoaderKeywords", {name: value for name, value in options.items() if name not in ("rank", "ranks")})
    share = _share(options.get("rank"), options.get("ranks"))
    if share.ranks > 1 and made.get("seed") is None:
        require_seed(options)
        made["seed"] = _common_seed(role_number(made.get("role", 0)))
    here = _number("LOCAL_WORLD_SIZE") or 1
    if here > 1:
        if made.get("memory_budget") is None:
            made["memory_budget"] = default_budget() // 2 // here
            made.setdefault("budget_binds", False)
        if made.get("threads") is None:
            cores = max(1, available_cores() // here)
            made["threads"] = threads_of(cores)
            made.setdefault("most_threads", most_threads(cores))
    return share, made


def _share(rank: int | None, ranks: int | None) -> Share:
    there = of_the_job()
    if ranks is None:
        if there is None and rank:
            raise ValueError(f"[ranks] expected how many ranks share a batch, beside rank {rank}, got none")
        ranks = 1 if there is None else there[1]
    if rank is None:
        if there is None and ranks > 1:
            raise ValueError(f"[rank] expected which of {ranks} ranks this is, got none")
        rank = 0 if there is None or ranks == 1 else there[0]
    if ranks < 1 or not 0 <= rank < ranks:
        raise ValueError(f"[rank] expected a number from 0, below ranks ({ranks}), got {rank}")
    return Share(int(rank), int(ranks))


def of_the_job() -> tuple[int, int] | None:
    """Return the rank and how many there are: torch.distributed tells, or torchrun before the process group is there."""
    if _has_group():
        return dist.get_rank(), dist.get_world_size()
    rank, ranks = _number("RANK"), _number("WORLD_SIZE")
    return None if rank is None or ranks is None else (rank, ranks)


def require_seed(options: Mapping[str, Any]) -> None:
    """Raise the ValueError that `of_this_rank` would raise for these options, before work that takes long."""
    ranks = _share(options.get("rank"), options.get("ranks")).ranks
    if ranks > 1 and options.get("seed") is None and not _has_group():
        given = "neither" if options.get("generator") is None else "a generator, which may be another one on each rank"
        raise ValueError(
            f"[seed] expected one for all {ranks} ranks, or torch.distributed.init_process_group() before the loader is made, "
            f"got {given}"
        )


def require_same_draw(seed: int, options: Mapping[str, Any]) -> None:
    """Compare the seed that this rank's generator gave with that of the rank that came here first.

    Raises:
        ValueError: they differ; or nobody can tell, because there is no process group.
    """
    share = _share(options.get("rank"), options.get("ranks"))
    if share.ranks == 1:
        return
    require_seed(options)
    role = role_number(options.get("role", 0))
    if (first := agree(_next_name(role), seed)) != seed:
        raise ValueError(
            f"[generator] expected generators in the same state on all {share.ranks} ranks, which draw one seed, "
            f"got {seed} on rank {share.rank} and {first} on another; give them one manual_seed, or give seed="
        )


def _common_seed(role: int) -> int:
    return agree(_next_name(role), secrets.randbits(63))


def _next_name(role: int) -> str:
    """Of what ranks agree on for their next loader of this role. All make their loaders in the same order."""
    number, _seeds_drawn[role] = _seeds_drawn[role], _seeds_drawn[role] + 1
    return f"script/{role}/{number}"


def _has_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() else None
