"""What cannot be is refused by an error that names the transform, the parameter, what was expected and what was given.

The table has, for every leaf transform that has parameters, one of a replay that does not fit; for the others a setting or
an input. Inputs stay as they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import test_properties as bgv2  # has every leaf transform
from test_properties import EXAMPLES

import fastnnunet_loader as fl
from fastnnunet_loader.transforms.pipeline import DrawnParameters

NAN = float("nan")
KERNEL = {"scale": 3.0, "same_for_all_channels": False}

# transform, parameter of the replay, value, what the error says of it
REPLAYED: list[tuple[Any, str, Any, str]] = [
    (bgv2.ApplyRandomBinaryOperatorTransform([0, 1]), "operators", [0.0], "an operator and a size for each of 2 channels"),
    (bgv2.BlankRectangleTransform(3, 0, 1), "lower", [[0.0, 0.0, 0.0]], "'lower' and 'upper' for each of 2"),
    (bgv2.BrightnessAdditiveTransform(0, 1, False), "shift", [1.0], "'shift' for each of 2 channels, got 1"),
    (bgv2.BrightnessGradientAdditiveTransform(max_strength=2.0, **KERNEL), "strengths", [1.0], "'strengths'"),
    (bgv2.ChannelMisalignmentTransform((0,), (0.1,) * 3, 1, (5,) * 3, "deg", 1, (1,) * 3, 1),
     "center_location_in_pixels", [4.0, 4.0, NAN], "'center_location_in_pixels', got nan"),
    (bgv2.ContrastTransform((0.5, 2), True, False), "multipliers", [1.0], "'multipliers' for each of 2 channels.*, got 1"),
    (bgv2.CutOffOutliersTransform(1, 99), "lower", [-1.0, 1.0], "percentiles between 0 and 100, got -1"),
    (bgv2.GammaTransform((0.5, 2), 0, False, 1, 1), "gamma", [1.0], "'gamma' for each of 2 channels.*, got 1"),
    (bgv2.GammaTransform((0.5, 2), 0, False, 1, 1), "retain_stats", [1.0, 2.0], "'retain_stats' of 0 or 1, got 2"),
    (bgv2.GaussianBlurTransform(0.5), "sigmas", [NAN] * 6, "'sigmas' between 0 and .*, got nan"),
    (bgv2.GaussianNoiseTransform((0, 1)), "sigmas", [], "'sigmas' for each of 2 channels.*, got 0"),
    (bgv2.InvertImageTransform(1), "apply_to_channel", [0.5], "'apply_to_channel' to be whole numbers, got 0.5"),
    (bgv2.LocalContrastTransform(new_contrast=2.0, **KERNEL), "contrasts", [1.0], "'contrasts'"),
    (bgv2.LocalGammaTransform(gamma=2.0, **KERNEL), "gammas", [1.0], "'gammas'"),
    (bgv2.LocalSmoothingTransform(**KERNEL), "sigma", NAN, "'sigma' of at most .*, got nan"),
    (bgv2.MedianFilterTransform(3), "filter_sizes", [3.0, 0.0], "a filter size between 1 and .*, got 0"),
    (bgv2.MirrorTransform((0, 1, 2)), "axes", [3.0], "'axes' below 3, got 3"),
    (bgv2.MultiplicativeBrightnessTransform((1, 2), False), "multipliers", "two", "'multipliers' to be numbers, got a string"),
    (bgv2.RemoveRandomConnectedComponentFromOneHotEncodingTransform([0, 1]), "component_u", [1.0, 0.0], r"in \[0, 1\), got 1"),
    (bgv2.RicianNoiseTransform((0.1, 0.2)), "variance", -1.0, "'variance' of at least 0, got -1"),
    (bgv2.Rot90Transform(1), "axis_combinations", [[0.0, 1.0]], "'axis_combinations' from 1 to 3, got 0"),
    (bgv2.SharpeningTransform(0.5), "strengths", [0.5], "'strengths' for each of 2 channels, got 1"),
    (bgv2.SimulateLowResolutionTransform(0.5, False, False, None), "scales", [NAN] * 6, "'scales' that make .* of 8, got nan"),
    (bgv2.SpatialTransform((6, 6, 6), 0, False, p_rotation=1), "affine", [[NAN] * 3] * 3, "'affine' to be finite, got"),
    (bgv2.TransposeAxesTransform({0, 1, 2}), "axis_order", [0.0, 1.0, 1.0, 2.0], "'axis_order' of 0 and then 1 to 3"),
]  # fmt: skip

# transform, what the error says where an image of 2 channels, with a segmentation of 2, does not suit it
SETTINGS: list[tuple[Any, str]] = [
    (bgv2.ConvertSegmentationToRegionsTransform([1], 2), "'channel_in_seg' below 2, got 2"),
    (bgv2.Convert2DTo3DTransform(), "Convert3DTo2DTransform"),
    ([bgv2.Convert3DTo2DTransform(), bgv2.Convert3DTo2DTransform()], "a 3D sample, got a 2D one"),
    (bgv2.DownsampleSegForDSTransform([0.01]), "at least one of 8 voxels, got"),
    (bgv2.MaskImageTransform([2]), "'apply_to_channels' below 2, got 2"),
    (bgv2.MoveChannelsTransform(5, "segmentation", "image"), "'channel_ids' below 2, got 5"),
    (bgv2.MoveSegAsOneHotToDataTransform(-3, [1]), "'source_channel_idx' below 2, got -3"),
    (bgv2.RemoveLabelTransform(1, 0, 4), "'segmentation_channels' below 2, got 4"),
]


def test_no_transform_is_missing() -> None:
    last = [t[-1] if isinstance(t, list) else t for t, *_ in [*REPLAYED, *SETTINGS]]
    assert {type(t).__name__ for t in last} == set(EXAMPLES)


def sample() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 8, 8, 8)).astype(np.float32), rng.integers(-1, 4, (2, 8, 8, 8)).astype(np.int16)


def assert_refused(call: Any, name: str, expected: str) -> None:
    image, segmentation = sample()
    with pytest.raises((fl.TransformError, ValueError), match=rf"\[{name}\] expected .*{expected}") as caught:
        call(image=image, segmentation=segmentation)
    # Where the sample is at fault the error has the reason as its cause; shapes are refused before.
    assert isinstance(caught.value.__cause__ or caught.value, (ValueError, TypeError))
    for given, before in zip((image, segmentation), sample(), strict=True):
        assert np.array_equal(given, before)


@pytest.mark.parametrize(
    ("transform", "parameter", "value", "expected"), REPLAYED, ids=[f"{type(t).__name__}-{p}" for t, p, _, _ in REPLAYED]
)
def test_a_parameter_that_does_not_fit(transform: Any, parameter: str, value: Any, expected: str) -> None:
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native
    draws = [pipeline.draw((2, 8, 8, 8), segmentation_channels=2, step=step) for step in range(50)]
    ((_, drawn),) = max(draws, key=lambda trace: len(str(trace[0][1])))
    assert parameter in drawn
    wrong = [(transform, DrawnParameters({**drawn, parameter: value}))]
    assert_refused(lambda **data: pipeline.replay(wrong, **data), type(transform).__name__, expected)


@pytest.mark.parametrize(("transform", "expected"), SETTINGS, ids=[str(n) for n in range(len(SETTINGS))])
def test_a_setting_that_does_not_fit(transform: Any, expected: str) -> None:
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native
    name = type(transform[-1] if isinstance(transform, list) else transform).__name__
    assert_refused(pipeline, name, expected)


@pytest.mark.parametrize("transform", [t for t, *_ in REPLAYED], ids=lambda t: type(t).__name__)
def test_an_image_of_the_wrong_type_or_rank(transform: Any) -> None:
    pipeline = fl.compile_transforms(transform)
    image, segmentation = sample()
    with pytest.raises(TypeError, match=r"\[pipeline\] expected 'image' of dtype float32, got float64"):
        pipeline(image=image.astype(np.float64))
    with pytest.raises(ValueError, match=r"\[pipeline\] expected 'image' of shape .* got \(8, 8\)"):
        pipeline(image=image[0, 0])
    with pytest.raises(ValueError, match="segmentation of the image's shape"):
        pipeline(image=image, segmentation=segmentation[:, :7])
    with pytest.raises(ValueError, match="regression target of the image's shape"):
        pipeline(image=image, segmentation=segmentation, regression_target=image[:, :, :7])
