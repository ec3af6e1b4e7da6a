"""How far batchgeneratorsv2's own result moves where voxels between its transforms are rounded otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recording import Trace


def four_times_its_own_movement(trace: Trace, image: np.ndarray, segmentation: np.ndarray, channels: int) -> float:
    """Of a voxel in the first `channels` channels, times four.

    After each transform every voxel is moved by up to two of its last bits, at random. The greatest movement of three tries.
    """
    still = _applied(trace, image, segmentation, channels, None)
    moved = [_applied(trace, image, segmentation, channels, np.random.default_rng(seed)) for seed in range(3)]
    differences = [(other - still).abs() for other in moved]
    return 4 * max(float(d[torch.isfinite(d)].max()) for d in differences)


def _applied(trace: Trace, image: np.ndarray, segmentation: np.ndarray, channels: int, rng: Any) -> torch.Tensor:
    data: dict[str, Any] = {"image": torch.from_numpy(image.copy()), "segmentation": torch.from_numpy(segmentation.copy())}
    with torch.no_grad():
        for transform, parameters in trace:
            data = transform.apply(data, **parameters)
            if rng is not None:
                voxels = data["image"][:channels].numpy()
                steps = rng.integers(-2, 3, voxels.shape).astype(np.float32)
                data["image"][:channels] = torch.from_numpy(voxels + steps * np.spacing(np.abs(voxels)))
    return data["image"][:channels].double()
