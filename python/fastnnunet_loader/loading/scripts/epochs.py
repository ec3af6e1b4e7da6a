"""Epochs of a loader that has a length: `for batch in loader` gives so many batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .batches import B

if TYPE_CHECKING:
    from .iterated import IteratedLoader

__all__ = ["Epoch", "Progress"]


@dataclass
class Progress:
    """How many batches of its epoch a loader has given. The loader and its iterator share it."""

    done: int = 0

    @classmethod
    def of_state(cls, state: Mapping[str, Any], length: int | None) -> Progress:
        """Of a saved state; at the end of an epoch, and where epochs have no length, the next one begins."""
        done = int(state.get("batches_of_epoch", 0))
        return cls(0 if length is None or done >= length else done)


class Epoch(Iterator[B]):
    """The batches of one epoch of a loader, or the rest of them, from the loader's next batch on."""

    def __init__(self, loader: IteratedLoader[B], progress: Progress) -> None:
        self._loader = loader
        self._progress = progress

    def __len__(self) -> int:
        return len(self._loader)

    def __next__(self) -> B:
        if self._progress.done >= len(self):
            raise StopIteration
        batch = next(self._loader)
        self._progress.done += 1
        return batch
