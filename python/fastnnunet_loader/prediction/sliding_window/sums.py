"""Sums of logits and of weights, for the planes that windows still reach.

Sums are of half precision, as nnU-Net's, so the order of additions decides their last bit, and now and then which of two
classes wins. Every voxel therefore gets its windows in nnU-Net's order, whatever the axis: windows that come too early are kept
until it is their turn (`OrderedSums`).
"""

from __future__ import annotations

from typing import Any

import torch

from .passage import Passage

__all__ = ["OrderedSums", "Sums"]


class Sums:
    """Sums of some planes, (C, X, Y, Z) in half precision, in a ring: plane p of the image is plane p modulo the length."""

    def __init__(self, passage: Passage, channels: int, device: torch.device) -> None:
        shape = list(passage.shape)
        shape[passage.along] = self._length = passage.length
        self._extent = passage.extent
        self._along = passage.along + 1
        self._ring = torch.zeros((channels, *shape), dtype=torch.half, device=device)

    def _pieces(self, start: int, count: int) -> list[tuple[int, torch.Tensor]]:
        """Return the parts of the ring with planes start to start + count, each with the number of planes before it."""
        at = start % self._length
        first = min(count, self._length - at)
        pieces = [(0, self._ring.narrow(self._along, at, first))]
        if count > first:
            pieces.append((first, self._ring.narrow(self._along, 0, count - first)))
        return pieces

    def add(self, values: torch.Tensor, slicer: Any, start: int, complete: int) -> None:
        """Add a window (C, *patch), or (*patch) to all channels.

        slicer: nnU-Net's of the window. start: its first plane. complete: planes from there on that no later window reaches.
        """
        for before, piece in self._pieces(start, self._extent):
            inside = list(slicer[1:])
            inside[self._along - 1] = slice(None) if isinstance(inside[self._along - 1], slice) else 0
            to, count = piece[(slice(None), *inside)], piece.shape[self._along]
            if self._extent > 1:
                axis = self._along - 1 + values.ndim - 3  # the last three are the patch
                to += values.narrow(axis, before, count)
            else:
                to += values

    def take(self, start: int, count: int, weights: Sums, place: torch.Tensor, *, add: bool) -> None:
        """Divide complete planes by their weights, write the result to `place` or add it, and set the sums to 0."""
        for (before, piece), (_, weight) in zip(self._pieces(start, count), weights._pieces(start, count), strict=True):
            torch.div(piece, weight, out=piece)
            if torch.any(torch.isinf(piece)):
                raise RuntimeError(
                    "expected finite logits, got infinity: the network's output does not fit into half precision"
                )
            to = place.narrow(self._along, before, piece.shape[self._along])
            if add:
                to += piece.to("cpu")
            else:
                to.copy_(piece)
            piece.zero_()

    def clear(self, start: int, count: int) -> None:
        """Set planes to 0."""
        for _, piece in self._pieces(start, count):
            piece.zero_()


_Held = list[tuple[Any, torch.Tensor]]  # the slicer of a window, and its planes that are not complete


class OrderedSums(Sums):
    """Sums of planes that are complete, for an axis that is not the slowest one in nnU-Net's order.

    nnU-Net goes through all places of this axis before it moves on along the axes before it: first come all windows of one
    column, then all of the next one. The part of a window for planes that are not complete yet is therefore kept, and added
    first when the column's next window comes.
    """

    def __init__(self, passage: Passage, channels: int, device: torch.device) -> None:
        super().__init__(passage, channels, device)
        self._held: dict[tuple[int, ...], _Held] = {}
        self._turn: tuple[int, tuple[int, ...]] | None = None

    def add(self, values: torch.Tensor, slicer: Any, start: int, complete: int) -> None:
        """Add the part of complete planes, and keep the rest. Windows of a place come in nnU-Net's order."""
        column = tuple(at.start for at in slicer[1 : self._along])
        waiting = self._held.setdefault(column, [])
        if self._turn != (start, column):
            self._turn = (start, column)
            before = waiting.copy()
            waiting.clear()
            for place, rest in before:
                self._add(rest, place, start, complete, waiting)
            del before
        self._add(values, slicer, start, complete, waiting)

    def _add(
        self, values: torch.Tensor, slicer: Any, start: int, complete: int, waiting: list[tuple[Any, torch.Tensor]]
    ) -> None:
        axis = self._along - 1 + values.ndim - 3
        planes = values.shape[axis]
        count = min(planes, complete)
        inside = list(slicer)
        inside[self._along] = slice(None)
        for before, piece in self._pieces(start, count):
            to = piece[tuple(inside)]
            to += values.narrow(axis, before, piece.shape[self._along])
        if planes > count:
            rest = values.narrow(axis, count, planes - count)
            # A copy, so that the whole window is released; the weights are the same for all windows.
            waiting.append((slicer, rest.clone() if values.ndim > 3 else rest))
