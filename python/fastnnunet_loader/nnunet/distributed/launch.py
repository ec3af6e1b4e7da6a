"""What torchrun tells the ranks that it starts. The module imports no torch: commands check their options first."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Launch", "launched", "seed_of", "trained_by", "training_agents"]

_agents: list[str] = []  # of the group that trains in this process

_NEEDED = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


@dataclass(frozen=True)
class Launch:
    """This process's place among the ranks of torchrun."""

    rank: int
    local_rank: int
    """Of those of this machine: the number of its GPU."""
    ranks: int
    ranks_here: int
    agent: str = ""
    """Of the torchrun on this machine: a text that stays the same through its restarts, and that no other torchrun has."""


def launched(environment: Mapping[str, str] | None = None) -> Launch | None:
    """Return this process's place, if torchrun has started it, or whoever sets the variables that torchrun sets."""
    environment = os.environ if environment is None else environment
    texts = [environment.get(name, "") for name in _NEEDED]
    if not all(text.isascii() and text.isdigit() for text in texts):
        return None
    if not environment.get("MASTER_ADDR") or not environment.get("MASTER_PORT"):
        return None
    rank, local_rank, ranks = map(int, texts)
    here = environment.get("LOCAL_WORLD_SIZE", "")
    # FOLDER/attempt_N/LOCAL_RANK/error.json, in a folder that this torchrun made for itself.
    file = environment.get("TORCHELASTIC_ERROR_FILE", "")
    agent = f"{socket.gethostname()}:{Path(file).parents[2]}" if len(Path(file).parents) > 2 else ""
    return Launch(rank, local_rank, ranks, int(here) if here.isascii() and here.isdigit() else ranks, agent)


def seed_of(agents: Sequence[str]) -> int | None:
    """Return a seed from 0 to 2**63 - 1 that rank 0 has again after a restart; None if its torchrun is not known."""
    if not agents or not agents[0]:
        return None
    return int.from_bytes(hashlib.sha256(agents[0].encode()).digest()[:8], "big") >> 1


@contextmanager
def trained_by(agents: Sequence[str]) -> Iterator[None]:
    """Inside, checkpoints tell which torchruns train."""
    _agents[:] = sorted({agent for agent in agents if agent})
    try:
        yield
    finally:
        _agents.clear()


def training_agents() -> list[str]:
    """Return the torchruns that train together now, each with its text; [] without torchrun."""
    return list(_agents)
