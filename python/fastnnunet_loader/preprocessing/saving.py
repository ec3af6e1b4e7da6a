"""The files of a preprocessed case, as nnU-Net's nnUNetDatasetBlosc2 writes them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from .. import _core

__all__ = ["Layout", "save_case"]


Layout = Callable[[tuple[int, ...], tuple[int, ...], int], tuple[Sequence[int], Sequence[int]]]
"""From a shape (C, X, Y, Z), the size of patches and the bytes of a voxel to the shapes of blocks and of chunks."""


def save_case(
    folder: Path,
    name: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    properties: dict[str, Any],
    patch_size: tuple[int, ...],
    layout: Layout,
    threads: int,
) -> None:
    """Write NAME.b2nd, NAME_seg.b2nd and so on, with nnU-Net's codec and filters, and NAME.pkl.

    arrays: of shape (C, X, Y, Z), under what follows the name: "" for the image, "_seg" for labels (1, X, Y, Z).
    """
    for ending, array in arrays.items():
        blocks, chunks = layout(array.shape, patch_size, array.itemsize)
        file = folder / f"{name}{ending}.b2nd"
        packed = _core.pack_b2nd(str(file), array, chunks=chunks, blocks=blocks, threads=threads)
        with file.open("wb") as stream:
            stream.write(packed)
    with (folder / f"{name}.pkl").open("wb") as stream:
        pickle.dump(properties, stream)
