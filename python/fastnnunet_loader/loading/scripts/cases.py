"""The cases of a loader as a data set of whole volumes, for validation and for looking at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ... import _core
from ..reading.patches import read_patch
from ..reading.source import Source

__all__ = ["Cases"]


class Cases(Sequence[dict[str, Any]]):
    """Whole volumes, read when they are asked for: no patch, no transform.

    An item is a dictionary with the keys of the loader's batches: image (C, X, Y, Z) float32, label (C', X, Y, Z) int16,
    regression target (C", X, Y, Z) float32, the name of the case, and what belongs to the case. 2D images are (C, 1, Y, Z).
    """

    def __init__(self, source: Source, located: Callable[[_core.CaseFiles], _core.CaseFiles]) -> None:
        self._source = source
        self._located = located  # with the paths that its files are read from

    def __len__(self) -> int:
        return len(self._source.cases)

    def __getitem__(self, number: Any) -> Any:
        """Read the case of this number.

        Raises:
            IndexError: there is no such case.
            StorageError: a file of the case cannot be read.
        """
        if isinstance(number, slice):
            return [self[at] for at in range(len(self))[number]]
        case, keys = self._located(self._source.cases[number]), self._source.keys
        shape = _core.open_volume(case.image, "data").shape[1:]
        patch = read_patch(case, False, (0, 0, 0), shape, 3)
        item: dict[str, Any] = {keys.image: torch.from_numpy(patch.image)}
        if len(patch.segmentation):
            item[keys.label] = torch.from_numpy(patch.segmentation)
        if patch.target is not None:
            item[keys.target] = torch.from_numpy(patch.target)
        item[keys.case] = case.name
        return {**item, **{name: values[number] for name, values in self._source.per_case.items()}}
