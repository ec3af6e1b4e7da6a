"""What batches come from besides cases and patches, for states: a digest of the transforms, and versions of what makes them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..known.versions import found

__all__ = ["differences", "digest", "versions"]

_PACKAGES = ("nnunetv2", "batchgeneratorsv2")
_DEEP = 8  # settings are not nested deeper


@functools.cache
def _versions() -> dict[str, str]:
    known = {package: found(package) for package in _PACKAGES}
    return {package: version.number or "unknown" for package, version in known.items() if version is not None}


def versions() -> dict[str, str]:
    """Return the versions of the packages whose transforms and sampling the batches follow, as far as they are installed."""
    return dict(_versions())


def digest(lines: Iterable[str], transforms: Iterable[tuple[Any, bool]]) -> str:
    """Return a digest of a tree: of its lines, and of each transform's class and, where it is native, of its settings.

    transforms: with whether each is native. Those in Python may keep what they like in their attributes.
    """
    parts = [*lines, *(_plain(one, 0 if native else _DEEP) for one, native in transforms)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def differences(state: Mapping[str, Any], transforms: str) -> list[str]:
    """Say what makes the batches that follow others than those of an uninterrupted run; a state without these says nothing."""
    now = versions()
    then = state.get("versions", now)
    changed = [
        f"{package} {then[package]} then, {now.get(package, 'none')} now"
        for package in sorted(then)
        if then[package] != now.get(package)
    ]
    if state.get("transforms", transforms) != transforms:
        changed.append("other transforms, or other settings of them")
    return changed


def _plain(value: Any, depth: int) -> str:
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return repr(value.item() if isinstance(value, np.generic) else value)
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if depth >= _DEEP:
        return name
    if isinstance(value, np.ndarray):
        return f"array{value.shape}{_plain(value.ravel()[:1000].tolist(), depth + 1)}"
    if isinstance(value, (list, tuple, set, frozenset, range)):
        plain = [_plain(one, depth + 1) for one in value]
        return f"({', '.join(sorted(plain) if isinstance(value, (set, frozenset)) else plain)})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{_plain(k, depth + 1)}: {_plain(v, depth + 1)}' for k, v in value.items()))}}}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', None)}.{value.__qualname__}"  # methods of built-in types have no module
    return f"{name}{_plain(getattr(value, '__dict__', {}), depth + 1)}"
