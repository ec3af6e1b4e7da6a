"""The table of what is known: `sources.json`, which `scripts/known_sources.py` makes."""

from __future__ import annotations

import functools
import json
from pathlib import Path

__all__ = ["FILE", "fingerprints", "is_known"]

FILE = Path(__file__).with_name("sources.json")


@functools.cache
def _table() -> dict[str, frozenset[str]]:
    packages: dict[str, dict[str, dict[str, str]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return {key: frozenset(known) for entries in packages.values() for key, known in entries.items()}


def is_known(key: str) -> bool:
    """Whether any version has this "module:qualified.name"."""
    return key in _table()


def fingerprints(key: str) -> frozenset[str]:
    """What may stand there; nothing for what no version has."""
    return _table().get(key, frozenset())
