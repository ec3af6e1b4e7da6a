"""A trainer of one's own, with other augmentation and another loss.

    export nnUNet_extTrainer=examples/custom_trainer
    fastnnunet train DATASET CONFIGURATION FOLD -tr nnUNetTrainerGentle

nnU-Net looks for trainers in the folders that nnUNet_extTrainer names, in a file with the name of the class.
"""

import os
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class Gradient(ImageOnlyTransform):
    """Adds a ramp along one axis, as a coil does. It has no native version, so it runs in Python, on the loader's threads."""

    def get_parameters(self, image: torch.Tensor, **_: Any) -> dict[str, Any]:
        """Draw the axis and the height of the ramp, in the image's units."""
        return {"axis": int(torch.randint(1, image.ndim, ())), "height": float(torch.empty(()).uniform_(-0.5, 0.5))}

    def _apply_to_image(self, img: torch.Tensor, axis: int, height: float, **_: Any) -> torch.Tensor:
        """Return an image of the same shape, (C, X, Y, Z) or (C, X, Y)."""
        shape = [1] * img.ndim
        shape[axis] = img.shape[axis]
        return img + torch.linspace(-height, height, img.shape[axis]).reshape(shape)


class nnUNetTrainerGentle(nnUNetTrainer):
    """No gamma, a gradient instead; and Dice counts twice as much as cross-entropy."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("EPOCHS", "1000"))
        self.num_iterations_per_epoch = int(os.environ.get("ITERATIONS", "250"))
        self.num_val_iterations_per_epoch = min(50, self.num_iterations_per_epoch)

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> BasicTransform:
        """Return nnU-Net's transforms without gamma, and with a gradient in every fifth sample."""
        default = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        kept = [t for t in default.transforms if not isinstance(getattr(t, "transform", t), GammaTransform)]
        # The last transforms turn the segmentation into targets; the gradient comes before, and sees the image only.
        return ComposeTransforms([*kept[:-2], RandomTransform(Gradient(), 0.2), *kept[-2:]])

    def _build_loss(self) -> torch.nn.Module:
        loss = super()._build_loss()
        # With deep supervision the loss is wrapped, once for each resolution.
        getattr(loss, "loss", loss).weight_dice = 2
        return loss
