"""A name for the group that ranks make now, which no group before a restart had."""

from __future__ import annotations

import secrets
import time
from typing import Any

__all__ = ["meet"]

_LONG = 1800.0
"""Seconds for which ranks wait for each other, as torch.distributed does."""

_EVERY = 0.02
"""Seconds between two looks."""


def meet(store: Any, rank: int, ranks: int) -> str:
    """Return one new name on all ranks. All must ask.

    torchrun keeps its store when it restarts ranks, with what they wrote before: addresses, errors, decisions. Its count of
    restarts tells the groups not apart, for a machine that joins later counts from 0. So each rank says a word that is new, and
    rank 0 answers that word until all ranks have taken the answer.

    Raises:
        TimeoutError: a rank did not come.
    """
    end = time.monotonic() + _LONG
    word = secrets.token_hex(8)
    if rank != 0:
        store.set(_key("word", rank), word)
        while True:
            if store.check([_key("answer", rank)]):
                to, _, name = store.get(_key("answer", rank)).decode().partition(":")
                if to == word:
                    store.set(_key(name, rank), "here")
                    return str(name)
            _wait(end, "rank 0")
    missing = set(range(1, ranks))
    while True:
        for other in sorted(missing):
            if store.check([_key(word, other)]):
                missing.discard(other)
            elif store.check([_key("word", other)]):  # perhaps of a rank that is gone: then a new one follows
                store.set(_key("answer", other), f"{store.get(_key('word', other)).decode()}:{word}")
        if not missing:
            return word
        _wait(end, f"rank(s) {', '.join(map(str, sorted(missing)))}")


def _key(name: str, rank: int) -> str:
    return f"fastnnunet_loader/meeting/{name}/{rank}"


def _wait(end: float, whom: str) -> None:
    if time.monotonic() > end:
        raise TimeoutError(f"[torchrun] expected {whom} within {_LONG:.0f} s, got none")
    time.sleep(_EVERY)
