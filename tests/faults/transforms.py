"""Transforms of a user's that go wrong."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform


class Failing(BasicTransform):
    """Raises at the third sample and every third after it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def apply(self, data_dict: Any, **params: Any) -> Any:
        self.calls += 1
        if self.calls % 3 == 0:
            raise KeyError("what the user did wrong")
        return data_dict


class Reshaping(ImageOnlyTransform):
    """Gives back less than a patch, but not to the first sample."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        self.calls += 1
        return img[:, 1:] if self.calls > 3 else img


class Waiting(BasicTransform):
    """Waits as long as it is told to."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self.seconds = seconds

    def apply(self, data_dict: Any, **params: Any) -> Any:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            time.sleep(0.01)
        return data_dict


class Blocked(BasicTransform):
    """Once `blocked` is set it never comes back, and hears nothing: a call that does not return to Python."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked = False

    def apply(self, data_dict: Any, **params: Any) -> Any:
        if self.blocked:
            time.sleep(1e6)
        return data_dict


class Drawing(ImageOnlyTransform):
    """Has a random number of its own."""

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        return {"shift": float(np.random.uniform())}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        return img + params["shift"]
