"""Predictions on several GPUs and machines. Ray starts the processes; this package's threads do the work in each of them."""

from __future__ import annotations

import importlib.util

__all__ = ["missing"]


def missing() -> str | None:
    """Say which package is not there, or None."""
    if importlib.util.find_spec("ray") is not None:
        return None
    return "expected the package ray, got no such package\n  pip install ray"
