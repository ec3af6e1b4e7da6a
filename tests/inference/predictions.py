"""Logits as a network makes them of a real head, and nnU-Net's way from them to a segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from transforms.images import brain


def logits(channels: int, shape: tuple[int, ...], *, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """(channels, *shape): each class likes a part of the intensities of a real head, and nothing is quite certain."""
    image = brain(1, shape, seed=seed)[0][0]
    rng = np.random.default_rng(seed)
    liked = np.quantile(image, (np.arange(channels) + 0.5) / channels)
    noise = rng.standard_normal((channels, *shape), dtype=np.float32)
    return (2 - 8 * (image[None] - liked[:, None, None, None]) ** 2 + noise).astype(dtype)


def class_labels(count: int) -> dict[str, Any]:
    """The labels of dataset.json for `count` classes."""
    return {"background": 0, **{f"class {i}": i for i in range(1, count)}}


def nnunet_export(
    predicted: np.ndarray | torch.Tensor,
    new_shape: Sequence[int],
    *,
    axis: int | None = None,
    labels: dict[str, Any] | None = None,
    regions_class_order: Sequence[int] | None = None,
    bbox: Sequence[Sequence[int]] | None = None,
    shape: Sequence[int] | None = None,
    transpose_backward: Sequence[int] = (0, 1, 2),
    return_probabilities: bool = False,
) -> Any:
    """What nnU-Net exports, with plans that say no more than is asked here."""

    def resampling(data: Any, size: Any, current: Any, new: Any) -> Any:
        data = data.numpy() if isinstance(data, torch.Tensor) else data
        return resample_data_or_seg(data, size, axis=axis, order=1, do_separate_z=axis is not None)

    plans = SimpleNamespace(transpose_forward=tuple(np.argsort(transpose_backward)), transpose_backward=transpose_backward)
    properties = {
        "spacing": (1.0, 1.0, 1.0),
        "shape_after_cropping_and_before_resampling": tuple(new_shape),
        "shape_before_cropping": tuple(new_shape if shape is None else shape),
        "bbox_used_for_cropping": [[0, size] for size in new_shape] if bbox is None else bbox,
    }
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        predicted,
        plans,
        SimpleNamespace(spacing=(1.0, 1.0, 1.0), resampling_fn_probabilities=resampling),
        LabelManager(labels or class_labels(len(predicted)), regions_class_order),
        properties,
        return_probabilities=return_probabilities,
        num_threads_torch=1,
    )
