"""The native loader, and threads instead of process pools, under every nnU-Net trainer of this process.

Importing this room imports none of nnU-Net: the commands that plan and preprocess need no trainer.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ["install", "installed", "uninstall"]


def install(settings: Settings) -> None:
    """See `fastnnunet_loader.install`."""
    from .installing.everything import install as install_all

    install_all(settings)


def uninstall() -> None:
    """See `fastnnunet_loader.uninstall`."""
    everything = sys.modules.get(f"{__name__}.installing.everything")
    if everything is not None:  # else nothing was installed, and importing it takes seconds
        everything.uninstall()


def installed() -> bool:
    """Whether install() has been called, also while it is still at work, and uninstall() has not since."""
    from .runs import installation

    return installation() is not None
