"""VignetteTransform: batchgeneratorsv2's interface in Python, and the same in C++ for fastnnunet-loader.

from vignette_transform import VignetteTransform

class nnUNetTrainerVignette(nnUNetTrainer):
    @staticmethod
    def get_training_transforms(*args, **kwargs):
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        transforms.transforms.append(VignetteTransform((0.1, 0.4)))
        return transforms
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform

import fastnnunet_loader as fl

from ._vignette import vignette

__all__ = ["VignetteTransform"]


class VignetteTransform(ImageOnlyTransform):  # type: ignore[misc]
    """Darkens an image towards its corners.

    Args:
        strength: (lowest, highest), from 0 to 1: what is lost in the farthest corner.
    """

    def __init__(self, strength: tuple[float, float]) -> None:
        super().__init__()
        self.strength = strength

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draws the strength, and the centre as a share of each axis."""
        axes = data_dict["image"].ndim - 1
        return {"strength": float(np.random.uniform(*self.strength)), "centre": np.random.uniform(0.25, 0.75, axes).tolist()}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        shape, centre = img.shape[1:], params["centre"]
        grids = torch.meshgrid(
            *((torch.arange(n, dtype=torch.float64) + 0.5) / n - c for n, c in zip(shape, centre, strict=True)), indexing="ij"
        )
        squares = sum(grid**2 for grid in grids)
        farthest = sum(max(c, 1 - c) ** 2 for c in centre)
        return img.mul_((1 - params["strength"] / farthest * squares).float())


def _numbers(transform: VignetteTransform, parameters: dict[str, Any]) -> list[float]:
    centre = parameters["centre"]
    return [parameters["strength"], *[0.5] * (3 - len(centre)), *centre]


fl.register_transform(VignetteTransform, lambda t: vignette(*t.strength), _numbers)
