"""Calls a function with modules that somebody imports later."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["when_imported"]


def when_imported(names: Collection[str], then: Callable[[ModuleType], None]) -> Callable[[], None]:
    """Call `then` with each of these modules after it is imported, in the thread that imports it.

    Returns:
        A function that ends this.
    """
    finder = _Finder(names, then)
    sys.meta_path.insert(0, finder)
    return finder.stop


class _Finder:
    """Finds nothing itself."""

    def __init__(self, names: Collection[str], then: Callable[[ModuleType], None]) -> None:
        self._names = frozenset(names)
        self._then = then
        self._asked: set[tuple[int, str]] = set()
        self._stopped = False

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module as the other finders find it."""
        asked = (threading.get_ident(), name)
        if name not in self._names or asked in self._asked:
            return None
        self._asked.add(asked)  # another finder like this one may ask us in turn
        try:
            finders = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            specs = (finder.find_spec(name, path, target) for finder in finders)
            spec = next((spec for spec in specs if spec is not None), None)
        finally:
            self._asked.discard(asked)
        load = None if spec is None else getattr(spec.loader, "exec_module", None)
        if spec is None or load is None or not hasattr(spec.loader, "__dict__"):
            return spec
        loader: Any = spec.loader

        def exec_module(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            load(module)
            if not self._stopped:
                self._then(module)

        loader.exec_module = exec_module
        return spec

    def stop(self) -> None:
        """Look at no more imports."""
        self._stopped = True
        if self in sys.meta_path:
            sys.meta_path.remove(self)
