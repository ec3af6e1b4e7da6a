"""Transforms of MONAI and TorchIO as batchgeneratorsv2's tree calls them: in Python, with random numbers of the sample."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch

__all__ = ["called_monai", "called_torchio"]

_SEEDS = 2**32


class _Called(ABC):
    """A transform of another library on a sample, a dictionary with 'image' and 'segmentation'."""

    def __init__(self, transform: Any, image_key: str, label_key: str | None) -> None:
        self.transform = transform
        self.image_key = image_key
        self.label_key = label_key

    def __repr__(self) -> str:
        return repr(self.transform)

    def __call__(self, **data: Any) -> dict[str, Any]:
        labels = data.get("segmentation")
        if labels is not None and not isinstance(labels, torch.Tensor):
            raise TypeError(f"[{type(self.transform).__name__}] expected labels in one tensor, got {type(labels).__name__}")
        # -1 is what lies outside of the image; other libraries have no such label.
        image, changed = self._called(data["image"], None if labels is None else labels.clamp(min=0))
        data["image"] = image
        if labels is not None and changed is not None:
            data["segmentation"] = changed.round().to(labels.dtype) if changed.is_floating_point() else changed.to(labels.dtype)
        return data

    @abstractmethod
    def _called(self, image: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return image and labels as the library's transform makes them."""


class _CalledMonai(_Called):
    """A dictionary transform of MONAI.

    It keeps what it draws in its attributes, and several threads may be at work: each call has a copy, whose generator is
    seeded by the sample's random numbers.
    """

    def _called(self, image: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        transform = copy.deepcopy(self.transform)
        if hasattr(transform, "set_random_state"):
            transform.set_random_state(seed=int(np.random.randint(_SEEDS, dtype=np.int64)))
        given = {self.image_key: image}
        if labels is not None and self.label_key is not None:
            given[self.label_key] = labels
        made = transform(given)
        if not isinstance(made, dict):
            raise TypeError(f"[{type(transform).__name__}] expected one sample from it, got {type(made).__name__}")
        return _plain(made[self.image_key]), _plain(made[self.label_key]) if self.label_key in given else None


class _CalledTorchio(_Called):
    """A transform of TorchIO. It draws from torch's generator, which is the sample's while it runs."""

    def _called(self, image: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torchio

        flat = image.ndim == 3  # TorchIO's images are (C, X, Y, 1)
        subject = {self.image_key: torchio.ScalarImage(tensor=image[..., None].clone() if flat else image.clone())}
        if labels is not None and self.label_key is not None:
            subject[self.label_key] = torchio.LabelMap(tensor=labels[..., None].clone() if flat else labels.clone())
        made = self.transform(torchio.Subject(subject))
        changed = [made[key].data[..., 0] if flat else made[key].data for key in subject]
        return changed[0], changed[1] if len(changed) > 1 else None


def called_monai(transform: Any, image_key: str, label_key: str | None) -> Any:
    """Return an object that calls a dictionary transform of MONAI. Its class has the transform's name, for descriptions."""
    return type(type(transform).__name__, (_CalledMonai,), {})(transform, image_key, label_key)


def called_torchio(transform: Any, image_key: str, label_key: str | None) -> Any:
    """Return an object that calls a transform of TorchIO. Its class has the transform's name, for descriptions."""
    return type(type(transform).__name__, (_CalledTorchio,), {})(transform, image_key, label_key)


def _plain(value: Any) -> torch.Tensor:
    """Return a tensor of torch's own class, without what MONAI notes beside it."""
    tensor = torch.as_tensor(value)
    as_tensor = getattr(tensor, "as_tensor", None)
    return tensor if as_tensor is None else as_tensor()
