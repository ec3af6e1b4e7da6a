"""Transforms that other packages have written in C++."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Plugin", "get_include", "plugin_of", "register_transform"]


@dataclass(frozen=True)
class Plugin:
    """How objects of one class become a transform of the core."""

    capsule: Callable[[Any], Any]
    replay: Callable[[Any, dict[str, Any]], Sequence[float]]


_plugins: dict[type, Plugin] = {}


def get_include() -> str:
    """The folder for a compiler's search path in which fastnnunet/plugin/transform.h (C++) and abi.h (C) lie."""
    return str(Path(__file__).parents[1] / "include")


def register_transform(
    cls: type,
    capsule: Callable[[Any], Any],
    replay: Callable[[Any, dict[str, Any]], Sequence[float]] | None = None,
) -> None:
    """Makes `compile_transforms` take objects of a class for transforms written in C++.

    Args:
        cls: the class in Python, as a rule a subclass of batchgeneratorsv2's BasicTransform, so that its objects work without
            this package as well. Its subclasses are not meant: they may do something else.
        capsule: makes, of an object, a capsule with a table of C functions, a `fastnnunet_plugin_transform*` that the capsule
            owns; fastnnunet/plugin/transform.h makes one of a C++ class. The package may be built with any compiler.
        replay: makes, of an object and of what its get_parameters returned, the numbers that the C++ transform would have
            drawn; only `Pipeline.replay` asks for it.

    Raises:
        TypeError: `cls` is not a class.
    """
    if not isinstance(cls, type):
        raise TypeError(f"[register_transform] expected a class, got {cls!r}")

    def refuse(transform: Any, parameters: dict[str, Any]) -> Sequence[float]:
        raise ValueError(f"[{cls.__name__}] expected a class that was registered with 'replay', got one without")

    _plugins[cls] = Plugin(capsule, replay or refuse)


def plugin_of(transform: Any) -> Plugin | None:
    """How an object's class was registered, if it was."""
    return _plugins.get(type(transform))
