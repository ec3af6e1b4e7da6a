"""batchgeneratorsv2's own result on real images, and what it drew for it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from fastnnunet_loader.transforms.recording import leaves, recording

__all__ = ["Trace", "apply_recorded", "leaves", "recording", "seed_all"]

Trace = list[tuple[Any, dict[str, Any]]]


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
