"""What `fastnnunet_autoload` does once a program has imported nnU-Net: install() as the environment variable says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from ..listening import listen
from ..nnunet import installed
from ..nnunet.installing.everything import install
from ..nnunet.replacing.pools import LATER, MODULES
from ..settings import Settings
from ..termination import end_on_sigterm
from .loader_options import from_text

__all__ = ["take_over"]


_CONTINUES = {
    "nnUNetv2_train": "--c continues from the last checkpoint, or begins anew if none was saved",
    "nnUNetv2_predict": "--continue_prediction goes on with the cases that are missing",
    "nnUNetv2_predict_from_modelfolder": "--continue_prediction goes on with the cases that are missing",
}
"""How to go on after SIGTERM with what nnU-Net's own commands were doing."""


def take_over(text: str, alone: Callable[[], bool]) -> bool:
    """Install with the options in a text, unless the program has done so itself: then its settings stay.

    Args:
        text: as `loader_options.from_text` reads it.
        alone: tells whether no other thread is importing nnU-Net's modules.

    Returns:
        False where another thread is, and has to do this when it is ready.

    Raises:
        Exception: whatever install() raises, or CommandError for the text.
    """
    if installed():
        return True
    settings = from_text(text)
    # All that install() replaces something in, so that it imports no more: a module that another thread has half made is
    # replaced again when that thread goes on.
    for name in ("nnunetv2.run.run_training", *MODULES):
        try:
            importlib.import_module(name)
        except ImportError:
            if alone() and name == "nnunetv2.run.run_training":
                raise
    if not alone():
        return False
    install(Settings(**settings))
    listen()
    continues = _CONTINUES.get(Path(sys.argv[0]).stem if sys.argv else "")
    end_on_sigterm("; ".join(filter(None, ("fastnnunet: ended by SIGTERM", continues))))
    _tell_of_main()
    return True


def _tell_of_main() -> None:
    """`python -m nnunetv2.…` runs a copy of the module, in which nothing is replaced."""
    from fastnnunet_autoload import REPLACED, VARIABLE

    name = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "")
    # That of the training takes from other modules all that is replaced,
    # and of others, all that is replaced is their pools.
    replaced = ("nnunetv2.run.run_training", *MODULES, *LATER)
    if name.startswith(REPLACED) and name not in replaced and sys.stderr is not None:
        print(
            f"fastnnunet: [{VARIABLE}] expected a program that imports {name}, got it run as a script (python -m), which stays "
            "as nnU-Net has it",
            file=sys.stderr,
        )
