"""Records what batchgeneratorsv2 draws while its own tree is applied, for a replay."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Trace = list[tuple[Any, dict[str, Any]]]


def leaves(tree: Any) -> Iterator[Any]:
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


@contextmanager
def recording(tree: Any) -> Iterator[Trace]:
    """Inside, every leaf of the tree notes the parameters of each application, in order."""
    trace: Trace = []
    found = list(leaves(tree))

    def record(leaf: Any) -> None:
        draw = type(leaf).get_parameters

        def noting(**data: Any) -> dict[str, Any]:
            parameters = draw(leaf, **data)
            trace.append((leaf, copy.copy(parameters)))
            return parameters

        leaf.get_parameters = noting

    for leaf in found:
        record(leaf)
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
