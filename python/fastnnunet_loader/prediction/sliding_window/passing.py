"""The windows of one image in order of their places, and the planes that are complete after each place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from .passage import Passage
from .sums import OrderedSums, Sums
from .waiting import Waiting

__all__ = ["pass_over", "windows_by_start"]


def windows_by_start(passage: Passage, slicers: Iterable[Any]) -> dict[int, list[Any]]:
    """Return the windows of each place of the passage; those of one place stay in nnU-Net's order.

    slicers: of (C, X, Y, Z), a slice for each axis, or an index for the axis of a 2D network's planes.
    """
    windows: dict[int, list[Any]] = {start: [] for start in passage.starts}
    for slicer in slicers:
        at = slicer[passage.along + 1]
        windows[at if isinstance(at, int) else at.start].append(slicer)
    return windows


def pass_over(
    passage: Passage,
    windows: dict[int, list[Any]],
    predict: Callable[[int, list[Any]], Iterator[torch.Tensor]],
    weight: torch.Tensor,
    heads: int,
    folds: int,
    device: torch.device,
    waiting: Waiting,
) -> None:
    """Predict all windows, and hand complete planes over.

    Args:
        passage: the order of places.
        windows: of `windows_by_start`.
        predict: gives the logits (heads, *patch) on `device` of a fold's windows, in their order, multiplied by the weights.
        weight: (*patch) in half precision on `device`, of the voxels of a window.
        heads: channels of the logits.
        folds: number of networks; their logits are averaged.
        device: where sums are kept.
        waiting: takes the planes.
    """
    kind = Sums if passage.in_order else OrderedSums
    sums = [kind(passage, heads, device) for _ in range(passage.sums(folds))]
    weights = kind(passage, 1, device)
    for start, following in zip(passage.starts, (*passage.starts[1:], None), strict=True):
        complete = passage.extent if following is None else following - start
        for slicer in windows[start]:
            weights.add(weight, slicer, start, complete)
        for fold in range(folds):
            kept = sums[fold % len(sums)]
            for slicer, prediction in zip(windows[start], predict(fold, windows[start]), strict=True):
                kept.add(prediction, slicer, start, complete)
                del prediction
            if len(sums) < folds:  # the next fold begins with nothing in the same sums
                kept.take(start, complete, weights, waiting.place(complete), add=fold > 0)
        step = passage.step(folds)
        for first in range(start, start + complete, step):
            count = min(step, start + complete - first)
            place = waiting.place(count)
            if len(sums) == folds:
                for fold, kept in enumerate(sums):
                    kept.take(first, count, weights, place, add=fold > 0)
            if folds > 1:
                place /= folds
            waiting.put(count, last=following is None and first + count == start + complete)
        weights.clear(start, complete)
