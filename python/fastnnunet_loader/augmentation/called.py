"""Transforms of MONAI and TorchIO as batchgeneratorsv2's tree calls them: in Python, with random numbers of the sample."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import torch

__all__ = ["called_monai", "called_torchio"]

_SEEDS = 2**32
_TARGET = "regression_target"

Made = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""Image, labels and regression target."""


Along = Literal["alone", "along"] | None


class _Called(ABC):
    """A transform of another library on a sample, a dictionary with 'image' and 'segmentation'.

    It may have a 'regression_target', if `regression_target` says that the transform leaves it alone, or moves it along with
    the image; None says neither.
    """

    regression_target: Along = None

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
        image, changed, target = self._called(
            data["image"], None if labels is None else labels.clamp(min=0), data.get("regression_target")
        )
        data["image"] = image
        if target is not None:
            data["regression_target"] = target
        if labels is not None and changed is not None:
            data["segmentation"] = changed.round().to(labels.dtype) if changed.is_floating_point() else changed.to(labels.dtype)
        return data

    @abstractmethod
    def _called(self, image: torch.Tensor, labels: torch.Tensor | None, target: torch.Tensor | None) -> Made:
        """Return image, labels and target as the library's transform makes them."""


class _CalledMonai(_Called):
    """A dictionary transform of MONAI.

    It keeps what it draws in its attributes, and several threads may be at work: each call has a copy, whose generator is
    seeded by the sample's random numbers.
    """

    def _called(self, image: torch.Tensor, labels: torch.Tensor | None, target: torch.Tensor | None) -> Made:
        transform = copy.deepcopy(self.transform)
        if hasattr(transform, "set_random_state"):
            transform.set_random_state(seed=int(np.random.randint(_SEEDS, dtype=np.int64)))
        given = {self.image_key: image}
        if labels is not None and self.label_key is not None:
            given[self.label_key] = labels
        made = transform(given)
        if not isinstance(made, dict):
            raise TypeError(f"[{type(transform).__name__}] expected one sample from it, got {type(made).__name__}")
        return _plain(made[self.image_key]), _plain(made[self.label_key]) if self.label_key in given else None, target


class _CalledTorchio(_Called):
    """A transform of TorchIO. It draws from torch's generator, which is the sample's while it runs."""

    def _called(self, image: torch.Tensor, labels: torch.Tensor | None, target: torch.Tensor | None) -> Made:
        import torchio

        flat = image.ndim == 3  # TorchIO's images are (C, X, Y, 1)
        subject = {self.image_key: torchio.ScalarImage(tensor=image[..., None].clone() if flat else image.clone())}
        if labels is not None and self.label_key is not None:
            subject[self.label_key] = torchio.LabelMap(tensor=labels[..., None].clone() if flat else labels.clone())
        if target is not None:
            subject[_TARGET] = torchio.ScalarImage(tensor=target[..., None].clone() if flat else target.clone())
        made = self.transform(torchio.Subject(subject))
        changed = {key: made[key].data[..., 0] if flat else made[key].data for key in subject}
        return changed[self.image_key], changed.get(self.label_key or ""), changed.get(_TARGET)


def called_monai(transform: Any, image_key: str, label_key: str | None) -> Any:
    """Return an object that calls a dictionary transform of MONAI. Its class has the transform's name, for descriptions."""
    along = "alone" if _only_intensities(transform) else None
    members = {"regression_target": along}
    return type(type(transform).__name__, (_CalledMonai,), members)(transform, image_key, label_key)


def called_torchio(transform: Any, image_key: str, label_key: str | None) -> Any:
    """Return an object that calls a transform of TorchIO. Its class has the transform's name, for descriptions."""
    from torchio.transforms import IntensityTransform, SpatialTransform

    along: Along = None
    if isinstance(transform, IntensityTransform):
        along = "alone"
    elif isinstance(transform, SpatialTransform) and transform.include is None and not transform.exclude:
        along = "along"
    members = {"regression_target": along}
    return type(type(transform).__name__, (_CalledTorchio,), members)(transform, image_key, label_key)


def _only_intensities(transform: Any) -> bool:
    """Whether a transform of MONAI, or each that it holds, moves nothing."""
    kind = type(transform)
    if kind.__module__.startswith("monai.") and kind.__name__ in ("Compose", "OneOf"):
        return all(map(_only_intensities, transform.transforms))
    return kind.__module__.startswith("monai.transforms.intensity.")


def _plain(value: Any) -> torch.Tensor:
    """Return a tensor of torch's own class, without what MONAI notes beside it."""
    tensor = torch.as_tensor(value)
    as_tensor = getattr(tensor, "as_tensor", None)
    return tensor if as_tensor is None else as_tensor()
