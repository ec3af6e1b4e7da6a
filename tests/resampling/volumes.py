"""The middle of a real head, in the shape that a test asks for."""

from __future__ import annotations

import numpy as np

from transforms.images import brain


def head(channels: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """(channels, *shape) float32, crops of the MNI152 template."""
    return brain(channels, shape, seed=seed)[0].copy()


def tissues(channels: int, shape: tuple[int, ...], labels: int = 6, seed: int = 0) -> np.ndarray:
    """(channels, *shape) int16, from -1 to `labels` - 1."""
    return brain(channels, shape, labels=labels, segmentation_channels=channels, seed=seed)[1].copy()
