"""The shapes of blocks and chunks of a `.b2nd` file, by nnU-Net's rules: without nnU-Net."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["blocks_and_chunks"]

BLOCK_BYTES = 128 * 1024
CHUNK_BYTES = 6 * 1024**2
MOST_PATCHES = 1.5
"""A chunk is at most this many times as long as a patch, along each axis."""


def blocks_and_chunks(
    shape: Sequence[int], patch_size: Sequence[int], itemsize: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of blocks and of chunks for an array (C, X, Y, Z), as nnU-Net's `comp_blosc2_params` does.

    A patch then touches few blocks, and a chunk few patches. patch_size: three sizes, or two for patches of a slice.
    itemsize: bytes of a voxel.
    """
    flat = len(patch_size) == 2
    patch = [1] * (3 - len(patch_size)) + [int(size) for size in patch_size]
    image = [int(size) for size in shape[1:]]
    target = [max(1, min(size, math.floor(MOST_PATCHES * wanted))) for size, wanted in zip(image, patch, strict=True)]

    block = [min(_power_from(wanted), size) for wanted, size in zip(patch, image, strict=True)]
    while math.prod(block) * itemsize > BLOCK_BYTES:
        # The axis that covers the most of what is wanted; among equals the last.
        axis = max((axis for axis in range(3) if block[axis] > 1), key=lambda axis: (block[axis] / target[axis], axis))
        block[axis] = _power_from(block[axis]) // 2

    chunk = list(block)
    growing = [axis for axis in range(3) if patch[axis] > 1 and not (flat and axis == 0)]
    while True:
        larger = []
        for axis in growing:
            size = min(chunk[axis] + block[axis], target[axis])
            voxels = math.prod(chunk) // chunk[axis] * size
            if size > chunk[axis] and voxels * itemsize <= CHUNK_BYTES:
                # The axis that covers the least of what is wanted; among equals the one of the largest image.
                larger.append((chunk[axis] / target[axis], -image[axis], axis, size))
        if not larger:
            return (1, *block), (1, *chunk)
        _, _, axis, size = min(larger)
        chunk[axis] = size


def _power_from(size: int) -> int:
    """The smallest power of two that is not smaller."""
    return 1 << (size - 1).bit_length()
