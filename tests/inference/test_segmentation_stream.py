"""Logits that come plane by plane become what all of them together become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from predictions import logits

from fastnnunet_loader.prediction.export.segmentation import SegmentationStream, logits_to_segmentation

SHAPE = (14, 11, 17)


def streamed(predicted: Any, along: int, step: int, new_shape: Sequence[int], **options: Any) -> np.ndarray[Any, Any]:
    """Give the planes in slabs, each with what is still needed of the one before."""
    stream = SegmentationStream(len(predicted), predicted.shape[1:], along, new_shape, **options)
    first = end = 0
    planes = predicted.shape[along + 1]
    while end < planes:
        with pytest.raises(ValueError, match="expected all planes of the logits, got a part of them"):
            stream.result()
        end = min(end + step, planes)
        part = tuple(slice(first, end) if axis == along + 1 else slice(None) for axis in range(4))
        needed = stream.add(predicted[part], first)
        assert needed >= max(first, end - 2), "no more than two planes are asked for again"
        first = min(needed, end)
    assert first == planes
    return stream.result()


@pytest.mark.parametrize("along", [0, 1, 2])
@pytest.mark.parametrize("step", [1, 4, 100])
@pytest.mark.parametrize("new_shape", [(23, 8, 17), (7, 25, 30), SHAPE])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_slabs_are_the_whole(along: int, step: int, new_shape: Sequence[int], axis: int | None) -> None:
    predicted = logits(4, SHAPE, dtype=np.float16)
    expected = logits_to_segmentation(predicted, new_shape, axis=axis)
    found = streamed(predicted, along, step, new_shape, axis=axis)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("regions", [None, (3, 1, 2), (1, 700, 2)])
@pytest.mark.parametrize("backward", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("along", [0, 1, 2])
def test_everything_that_is_asked_of_the_whole(along: int, backward: Sequence[int], regions: Any) -> None:
    predicted = torch.from_numpy(logits(3, SHAPE, dtype=np.float16))
    new_shape, shape = (22, 19, 13), [30, 26, 21]
    given: dict[str, Any] = {
        "bbox": [[3, 25], [0, 19], [7, 20]],
        "shape": shape,
        "transpose_backward": backward,
        "regions_class_order": regions,
        "threads": 2,
    }
    whole, slabs = np.full((2, 3, *(shape[axis] for axis in backward)), np.nan, np.float32)
    expected = logits_to_segmentation(predicted, new_shape, probabilities=whole, **given)
    found = streamed(predicted, along, 5, new_shape, probabilities=slabs, **given)
    assert found.shape == expected.shape == tuple(shape[axis] for axis in backward)
    assert np.array_equal(found, expected)
    assert np.isfinite(whole).all()
    assert np.array_equal(slabs, whole)


def test_planes_that_do_not_follow_are_refused() -> None:
    predicted = logits(2, SHAPE)
    stream = SegmentationStream(2, SHAPE, 0, SHAPE)
    stream.add(predicted[:, :5], 0)
    with pytest.raises(ValueError, match="expected"):
        stream.add(predicted[:, 8:], 8)
    with pytest.raises(ValueError, match="expected"):
        stream.add(predicted[:1, 3:], 3)
