"""What `predict_volume` and `grid` are given: arrays, sizes and numbers. What does not fit is one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...settings import Kind, whole_number

__all__ = ["check_step", "sizes_of", "voxels_of", "whole_numbers"]

_STEP = Kind("STEP", "a part of the patch size above 0 and at most 1", float, lambda value: 0 < value <= 1)


def voxels_of(image: Any, name: str = "image") -> torch.Tensor:
    """Return an image as a tensor of torch's own class. Raises ValueError if it is none of real numbers."""
    try:
        volume = torch.as_tensor(image if isinstance(image, torch.Tensor) else np.asarray(image)).detach()
    except (TypeError, ValueError, RuntimeError):  # texts, objects, another byte order
        found = getattr(image, "dtype", type(image).__name__)
        raise ValueError(f"[{name}] expected an array or a tensor of real numbers, got {found}") from None
    if volume.is_complex() or volume.is_quantized or volume.layout is not torch.strided:
        layout = "" if volume.layout is torch.strided else f"{str(volume.layout).removeprefix('torch.')} "
        raise ValueError(f"[{name}] expected an array or a tensor of real numbers, got {layout}{volume.dtype}")
    return volume.as_subclass(torch.Tensor)  # without what MONAI notes beside it


def check_step(step: Any) -> None:
    """Raise ValueError if windows cannot be so far apart."""
    _STEP.check("step", step)


def whole_numbers(name: str, given: Sequence[int]) -> tuple[int, ...]:
    """Return some whole numbers. Raises ValueError for anything else."""
    try:
        return tuple(whole_number(n) for n in given)
    except (TypeError, ValueError):
        raise ValueError(f"[{name}] expected whole numbers, got {given!r}") from None


def sizes_of(name: str, given: Sequence[int]) -> tuple[int, ...]:
    """Return two or three sizes. Raises ValueError for anything else."""
    try:
        sizes = tuple(int(n) for n in given)
        if len(sizes) in (2, 3) and all(n > 0 for n in sizes) and all(n == m for n, m in zip(sizes, given, strict=True)):
            return sizes
    except (TypeError, ValueError):
        pass
    raise ValueError(f"[{name}] expected 2 or 3 whole numbers above 0, got {given!r}")
