"""Which of nnU-Net's code this package knows: native code stands for that and for no other.

`changed` compares what a class, an object or a module has, by source, with the versions that `sources.json` was made of, and
names what differs. `versions` tells which nnU-Net is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import versions
from .table import fingerprints, is_known
from .walk import Found, Walk

__all__ = ["Change", "changed", "listed", "versions"]


@dataclass(frozen=True)
class Change:
    """Something that is not as in any version that is known."""

    name: str  # as a user looks for it: "nnUNetDataLoader.get_bbox"
    where: str  # "defined in FILE:LINE", and the like

    def __str__(self) -> str:
        return f"{self.name}, {self.where}"


def changed(root: Any, *names: str) -> list[Change]:
    """What differs from the versions that are known, in and behind some functions or methods.

    Args:
        root: a module, with names of its functions, classes and constants; a class or an object, with names of methods or
            without, for all of them; or a function. Attributes of an object that hide a method count.
        names: where to begin. From there on it goes to the methods of the same class that the code names, and to the functions,
            classes and plain constants of nnU-Net's packages that it names.

    Returns:
        The differences; none where everything is known. What makes an object (`__init__`) is not looked at, since attributes
        are read off the object, nor what `roots.FOLLOWED` lists.
    """
    changes: dict[str, Change] = {}

    def visit(found: Found) -> None:
        if found.fingerprint in fingerprints(found.key):
            return
        if found.asked or found.overrides or is_known(found.key):
            changes.setdefault(found.shown, Change(found.shown, found.where))

    Walk(visit).root(root, names)
    return list(changes.values())


def listed(changes: Sequence[Change], most: int = 3) -> str:
    """Changes in the words of a sentence; the first few of them."""
    text = "; ".join(map(str, changes[:most]))
    return text if len(changes) <= most else f"{text}; and {len(changes) - most} more"
