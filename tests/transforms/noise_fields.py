"""The noise that a native transform draws, for tests that compare voxels."""

from __future__ import annotations

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform

import fastnnunet_loader as fl

__all__ = ["fields"]


def fields(shape: tuple[int, ...], deviation: float, seed: int) -> list[torch.Tensor]:
    """The noise that a single native transform adds: the real part, and behind it the imaginary one.

    A field depends on the seed and on the transform's place in the tree, not on the transform.
    """
    both = np.zeros((1, 2, int(np.prod(shape))), np.float32)
    noise = fl.compile_transforms(GaussianNoiseTransform((deviation, deviation), 1, True))(image=both, seed=seed)["image"]
    return [part.reshape(shape) for part in noise[0]]
