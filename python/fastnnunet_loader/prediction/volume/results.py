"""What becomes of the planes of a volume: logits, probabilities or labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ..export.segmentation import SegmentationStream
from ..sliding_window.waiting import Planes

__all__ = ["OUTPUTS", "Output", "Result"]

Output = Literal["logits", "probabilities", "labels"]
OUTPUTS = ("logits", "probabilities", "labels")
_MANY = 255  # labels from here on need two bytes


class _Logits:
    """Takes planes as they are."""

    def __init__(self, to: torch.Tensor, along: int) -> None:
        self._to = to
        self._axis = along + 1

    def add(self, logits: torch.Tensor, first: int) -> int:
        """Copy planes; none is needed again."""
        count = logits.shape[self._axis]
        self._to.narrow(self._axis, first, count).copy_(logits)
        return first + count


class Result:
    """The result of one volume.

    Args:
        output: what it is.
        size: (X, Y, Z) of the image.
        along: the axis of the planes.
        shape: (X, Y, Z) of the result.
        axis: of thick slices, or None.
        regions: the label of each head, or None for classes.
        out: where logits or probabilities are written, or None.
        flat: the first axis was added to a 2D image.
        threads: that decide labels.
    """

    def __init__(
        self,
        output: Output,
        size: Sequence[int],
        along: int,
        shape: Sequence[int],
        axis: int | None,
        regions: Sequence[int] | None,
        out: Any,
        flat: bool,
        threads: int | None,
    ) -> None:
        self._output, self._size, self._along, self._shape = output, tuple(size), along, tuple(shape)
        self._axis, self._regions, self._out, self._flat, self._threads = axis, regions, out, flat, threads
        self._stream: SegmentationStream | None = None
        self._values: torch.Tensor | None = None

    def bytes(self, heads: int) -> int:
        """Return the bytes that the result takes, without those of `out`."""
        voxels = math.prod(self._shape)
        labels = voxels * (2 if self._most(heads) >= _MANY else 1)
        if self._output == "labels":
            return labels
        values = 0 if self._out is not None else heads * voxels * (2 if self._output == "logits" else 4)
        return values + (labels if self._output == "probabilities" else 0)

    def _most(self, heads: int) -> int:
        return heads if self._regions is None else max(self._regions)

    def begin(self, heads: int) -> Planes:
        """Return what takes the planes, also again if the prediction begins again."""
        if self._regions is not None and len(self._regions) != heads:
            raise ValueError(
                f"[regions_class_order] expected {heads} labels, as the network has heads, got {len(self._regions)}"
            )
        if self._output == "logits":
            self._values = self._place(heads, torch.float16)
            return _Logits(self._values, self._along)
        if heads == 1 and self._regions is None:
            raise ValueError(
                f"[network] expected two heads or more for {self._output} of classes, got one; for one sigmoid, "
                "pass regions_class_order=(1,)"
            )
        probabilities: npt.NDArray[np.float32] | None = None
        if self._output == "probabilities":
            self._values = self._place(heads, torch.float32)
            probabilities = self._values.numpy()
        self._stream = SegmentationStream(
            heads,
            self._size,
            self._along,
            self._shape,
            axis=self._axis,
            regions_class_order=self._regions,
            probabilities=probabilities,
            threads=self._threads,
        )
        return self._stream

    def _place(self, heads: int, dtype: torch.dtype) -> torch.Tensor:
        """Return `out`, or new memory, as (heads, X, Y, Z)."""
        if self._out is None:
            return torch.empty((heads, *self._shape), dtype=dtype)
        shape = (heads, *(self._shape[1:] if self._flat else self._shape))
        given = torch.from_numpy(self._out) if isinstance(self._out, np.ndarray) else self._out
        right = isinstance(given, torch.Tensor) and tuple(given.shape) == shape and given.dtype is dtype
        if not right or given.device.type != "cpu" or not given.is_contiguous():
            found = f"{tuple(given.shape)} of {given.dtype}" if isinstance(given, torch.Tensor) else type(given).__name__
            raise ValueError(f"[out] expected contiguous memory of the CPU, {shape} of {dtype}, got {found}")
        return given[:, None] if self._flat else given

    def get(self, as_array: bool) -> Any:
        """Return the result, as an array or a tensor."""
        if self._out is not None:
            return self._out
        if self._output == "labels":
            assert self._stream is not None
            labels = self._stream.result()
            labels = labels[0] if self._flat else labels
            return labels if as_array else torch.from_numpy(labels)
        assert self._values is not None
        values = self._values[:, 0] if self._flat else self._values
        return values.numpy() if as_array else values
