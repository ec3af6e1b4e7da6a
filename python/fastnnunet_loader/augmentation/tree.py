"""A tree of transforms with the sizes of the patches that it takes and gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Augmentation", "checked_size", "enlarged", "initial_patch_size_of", "leaves_of", "require_transforms"]

_QUARTER = np.pi / 2
_LEAST_SCALE = 0.7


@dataclass(frozen=True)
class Augmentation:
    """Transforms of batchgeneratorsv2, and the patches that they take and give.

    It takes the place of a transform in a list or in batchgeneratorsv2's ComposeTransforms, so that others can follow it.
    """

    transforms: Any
    """batchgeneratorsv2's ComposeTransforms."""
    patch_size: tuple[int, ...]
    """What the network gets, in voxels: (X, Y, Z) or (Y, Z)."""
    initial_patch_size: tuple[int, ...]
    """What is cut out of an image, in voxels: large enough to be turned and scaled."""
    mirror_axes: tuple[int, ...] = ()
    """Axes that are mirrored in training; mirroring in inference should have the same."""
    differences: tuple[str, ...] = ()
    """How these transforms differ from those of another library that they stand for, a sentence each."""

    def __call__(self, **sample: Any) -> dict[str, Any]:
        """Call batchgeneratorsv2's transforms, as its own classes do with each other."""
        result: dict[str, Any] = self.transforms(**sample)
        return result


def require_transforms() -> None:
    """Raise ModuleNotFoundError with what to install, if batchgeneratorsv2 is not."""
    try:
        import batchgeneratorsv2  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "[augmentation] expected batchgeneratorsv2, which is not installed: pip install batchgeneratorsv2, or this package "
            "with the extra 'transforms'",
            name="batchgeneratorsv2",
        ) from error


def checked_size(patch_size: Sequence[int]) -> tuple[int, ...]:
    """Return a size of 2 or 3 axes. Raises ValueError for anything else."""
    try:
        patch = tuple(int(n) for n in patch_size)
    except (TypeError, ValueError):
        patch = ()
    if len(patch) not in (2, 3) or any(n < 1 for n in patch):
        raise ValueError(f"[patch_size] expected 2 or 3 whole numbers above 0, got {patch_size!r}")
    return patch


def enlarged(patch_size: Sequence[int], angle: float, least_scale: float, *, keep_first: bool) -> tuple[int, ...]:
    """Return the size of the patch that is cut out, as nnU-Net computes it: the corner is turned around each axis.

    Args:
        patch_size: in voxels.
        angle: the largest, in radians.
        least_scale: the sizes are divided by it.
        keep_first: the first axis keeps its size (pseudo-2D augmentation).
    """
    corner = np.array(patch_size)
    angle = min(_QUARTER, angle)
    size = corner.astype(float)
    planes = [(0, 1)] if len(corner) == 2 else [(1, 2), (2, 0), (0, 1)]
    for a, b in planes:
        turn = np.eye(len(corner))
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        size = np.maximum(size, np.abs(corner @ turn))
    whole = [int(n) for n in size / least_scale]
    if keep_first:
        whole[0] = int(patch_size[0])
    return tuple(whole)


def initial_patch_size_of(transforms: Any, patch_size: Sequence[int]) -> tuple[int, ...]:
    """Return the size of the patch that these transforms should be given to fill a patch of `patch_size`, in voxels.

    It is nnU-Net's formula with the angle and the scale of the tree's SpatialTransform; a quarter turn and 0.7 where they are
    functions. Without such a transform the sizes are equal. An `Augmentation` for this patch has its own.
    """
    patch = tuple(int(n) for n in patch_size)
    angle, scale, folded, found = 0.0, 1.0, False, False
    size = patch
    for leaf in leaves_of(transforms):
        if isinstance(leaf, Augmentation):
            if leaf.patch_size == patch:
                size = tuple(map(max, size, leaf.initial_patch_size))
            continue
        if type(leaf).__name__ == "Convert3DTo2DTransform":
            folded = True
        if type(leaf).__name__ == "SpatialTransform":
            found = True
            if leaf.p_rotation > 0:
                angle = max(angle, _extreme(leaf.rotation, lambda ends: max(map(abs, ends)), _QUARTER))
            if leaf.p_scaling > 0:
                scale = min(scale, _extreme(leaf.scaling, min, _LEAST_SCALE))
    if found:
        size = tuple(map(max, size, enlarged(patch, angle, scale, keep_first=folded)))
    return size


def _extreme(scalar: Any, of: Any, of_function: float) -> float:
    """Of a RandomScalar: a number, a pair or a function, which may tell its bounds."""
    scalar = getattr(scalar, "bounds", scalar)
    if callable(scalar):
        return of_function
    return float(of(scalar) if isinstance(scalar, Sequence) else of([scalar]))


def leaves_of(tree: Any) -> Iterator[Any]:
    """Yield the transforms of a tree that hold no others; an Augmentation is one."""
    if isinstance(tree, Augmentation):
        children: Any = None
    elif isinstance(tree, (list, tuple)):
        children = tree
    else:
        children = getattr(tree, "transforms", None) or getattr(tree, "list_of_transforms", None)
        if children is None and hasattr(tree, "transform"):
            children = [tree.transform]
    if children is None:
        yield tree
        return
    for child in children:
        yield from leaves_of(child)
