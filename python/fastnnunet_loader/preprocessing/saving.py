"""The files of a preprocessed case, as nnU-Net's nnUNetDatasetBlosc2 writes them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core

__all__ = ["save_case"]


def save_case(
    folder: Path,
    name: str,
    image: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int16],
    properties: dict[str, Any],
    patch_size: tuple[int, ...],
    threads: int,
) -> None:
    """Write NAME.b2nd, NAME_seg.b2nd and NAME.pkl with nnU-Net's codec, chunks, blocks and filters.

    image: (C, X, Y, Z). labels: (1, X, Y, Z).
    """
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

    for array, ending in ((image, ".b2nd"), (labels, "_seg.b2nd")):
        blocks, chunks = comp_blosc2_params(array.shape, patch_size, array.itemsize)
        file = folder / f"{name}{ending}"
        packed = _core.pack_b2nd(str(file), array, chunks=chunks, blocks=blocks, threads=threads)
        with file.open("wb") as stream:
            stream.write(packed)
    with (folder / f"{name}.pkl").open("wb") as stream:
        pickle.dump(properties, stream)
