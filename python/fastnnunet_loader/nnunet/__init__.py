"""The native loader, and threads instead of process pools, under every nnU-Net trainer of this process."""

from __future__ import annotations

from .augmenter import InProcessAugmenter
from .checkpoint import KEY as CHECKPOINT_KEY
from .install import install, uninstall

__all__ = ["CHECKPOINT_KEY", "InProcessAugmenter", "install", "uninstall"]
