"""Replacements of other packages' functions that can be taken back without taking away what others replaced since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Patches"]


class Patches:
    """What was replaced, in order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace the attribute `name` of a class or module. `undo` restores it where it still is `value`."""
        own = vars(owner)
        missing, before = name not in own, own.get(name)

        def undo() -> None:
            if vars(owner).get(name) is not value:
                return  # somebody else replaced it since: that is theirs
            if missing:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        setattr(owner, name, value)
        self._undo.append(undo)

    def on_undo(self, undo: Callable[[], None]) -> None:
        """Call `undo` when the replacements are taken back."""
        self._undo.append(undo)

    def undo(self) -> None:
        """Take everything back, the last first."""
        while self._undo:
            self._undo.pop()()
