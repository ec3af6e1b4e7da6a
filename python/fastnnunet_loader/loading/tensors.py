"""Arrays of the core as tensors, without a copy."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch

__all__ = ["as_tensor"]

_TORCH_TYPES = {  # of the arrays that the core gives; NumPy has no bfloat16
    "<f4": torch.float32,
    "<f8": torch.float64,
    "<f2": torch.float16,
    "<u2": torch.bfloat16,
    "<i8": torch.int64,
    "<i4": torch.int32,
    "<i2": torch.int16,
    "|i1": torch.int8,
    "|u1": torch.uint8,
    "|b1": torch.bool,
}


def as_tensor(array: npt.NDArray[Any], memory: str) -> torch.Tensor:
    """Return a tensor over the memory of an array of a batch, which is "ordinary" or, as the core calls it, torch's."""
    if memory == "ordinary":
        over = torch.from_numpy(array)
        return over.view(torch.bfloat16) if over.dtype is torch.uint16 else over
    # A view of the tensor that torch allocated, and not of its memory: only so does a copy from a part of it, too, keep
    # torch from giving the block out again before the copy is done.
    block: torch.Tensor = torch.ops.fastnnunet_loader.block(array.ctypes.data)
    tensor: torch.Tensor = block.view(_TORCH_TYPES[array.dtype.str]).view(array.shape)
    tensor._batch = array  # type: ignore[attr-defined]  # the batch counts as in use as long as its tensors are there
    return tensor
