"""Stand-ins: functions that replace nnU-Net's own while its code is the code that native code was written for.

A stand-in takes the arguments of nnU-Net's function. Native code does the work while this package is installed and that
function, with all that it calls, is as in a known version. nnU-Net's own function is called for arguments that native code
does not accept (it returns NotImplemented), and always after uninstall(). So a program that has kept or wrapped a stand-in
always has a function that does what nnU-Net's does.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any, Protocol

from ... import known

__all__ = ["STAND_INS", "AsKnown", "Patches", "StandIn", "original_of", "replace_everywhere", "stands_for"]

FAMILY = ("nnunetv2", "batchgenerators", "acvl_utils")
"""Packages whose functions are examined."""


class Patches(Protocol):
    """Sets attributes, and can restore them."""

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set `owner.name`."""


class AsKnown:
    """Whether nnU-Net's functions, and all that they call, are as in a known version. Asking again is cheap.

    Args:
        functions: nnU-Net's functions.
        classes: classes of arguments whose methods these functions call.
    """

    def __init__(self, *functions: Any, classes: Sequence[type] = ()) -> None:
        self._functions = functions
        self._classes = classes
        self._seen: list[tuple[Mapping[str, Any], str, Any]] = []
        self._changes: list[str] | None = None

    @property
    def changes(self) -> list[str]:
        """Descriptions of what differs from the known versions."""
        # Reading sources takes time, so they are read again only if one of the objects has been replaced.
        if self._changes is None or any(original_of(space.get(name)) is not value for space, name, value in self._seen):
            self._seen = [
                *_reached(self._functions),
                *((vars(kind), *item) for kind in self._classes for item in vars(kind).items()),
            ]
            roots = (*(original_of(function) for function in self._functions), *self._classes)
            self._changes = list(dict.fromkeys(str(change) for root in roots for change in known.changed(root)))
        return self._changes

    def __bool__(self) -> bool:
        return not self.changes


def _reached(functions: Sequence[Any]) -> Iterator[tuple[Mapping[str, Any], str, Any]]:
    """Yield (namespace, name, current value) for each global name that the functions use."""
    waiting, met = [original_of(function) for function in functions], set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or id(function) in met:
            continue
        met.add(id(function))
        space = function.__globals__
        for name in _names(function.__code__):
            if name in space:
                value = original_of(space[name])
                yield space, name, value
                if getattr(value, "__module__", None) and value.__module__.partition(".")[0] in FAMILY:
                    waiting.append(value)


def _names(code: CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


_originals: dict[int, Any] = {}
"""nnU-Net's function by the id of its stand-in. Stand-ins live as long as the process."""


def original_of(value: Any) -> Any:
    """Return the function that a stand-in replaces, and anything else as it is."""
    return _originals.get(id(value), value)


class StandIn:
    """A function that replaces one of nnU-Net's. It is made once, so that all who have kept it share the same one.

    Args:
        module, name: module and name of nnU-Net's function.
        native: called with the same arguments; returns NotImplemented if it does not accept them.
        classes: classes of arguments whose methods nnU-Net's function calls.
    """

    def __init__(self, module: ModuleType, name: str, native: Callable[..., Any], classes: Sequence[type] = ()) -> None:
        self.module = module
        self.name = name
        self.standing = False
        """Whether native code is used: set by install(), and reset by uninstall()."""
        self._classes = classes

        @functools.wraps(native)
        def function(*args: Any, **kwargs: Any) -> Any:
            if self.standing and self.guard:
                result = native(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            return self.original(*args, **kwargs)

        self.function = function
        self._found(getattr(module, name))

    def _found(self, original: Callable[..., Any]) -> None:
        self.original = original
        self.guard = AsKnown(original, classes=self._classes)
        # Signature and documentation are nnU-Net's; the module is this package's, where pickle finds the function.
        self.function.__doc__ = original.__doc__
        self.function.__wrapped__ = original
        _originals[id(self.function)] = original

    def install(self, patches: Patches) -> list[str]:
        """Replace nnU-Net's function. If nnU-Net's code is not known, replace nothing and return what differs."""
        found = getattr(self.module, self.name, None)
        if found is None:
            return [f"{self.module.__name__}.{self.name}, which is not there"]
        if found is not self.function and found is not self.original:
            self._found(found)
        if not self.guard:
            return self.guard.changes
        replace_everywhere(patches, self.original, self.function)
        patches.set(self, "standing", True)
        return []


def stands_for(
    module: ModuleType, name: str, *, classes: Sequence[type] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a native function: its name is then that of the stand-in for nnU-Net's `module.name`."""

    def decorate(native: Callable[..., Any]) -> Callable[..., Any]:
        made = StandIn(module, name, native, classes)
        STAND_INS.append(made)
        return made.function

    return decorate


STAND_INS: list[StandIn] = []
"""All that were made with `stands_for`."""


def replace_everywhere(patches: Patches, original: Any, replacement: Any) -> None:
    """Replace a function under each name that a loaded module has for it, `from ... import` included."""
    for module in list(sys.modules.values()):
        # By its type: cffi's libraries are there as well, and call themselves modules, but have no names to replace.
        if not issubclass(type(module), ModuleType):
            continue
        names = object.__getattribute__(module, "__dict__")  # does not load lazy modules
        for name in [name for name, value in list(names.items()) if value is original]:
            patches.set(module, name, replacement)
