"""Notes what batchgeneratorsv2 draws while it applies its own transforms, for `Pipeline.replay`."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["Trace", "apply_recorded", "leaves", "recording", "seed_all"]

Trace = list[tuple[Any, dict[str, Any]]]


def leaves(tree: Any) -> Iterator[Any]:
    """The leaf transforms of a tree, in the tree's order."""
    if hasattr(tree, "transforms"):
        children = tree.transforms
    elif hasattr(tree, "list_of_transforms"):
        children = tree.list_of_transforms
    elif type(tree).__name__ == "RandomTransform":
        children = [tree.transform]
    else:
        yield tree
        return
    for child in children:
        yield from leaves(child)


def _noting(leaf: Any, trace: list[tuple[Any, dict[str, Any]]]) -> Callable[..., dict[str, Any]]:
    draw = type(leaf).get_parameters

    def note(**data: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = draw(leaf, **data)
        trace.append((leaf, copy.copy(parameters)))
        return parameters

    return note


@contextmanager
def recording(tree: Any) -> Iterator[list[tuple[Any, dict[str, Any]]]]:
    """Inside, every leaf of the tree notes the parameters of each application, in order.

    with recording(tree) as trace:
        expected = tree(image=image.clone(), segmentation=segmentation.clone())
    got = pipeline.replay(trace, image=image, segmentation=segmentation)
    """
    trace: list[tuple[Any, dict[str, Any]]] = []
    found = list(leaves(tree))
    for leaf in found:
        leaf.get_parameters = _noting(leaf, trace)
    try:
        yield trace
    finally:
        for leaf in found:
            leaf.__dict__.pop("get_parameters", None)


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def apply_recorded(tree: Any, image: np.ndarray, segmentation: np.ndarray | None, seed: int) -> tuple[dict[str, Any], Trace]:
    """batchgeneratorsv2's result on copies, and what it drew."""
    data: dict[str, Any] = {"image": torch.from_numpy(image.copy())}
    if segmentation is not None:
        data["segmentation"] = torch.from_numpy(segmentation.copy())
    seed_all(seed)
    with recording(tree) as trace, torch.no_grad():
        result = tree(**data)
    return result, trace
