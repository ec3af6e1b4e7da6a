"""Where statistics may be written: not over what is somebody else's. Commands ask first, so nothing heavy is imported."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

__all__ = ["missing", "older", "taken"]


def older(file: Path) -> Path:
    """Return what a file of JSON lines becomes when it is full."""
    return file.with_name(f"{file.name}.1")


def missing() -> str | None:
    """Say which package a metrics file needs and is not there, or None."""
    if importlib.util.find_spec("prometheus_client") is not None:
        return None
    return "expected prometheus_client, got no such package\n  pip install prometheus_client"


def taken(stats: Path | None, metrics: Path | None) -> str | None:
    """Say which of these places holds something that is not this package's, or None."""
    asked = [("stats", stats), ("metrics", metrics), ("stats", None if stats is None else older(stats))]
    for name, file in asked:
        if file is None:
            continue
        if file.is_dir():
            return f"[{name}] expected a file, got the folder {file}"
        if _others(file, name):
            return f"[{name}] expected a new file, or one with statistics of this package, got {file} with other content"
    return None


def _others(file: Path, name: str) -> bool:
    try:
        with file.open("rb") as stream:
            first = stream.readline(2**20)
    except OSError:
        return False  # there is none, or writing will say what is the matter
    if not first:
        return False
    if name == "metrics":
        return not first.startswith((b"# HELP fastnnunet_", b"# TYPE fastnnunet_"))
    try:
        entry = json.loads(first)
    except ValueError:
        return True
    return not (isinstance(entry, dict) and {"time", "event", "loader"} <= set(entry))
