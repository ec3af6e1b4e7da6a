"""nnU-Net's default trainer with one transform of a user's own, of the kinds that people add: SciPy's, torch's, TorchIO's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class ElasticBySciPy(BasicTransform):
    """An elastic deformation as batchgenerators had it: smooth offsets, `map_coordinates`."""

    def get_parameters(self, **data: Any) -> dict[str, Any]:
        from scipy.ndimage import gaussian_filter

        shape = data["image"].shape[1:]
        noise = np.random.uniform(-1, 1, (3, *shape)).astype(np.float32)
        return {"offsets": np.stack([gaussian_filter(axis, 6, truncate=3) * 60 for axis in noise])}

    def _moved(self, tensor: torch.Tensor, offsets: Any, order: int) -> torch.Tensor:
        from scipy.ndimage import map_coordinates

        grid = np.indices(tensor.shape[1:], np.float32) + offsets
        channels = [map_coordinates(channel, grid, order=order, mode="nearest") for channel in tensor.numpy()]
        return torch.from_numpy(np.stack(channels))

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        return self._moved(img, params["offsets"], 1)

    def _apply_to_segmentation(self, segmentation: torch.Tensor, **params: Any) -> torch.Tensor:
        return self._moved(segmentation, params["offsets"], 0)


class BiasFieldByTorch(ImageOnlyTransform):
    """A smooth multiplicative field, and a smoothing by a 3D convolution."""

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        field = torch.nn.functional.interpolate(
            torch.randn(1, 1, 4, 4, 4), size=img.shape[1:], mode="trilinear", align_corners=True
        )
        kernel = torch.ones(1, 1, 5, 5, 5) / 125
        return torch.nn.functional.conv3d((img * torch.exp(0.3 * field[0]))[:, None], kernel, padding=2)[:, 0]


class GhostingByTorchIO(ImageOnlyTransform):
    """TorchIO's RandomGhosting and RandomBlur."""

    def __init__(self) -> None:
        import torchio

        super().__init__()
        self.transform = torchio.Compose([torchio.RandomGhosting(), torchio.RandomBlur((0.5, 1.0))])

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        result: torch.Tensor = self.transform(img)
        return result


class _WithOwn(nnUNetTrainer):
    own: type

    @classmethod
    def get_training_transforms(cls, *args: Any, **kwargs: Any) -> Any:
        tree = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        tree.transforms.insert(1, cls.own())  # behind the spatial transform
        return tree


class nnUNetTrainerSciPy(_WithOwn):
    own = ElasticBySciPy


class nnUNetTrainerTorch(_WithOwn):
    own = BiasFieldByTorch


class nnUNetTrainerTorchIO(_WithOwn):
    own = GhostingByTorchIO
