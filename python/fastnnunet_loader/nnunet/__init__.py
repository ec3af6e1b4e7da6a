"""The native loader, and threads instead of process pools, under every nnU-Net trainer of this process."""

from __future__ import annotations

from .augmenter import InProcessAugmenter
from .checkpoint import KEY as CHECKPOINT_KEY
from .install import install, uninstall
from .runs import installation

__all__ = ["CHECKPOINT_KEY", "InProcessAugmenter", "install", "installed", "uninstall"]


def installed() -> bool:
    """Whether install() has been called, also while it is still at work, and uninstall() has not since."""
    return installation() is not None
