"""From batchgeneratorsv2's transform objects to the native transforms of the same name: one file for each, in folders as there.

A file says which attributes it understands, how they become the native transform's, and how parameters that
batchgeneratorsv2 drew become the native ones (for a replay). An object that is of a subclass, has an attribute that its file
does not know, or whose code is not that of a tested version, is not understood and runs in Python: never a wrong result.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from ..errors import NotSupportedError
from ..known import changed, listed
from .mapping import Attributes, NativeTransform

__all__ = ["NATIVE", "NativeTransform", "describe_native"]

_FOLDERS = ("spatial", "intensity", "noise", "local", "nnunet", "utils")

# By class name; the class itself must be batchgeneratorsv2's.
NATIVE: dict[str, NativeTransform] = {
    entry.name: entry
    for folder in _FOLDERS
    for module in pkgutil.iter_modules([str(Path(__file__).with_name(folder))])
    for entry in getattr(importlib.import_module(f"{__package__}.{folder}.{module.name}"), "NATIVE", ())
}


def describe_native(transform: Any) -> Attributes:
    """The native attributes of one of batchgeneratorsv2's leaf transforms.

    Raises:
        NotSupportedError: with the reason why it has to run in Python.
    """
    cls = type(transform)
    entry = NATIVE.get(cls.__name__)
    if entry is None or not cls.__module__.startswith("batchgeneratorsv2."):
        raise NotSupportedError("it has no native counterpart")
    if changes := changed(transform):
        raise NotSupportedError(f"its code has changed: {listed(changes)}")
    unknown = set(vars(transform)) ^ set(entry.attributes.split())
    if unknown:
        raise NotSupportedError(f"its attributes are not those that are known ({', '.join(sorted(unknown))})")
    return entry.compile(transform)
