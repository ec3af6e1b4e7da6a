"""Native conversion of logits to labels, for plans with nnU-Net's defaults: whether it applies, and its arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..originals.stand_ins import AsKnown
from ..preprocessing.resizing import Resizing, native_resizing
from .segmentation import logits_to_segmentation

__all__ = ["Conversion", "same_labels"]


class Conversion:
    """How logits become labels under a plan: in native code, or the reason why not.

    Args:
        plans, configuration, labels: nnU-Net's PlansManager, ConfigurationManager and LabelManager.
        threads: number of threads for one case.
    """

    def __init__(self, plans: Any, configuration: Any, labels: Any, threads: int) -> None:
        self._plans = plans
        self._configuration = configuration
        self.labels = labels
        self._threads = threads
        self.labels_are_default = _is_default(labels)
        resizing = native_resizing(configuration.resampling_fn_probabilities)
        if resizing is not None and (resizing.is_seg or resizing.order != 1 or resizing.order_z != 0):
            resizing = None
        self.resizes = resizing is not None
        """Whether the plan resizes logits as nnU-Net does by default."""
        self.declines = self._declines()
        """Why labels are decided in Python, or "" if native code decides them."""
        self._resizing: Resizing | None = None if self.declines else resizing

    @property
    def native(self) -> bool:
        """Whether native code converts the logits, without resizing all of them first."""
        return self._resizing is not None

    def _declines(self) -> str:
        if not self.labels_are_default:
            return type(self.labels).__name__
        try:
            order = self.labels.regions_class_order if self.labels.has_regions else range(self.heads)
            highest, lowest = max(map(operator.index, order)), min(map(operator.index, order))
        except (TypeError, ValueError):
            return "the order of the regions' classes"  # nnU-Net reports what is wrong
        # nnU-Net chooses the dtype by the number of labels.
        if (highest >= 255) == (len(self.labels.foreground_labels) >= 255) and lowest >= 0 and highest < 2**16:
            return ""
        return f"nnU-Net cuts label {highest if lowest >= 0 else lowest} to the dtype that it chooses by the number of labels"

    @property
    def heads(self) -> int:
        """Channels of the logits."""
        return int(self.labels.num_segmentation_heads)

    def takes(self, logits: npt.NDArray[Any] | torch.Tensor, properties: dict[str, Any]) -> bool:
        """Whether logits and properties have the form that nnU-Net gives them, so that the result equals nnU-Net's."""
        if not self.native or logits.shape[0] != self.heads:
            return False
        try:
            where = self.options(properties)
            sizes, shape = [int(n) for n in where["new_shape"]], [int(n) for n in where["shape"]]
            inside = all(
                lower >= 0 and upper - lower == size and upper <= full
                for (lower, upper), size, full in zip(where["bbox"], sizes, shape, strict=True)
            )
            turned = sorted(where["transpose_backward"]) == [0, 1, 2]
        except (KeyError, IndexError, TypeError, ValueError, AssertionError):
            return False  # nnU-Net reports what is wrong
        return inside and turned and min(sizes) > 0

    def convert(
        self, logits: npt.NDArray[Any] | torch.Tensor, properties: dict[str, Any], probabilities: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[Any]:
        """Return the image's labels (X, Y, Z) and fill `probabilities` (C, X, Y, Z). Only if `native`.

        Raises ValueError and TypeError.
        """
        if logits.shape[0] != self.heads:
            raise ValueError(f"expected logits of {self.heads} classes or regions, got {logits.shape[0]}")
        return logits_to_segmentation(logits, probabilities=probabilities, **self.options(properties))

    def deciding_as(self, properties: dict[str, Any]) -> Callable[[Any, Sequence[int]], npt.NDArray[Any]]:
        """Return a function from (logits, shape) to labels of that shape, in the network's order of axes. Only if `native`."""
        assert self._resizing is not None
        _, current = self._spacings(properties)
        options = {"axis": self._resizing.axis(current, current), **self._deciding()}
        return lambda logits, shape: logits_to_segmentation(logits, shape, **options)

    def options(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of `logits_to_segmentation` for a case. Only if `native`."""
        assert self._resizing is not None
        spacing, current = self._spacings(properties)
        return {
            "new_shape": properties["shape_after_cropping_and_before_resampling"],
            "axis": self._resizing.axis(current, spacing),
            "bbox": properties["bbox_used_for_cropping"],
            "shape": properties["shape_before_cropping"],
            "transpose_backward": self._plans.transpose_backward,
            **self._deciding(),
        }

    def probabilities_shape(self, properties: dict[str, Any]) -> tuple[int, ...]:
        """Return the shape (C, X, Y, Z) of the probabilities that nnU-Net writes for the image."""
        sizes = properties["shape_before_cropping"]
        return (self.heads, *(int(sizes[axis]) for axis in self._plans.transpose_backward))

    def _deciding(self) -> dict[str, Any]:
        order = self.labels.regions_class_order if self.labels.has_regions else None
        return {"regions_class_order": order, "threads": self._threads}

    def _spacings(self, properties: dict[str, Any]) -> tuple[list[float], list[float]]:
        """Return the spacings of the image and of the logits in mm, in the network's order of axes."""
        spacing = [float(properties["spacing"][axis]) for axis in self._plans.transpose_forward]
        current = [float(n) for n in self._configuration.spacing]
        return spacing, current if len(current) == 3 else [spacing[0], *current]


def same_labels(one: Any, other: Any) -> bool:
    """Whether two label managers are nnU-Net's own and make the same decisions."""
    return one is other or (
        _is_default(one)
        and _is_default(other)
        and one.label_dict == other.label_dict
        and one.regions_class_order == other.regions_class_order
        and one.has_regions == other.has_regions
    )


_known: AsKnown | None = None


def _is_default(labels: Any) -> bool:
    """Whether this is nnU-Net's own LabelManager, unchanged, with softmax or sigmoid."""
    global _known
    from nnunetv2.utilities.helpers import softmax_helper_dim0
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    if type(labels) is not LabelManager:
        return False
    if _known is None:
        _known = AsKnown(classes=(LabelManager,))
    hidden = [name for name in vars(labels) if name in vars(LabelManager)]  # methods replaced on this object alone
    return bool(_known) and not hidden and labels.inference_nonlin in (torch.sigmoid, softmax_helper_dim0)
