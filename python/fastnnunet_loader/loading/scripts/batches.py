"""The types of batches, for type checkers."""

from __future__ import annotations

from typing import Any, TypedDict

import torch
from typing_extensions import TypeVar

__all__ = ["B", "Batch"]

B = TypeVar("B", default=dict[str, Any])
"""What a loader gives."""


class Batch(TypedDict):
    """A batch of a loader with labels, under the names that `from_folder`, `from_arrays` and `from_dataset` give by default.

    `fl.DataLoader[fl.Batch].from_folder(...)` tells a type checker that batches are of this type. A TypedDict of your own says
    the same of other names, of what belongs to cases, and of labels that are a list, as for deep supervision. Nothing is
    checked while a script runs.
    """

    image: torch.Tensor
    """(B, C, X, Y, Z) float32; of slices, (B, C, Y, Z)."""
    label: torch.Tensor
    """(B, C', X, Y, Z) int16, or bool for regions."""
    case: list[str]
    """The name of the case of each sample."""
