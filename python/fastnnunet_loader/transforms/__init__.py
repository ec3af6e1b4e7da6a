"""From batchgeneratorsv2's transform objects to the native transforms of the same name: one file for each.

A file says which attributes it understands, how they become the native transform's, and how parameters that
batchgeneratorsv2 drew become the native ones (for a replay). An object that is of a subclass, or has an attribute that its
file does not know, is not understood and runs in Python: never a wrong result.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from ..errors import NotSupportedError
from .mapping import Attributes, NativeTransform

__all__ = ["NATIVE", "NativeTransform", "describe_native"]

# By class name; the class itself must be batchgeneratorsv2's.
NATIVE: dict[str, NativeTransform] = {
    entry.name: entry
    for module in pkgutil.iter_modules(__path__)
    for entry in getattr(importlib.import_module(f"{__name__}.{module.name}"), "NATIVE", ())
}

# Before this version classes of the same name and attributes draw and apply otherwise.
_OLDEST = (0, 3, 5)


@functools.cache
def _version() -> tuple[str, bool]:
    """The installed batchgeneratorsv2, and whether its classes can be those that are known."""
    version = importlib.metadata.version("batchgeneratorsv2")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return version, numbers >= _OLDEST


def describe_native(transform: Any) -> Attributes:
    """The native attributes of one of batchgeneratorsv2's leaf transforms.

    Raises:
        NotSupportedError: with the reason why it has to run in Python.
    """
    cls = type(transform)
    entry = NATIVE.get(cls.__name__)
    if entry is None or not cls.__module__.startswith("batchgeneratorsv2."):
        raise NotSupportedError("it has no native counterpart")
    version, known = _version()
    if not known:
        oldest = ".".join(map(str, _OLDEST))
        raise NotSupportedError(f"batchgeneratorsv2 {version} is older than {oldest}, from which on it is known")
    replaced = [name for name, function in _methods(cls) if not function.__module__.startswith("batchgeneratorsv2.")]
    if replaced:
        raise NotSupportedError(f"its methods were replaced ({', '.join(sorted(replaced))})")
    unknown = set(vars(transform)) ^ set(entry.attributes.split())
    if unknown:
        raise NotSupportedError(f"its attributes are not those that are known ({', '.join(sorted(unknown))})")
    return entry.compile(transform)


def _methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    for name in dir(cls):
        found = getattr(cls, name)
        if isinstance(found, FunctionType):
            yield name, found
