"""Ranks of torch.distributed: how many there are, what they tell each other, and install() in those that nnU-Net starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch.distributed as dist

from ..loader import draw_seed
from ..settings import Settings

__all__ = ["InstalledRank", "Spawning", "of_ranks", "publish", "rank", "ranks", "share"]

T = TypeVar("T")
_KEY = "fastnnunet_loader/{rank}"


def rank() -> int:
    """Return this process's number."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def ranks() -> int:
    """Return how many there are. nnU-Net's share one machine."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share(value: T) -> T:
    """Return rank 0's value on every rank. All ranks must call it."""
    if ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _store() -> Any:
    # A key-value store that every process group has. Unlike a collective call it may be asked by one rank alone, as a
    # trainer does that saves a checkpoint in an exception handler.
    return dist.distributed_c10d._get_default_store()


def publish(value: dict[str, Any]) -> None:
    """Let the other ranks know a value of this one: numbers, strings, lists and dictionaries."""
    if ranks() > 1:
        _store().set(_KEY.format(rank=rank()), json.dumps(value))


def of_ranks() -> dict[int, dict[str, Any]]:
    """Return what the other ranks published last, by rank."""
    found = {}
    for other in range(ranks()):
        key = _KEY.format(rank=other)
        if other != rank() and _store().check([key]):
            found[other] = json.loads(_store().get(key))
    return found


@dataclass(frozen=True)
class InstalledRank:
    """nnU-Net's run_ddp in a new process, where everything has to be installed again."""

    settings: Settings
    run_ddp: Callable[..., Any]  # found by its name in the new process

    def __call__(self, rank: int, *args: Any) -> Any:
        """As run_ddp."""
        from .install import install

        install(self.settings)
        return self.run_ddp(rank, *args)


class Spawning:
    """torch.multiprocessing as nnU-Net's run_training sees it: spawn() installs this package in the new processes."""

    def __init__(self, module: Any, settings: Callable[[], Settings | None]) -> None:
        self._module = module
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def spawn(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As torch.multiprocessing.spawn."""
        settings = self._settings()
        if settings is None:
            return self._module.spawn(fn, *args, **kwargs)
        chosen = replace(settings, seed=draw_seed() if settings.seed is None else settings.seed)
        return self._module.spawn(InstalledRank(chosen, fn), *args, **kwargs)
