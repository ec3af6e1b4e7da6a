"""Ranks of torch.distributed: how many there are, and what they tell each other."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from ...loading.scripts.ranks import agree
from ...system import tasks_of_step

__all__ = ["agree", "divide", "in_group", "of_ranks", "once", "publish", "rank", "ranks", "ranks_here", "tell", "told"]

T = TypeVar("T")
R = TypeVar("R")
_KEY = "fastnnunet_loader/"
_GONE = (RuntimeError, ValueError)
"""The store is there no more: the rank that keeps it is dead, as whoever trains will notice, or it was let go."""


def in_group() -> bool:
    """Whether there is a process group, which may be of one rank."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process's number."""
    return dist.get_rank() if in_group() else 0


def ranks() -> int:
    """Return how many there are, on all machines."""
    return dist.get_world_size() if in_group() else 1


def ranks_here() -> int:
    """Return how many ranks share the cores and the memory that `system` tells of.

    Those of nnU-Net's -num_gpus are all on one machine. torchrun says how many it has started here. Of ranks that Slurm's srun
    starts each is a task, and what `system` tells is a task's share already.
    """
    count = ranks()
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    if local.isascii() and local.isdigit() and int(local) > 0:
        return min(count, int(local))
    if tasks_of_step() == count and multiprocessing.parent_process() is None:
        return 1
    return count


def _store() -> Any:
    # A key-value store that every process group has. Unlike a collective call it may be asked by one rank alone, as a trainer
    # does that saves a checkpoint in an exception handler, or that makes a loader on one rank only.
    return dist.distributed_c10d._get_default_store()


def tell(name: str, value: Any) -> None:
    """Let all ranks know a value: numbers, strings, lists and dictionaries. What was told under that name before is gone."""
    if ranks() == 1:
        return
    with contextlib.suppress(*_GONE):
        _store().set(_KEY + name, json.dumps(value))
        _store().check([_KEY + name])  # the answer comes after the value has arrived


def told(name: str) -> Any:
    """Return what a rank told under that name, or None."""
    if ranks() == 1:
        return None
    with contextlib.suppress(*_GONE):
        if _store().check([_KEY + name]):
            return json.loads(_store().get(_KEY + name))
    return None


def publish(value: dict[str, Any]) -> None:
    """Let the other ranks know a value of this one, as `tell`."""
    tell(f"rank/{rank()}", value)


def of_ranks() -> dict[int, dict[str, Any]]:
    """Return what the other ranks published last, by rank."""
    found = {other: told(f"rank/{other}") for other in range(ranks()) if other != rank()}
    return {other: value for other, value in found.items() if value is not None}


def once(name: str, work: Callable[[], object]) -> None:
    """Do what is needed once for all ranks: on the first that asks, while those that ask later wait for it."""
    if ranks() == 1:
        work()
        return
    done = f"{_KEY}{name}/done"
    if _store().add(f"{_KEY}{name}/begun", 1) == 1:
        ended = "failed"
        try:
            work()
            ended = "well"
        finally:
            _store().set(done, ended)
        return
    while not _store().check([done]):
        time.sleep(0.1)
    if _store().get(done) != b"well":
        work()  # and so fail with the same words


def divide(items: list[T], work: Callable[[T], R]) -> list[R]:
    """Return `work(item)` for each, on all ranks, each done by one of them. All ranks must call it with the same items."""
    number, count = rank(), ranks()
    own = [work(item) for item in items[number::count]]
    if count == 1:
        return own
    gathered: list[Any] = [None] * count
    dist.all_gather_object(gathered, own)
    return [gathered[place % count][place // count] for place in range(len(items))]
