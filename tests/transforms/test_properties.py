"""Parity as a property: for every leaf transform, what batchgeneratorsv2 drew gives its result natively (invariant 4).

hypothesis draws sizes, channels, labels, intensities and parameters, the extreme ones too. The profile "fixed" (the default,
tests/conftest.py) always tries the same ones; `--hypothesis-profile=search` looks for new ones.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import batchgeneratorsv2.transforms as bgv2
import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform, MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.intensity.random_clip import CutOffOutliersTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_contrast import LocalContrastTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.local.local_smoothing import LocalSmoothingTransform
from batchgeneratorsv2.transforms.nnunet import random_binary_operator as operators
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial.channel_misalignment import ChannelMisalignmentTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.move_channels import MoveChannelsTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from comparing import assert_images_agree, assert_labels_agree
from hypothesis import assume, event, given
from hypothesis import strategies as st
from local_kernels import note_kernels
from noise_fields import fields
from recording import Trace, apply_recorded, leaves
from strategies import HUGE, KINDS, PLAIN, Draw, images, intervals, probabilities, seeds, segmentations, shapes

import fastnnunet_loader as fl

pytestmark = pytest.mark.filterwarnings(
    r"ignore:std\(\). degrees of freedom is <= 0:UserWarning",  # of one voxel
    "ignore:(invalid value|overflow|divide by zero) encountered:RuntimeWarning",  # of NaN and infinite voxels
)


@dataclass
class Example:
    tree: Any
    image: np.ndarray
    segmentation: np.ndarray | None = None
    record: Callable[[Example, int], tuple[dict[str, Any], Trace]] | None = None
    """Where batchgeneratorsv2 draws something that its parameters do not say."""
    gain: float = 1
    """How much more than the image's own the magnitudes on the way to the result can be."""
    same: Callable[[Example, Trace, dict[str, Any], dict[str, Any]], None] | None = None
    """A comparison of its own: parameters, native result, batchgeneratorsv2's."""
    only_native: tuple[str, ...] = ()
    """What batchgeneratorsv2 fails with where the native transform works (docs/parity.md). Where it fails otherwise, the
    native one has to refuse."""


EXAMPLES: dict[str, Callable[[Draw], Example]] = {}


def example(name: str) -> Callable[[Callable[[Draw], Example]], Callable[[Draw], Example]]:
    def add(function: Callable[[Draw], Example]) -> Callable[[Draw], Example]:
        assert name not in EXAMPLES
        EXAMPLES[name] = function
        return function

    return add


def every_leaf() -> set[str]:
    names = set()
    for module in pkgutil.walk_packages(bgv2.__path__, bgv2.__name__ + "."):
        for name, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, BasicTransform) and cls.__module__ == module.name and not name.startswith("_"):
                names.add(cls.__name__)
    return names


NOT_LEAVES = {
    "BasicTransform",
    "ImageOnlyTransform",
    "SegOnlyTransform",
    "ComposeTransforms",
    "RandomTransform",
    "OneOfTransform",
    "TimedComposeTransforms",  # prints as it goes; runs in Python
}


def test_no_transform_is_missing() -> None:
    assert set(EXAMPLES) == every_leaf() - NOT_LEAVES


def check(case: Example, seed: int) -> None:
    image, segmentation = case.image.copy(), None if case.segmentation is None else case.segmentation.copy()
    pipeline = fl.compile_transforms(case.tree)
    assert pipeline.all_native, pipeline.fallbacks
    try:
        expected, trace = (case.record or record)(case, seed)
    except RuntimeError as error:
        event("batchgeneratorsv2 fails")
        assert_refused_alike(case, pipeline, str(error))
        return
    got = pipeline.replay(trace, image=image, segmentation=segmentation)
    if case.same is not None:
        case.same(case, trace, got, expected)
    else:
        finite = np.isfinite(image)
        largest = case.gain * float(np.abs(image[finite]).max()) if finite.any() else 0
        assert_images_agree(got["image"], expected["image"], largest=largest)
        if segmentation is not None:
            assert_labels_agree(got["segmentation"], expected["segmentation"], 0)
    assert np.array_equal(image, case.image, equal_nan=True)
    assert segmentation is None or np.array_equal(segmentation, case.segmentation)
    changed = case.image.shape != tuple(expected["image"].shape) or not np.array_equal(
        case.image, expected["image"], equal_nan=True
    )
    event("the image changed" if changed else "the image stayed")


def record(case: Example, seed: int) -> tuple[dict[str, Any], Trace]:
    return apply_recorded(case.tree, case.image, case.segmentation, seed)


def assert_refused_alike(case: Example, pipeline: fl.Pipeline, error: str) -> None:
    if any(message in error for message in case.only_native):
        return
    with pytest.raises(fl.TransformError, match=rf"\[{type(case.tree).__name__}\] expected ") as caught:
        for step in range(200):  # what it draws decides whether it can be done
            pipeline(image=case.image, segmentation=case.segmentation, step=step)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("name", sorted(every_leaf() - NOT_LEAVES))
def test_parity(name: str) -> None:
    build = EXAMPLES[name]

    @given(st.data(), seeds)
    def test(data: st.DataObject, seed: int) -> None:
        case = build(data.draw)
        assert name in {type(leaf).__name__ for leaf in leaves(case.tree)}
        check(case, seed)

    test()


# Intensity


def any_image(draw: Draw, kinds: tuple[str, ...] = KINDS, **how: Any) -> np.ndarray:
    return draw(images(draw(shapes(**how)), kinds))


@example("MultiplicativeBrightnessTransform")
def _(draw: Draw) -> Example:
    factors = draw(intervals(-10, 10))
    return Example(MultiplicativeBrightnessTransform(factors, draw(st.booleans()), draw(probabilities)), any_image(draw))


@example("BrightnessAdditiveTransform")
def _(draw: Draw) -> Example:
    low, high = sorted(draw(st.tuples(st.floats(0, 5), st.floats(0, 5))))
    return Example(BrightnessAdditiveTransform(low, high, draw(st.booleans()), draw(probabilities)), any_image(draw))


@example("ContrastTransform")
def _(draw: Draw) -> Example:
    ranges = draw(st.one_of(intervals(0, 20), st.sampled_from([BGContrast((0.75, 1.25)), BGContrast((0.1, 8))])))
    transform = ContrastTransform(ranges, draw(st.booleans()), draw(st.booleans()), draw(probabilities))
    return Example(transform, any_image(draw), gain=20)  # the mean's own rounding is amplified


@example("GammaTransform")
def _(draw: Draw) -> Example:
    transform = GammaTransform(
        draw(st.one_of(intervals(0.05, 8), intervals(0, 0.05))), draw(probabilities), draw(st.booleans()), draw(probabilities),
        draw(probabilities),
    )  # fmt: skip
    return Example(transform, any_image(draw), record=unless_flat)


def unless_flat(case: Example, seed: int) -> tuple[dict[str, Any], Trace]:
    """Not where an exponent of 0 leaves one value: batchgeneratorsv2 then scales a rounding (docs/parity.md). Retained
    statistics scale up what a curve has flattened, and its roundings with it."""
    expected, trace = record(case, seed)
    parameters = trace[0][1]
    if parameters["gamma"] is not None:
        names = ("apply_to_channel", "gamma", "retain_stats", "invert_image")
        for channel, gamma, retain, invert in zip(*(parameters[name] for name in names), strict=True):
            voxels = case.image[channel].astype(np.float64)
            span = np.ptp(voxels)
            assume(not (retain and gamma == 0 and span > 0))
            if retain and 0 < span < np.inf:
                above = voxels.max() - voxels if invert else voxels - voxels.min()
                stretched = voxels.std() / ((above / span) ** float(gamma) * span).std()
                case.gain = max(case.gain, 10 * stretched)
    return expected, trace


@example("InvertImageTransform")
def _(draw: Draw) -> Example:
    return Example(InvertImageTransform(draw(probabilities), draw(probabilities), draw(probabilities)), any_image(draw))


@example("CutOffOutliersTransform")
def _(draw: Draw) -> Example:
    transform = CutOffOutliersTransform(
        draw(intervals(0, 100)), draw(intervals(0, 100)), draw(st.booleans()), draw(probabilities), draw(probabilities)
    )
    return Example(transform, any_image(draw), record=with_several_values, gain=10)


def with_several_values(case: Example, seed: int) -> tuple[dict[str, Any], Trace]:
    """Not where clamping leaves hardly more than one value: batchgeneratorsv2 then scales a rounding (docs/parity.md)."""
    expected, trace = record(case, seed)
    for channel, percentiles, retain in zip(case.image, *trace[0][1].values(), strict=True):
        if retain and percentiles is not None:
            low, high = np.quantile(channel, np.array(percentiles) / 100)
            assume(not np.ptp(np.clip(channel, low, high)) <= 5e-4 * np.abs(channel).max())
    return expected, trace


# Noise


@example("GaussianNoiseTransform")
def _(draw: Draw) -> Example:
    transform = GaussianNoiseTransform(draw(intervals(0, 3)), draw(probabilities), draw(st.booleans()))
    return Example(transform, any_image(draw), record=with_native_noise)


@example("RicianNoiseTransform")
def _(draw: Draw) -> Example:
    low, high = sorted(draw(st.tuples(st.floats(0, 2), st.floats(0, 2))))
    return Example(RicianNoiseTransform((low, high)), any_image(draw), record=with_native_noise)


def with_native_noise(case: Example, seed: int) -> tuple[dict[str, Any], Trace]:
    """batchgeneratorsv2's result, with the noise that the native transform has for sample 0."""
    given_fields: list[torch.Tensor] = []

    def normal(tensor: torch.Tensor, mean: float = 0, std: float = 1) -> torch.Tensor:
        if not given_fields:
            given_fields.extend(fields(tensor.shape, 1, 0))
        return tensor.copy_(given_fields.pop(0) * np.float32(std) + mean)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "normal_", normal)
        return apply_recorded(case.tree, case.image, None, seed)


@example("GaussianBlurTransform")
def _(draw: Draw) -> Example:
    sigma = draw(st.one_of(intervals(0.1, 1.2), intervals(0.1, 2.5)))
    widest = sigma if isinstance(sigma, float) else sigma[1]
    least = round(widest * 6 + 0.5) // 2 + 2  # batchgeneratorsv2 reflects, so half of the kernel has to fit
    image = any_image(draw, least=least)
    transform = GaussianBlurTransform(sigma, draw(st.booleans()), draw(st.booleans()), draw(probabilities))
    return Example(transform, image, only_native=("but got: [0, ",))  # no channel is chosen


@example("SharpeningTransform")
def _(draw: Draw) -> Example:
    strength = draw(intervals(0, 10))
    transform = SharpeningTransform(strength, draw(probabilities), draw(probabilities), draw(probabilities))
    most = max(strength) if isinstance(strength, tuple) else strength
    return Example(transform, any_image(draw), gain=1 + 12 * most)


@example("MedianFilterTransform")
def _(draw: Draw) -> Example:
    size = draw(st.one_of(st.integers(1, 6), st.sampled_from([(1, 3), (2, 8)])))
    return Example(MedianFilterTransform(size, draw(probabilities), draw(probabilities)), any_image(draw))


@example("BlankRectangleTransform")
def _(draw: Draw) -> Example:
    image = any_image(draw)
    shape = image.shape[1:]
    kind = draw(st.sampled_from(["number", "each", "ranges", "square"]))
    size: Any = min(shape)
    if kind == "each":
        size = tuple(draw(st.integers(1, n)) for n in shape)
    elif kind in ("ranges", "square"):
        size = tuple((1, (min(shape) if kind == "square" else n) + 1) for n in shape)
    values = [0, -2.5, (-1.0, 2.0), torch.mean, torch.median, torch.min, torch.max, torch.Tensor.mean, np.median]
    number = draw(st.one_of(st.integers(0, 3), st.just((1, 5))))
    transform = BlankRectangleTransform(size, draw(st.sampled_from(values)), number, kind == "square", draw(probabilities))
    return Example(transform, image, record=with_values, gain=4)  # torch's mean of many voxels far from 0


def with_values(case: Example, seed: int) -> tuple[dict[str, Any], Trace]:
    """The values of rectangles as well, which are drawn while they are filled."""
    drawn: list[float] = []
    uniform = np.random.uniform

    def noting(low: float, high: float) -> float:
        drawn.append(uniform(low, high))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "uniform", noting)
        expected, trace = apply_recorded(case.tree, case.image, None, seed)
    if drawn:
        trace[0][1]["values"] = drawn
    return expected, trace


# Local


def local_kernel(draw: Draw, shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "scale": draw(st.sampled_from([0.3, (0.5, 4.0), (1.0, 30.0), lambda s, d: s[d] / 3])),
        "loc": draw(st.sampled_from([0.5, (-1, 2), (0, 1)])),
        "same_for_all_channels": draw(st.booleans()),
        "p_per_channel": draw(probabilities),
    }


def with_kernels(values: str) -> Callable[[Example, int], tuple[dict[str, Any], Trace]]:
    """Half of the examples replay batchgeneratorsv2's kernels; the others make them anew, from where they are."""

    def record(case: Example, seed: int) -> tuple[dict[str, Any], Trace]:
        if seed % 2:
            return apply_recorded(case.tree, case.image, None, seed)
        with pytest.MonkeyPatch.context() as patch:
            note_kernels(patch, case.tree, values)
            return apply_recorded(case.tree, case.image, None, seed)

    return record


@example("BrightnessGradientAdditiveTransform")
def _(draw: Draw) -> Example:
    image = any_image(draw)
    more = {"mean_centered": draw(st.booleans()), "clip_intensities": draw(st.booleans())}
    transform = BrightnessGradientAdditiveTransform(
        max_strength=draw(intervals(-4, 4)), **more, **local_kernel(draw, image.shape)
    )
    return Example(transform, image, record=with_kernels("hidden"))


@example("LocalContrastTransform")
def _(draw: Draw) -> Example:
    image = any_image(draw)
    transform = LocalContrastTransform(new_contrast=draw(intervals(0, 5)), **local_kernel(draw, image.shape))
    return Example(transform, image, record=with_kernels("returned"), gain=6)


@example("LocalGammaTransform")
def _(draw: Draw) -> Example:
    image = any_image(draw)
    transform = LocalGammaTransform(gamma=draw(intervals(0.2, 5)), **local_kernel(draw, image.shape))
    return Example(transform, image, record=with_kernels("returned"))


@example("LocalSmoothingTransform")
def _(draw: Draw) -> Example:
    image = any_image(draw)
    transform = LocalSmoothingTransform(
        smoothing_strength=draw(intervals(0, 1)), kernel_size=draw(intervals(0.1, 4)), **local_kernel(draw, image.shape)
    )
    return Example(transform, image, record=with_kernels("returned"))


# Spatial


def both(draw: Draw, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"image": draw(images(shape)), "segmentation": draw(segmentations(shape))}


@example("MirrorTransform")
def _(draw: Draw) -> Example:
    shape = draw(shapes())
    axes = draw(st.sets(st.integers(0, len(shape) - 1)))
    return Example(MirrorTransform(tuple(axes)), **both(draw, shape))


def equal_along(draw: Draw, shape: tuple[int, ...]) -> tuple[tuple[int, ...], list[int]]:
    """A shape and two or more axes along which it has one size."""
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=2))
    return tuple(shape[axes[0]] if axis in axes else n for axis, n in enumerate(shape)), axes


@example("TransposeAxesTransform")
def _(draw: Draw) -> Example:
    shape, axes = equal_along(draw, draw(shapes()))
    return Example(TransposeAxesTransform(draw(st.sampled_from([set(axes), tuple(axes)]))), **both(draw, shape))


@example("Rot90Transform")
def _(draw: Draw) -> Example:
    shape, axes = equal_along(draw, draw(shapes()))
    number = draw(st.one_of(st.integers(0, 3), st.just((0, 4))))
    turns = draw(st.lists(st.integers(-3, 5), min_size=1))
    return Example(Rot90Transform(number, tuple(turns), set(axes)), **both(draw, shape))


@example("SimulateLowResolutionTransform")
def _(draw: Draw) -> Example:
    image = any_image(draw)
    channels, *shape = image.shape
    least = 0.51 / min(shape)  # one voxel has to be left
    transform = SimulateLowResolutionTransform(
        draw(intervals(max(least, 0.1), 1.5)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([None, (), (0,), (len(shape) - 1, 0)])),
        draw(st.sampled_from([None, (), (0,), tuple(range(channels))])),
        draw(probabilities),
    )
    return Example(transform, image, same=but_for_infinity)


def but_for_infinity(case: Example, trace: Trace, got: dict[str, Any], expected: dict[str, Any]) -> None:
    assert_images_agree(no_infinity(got["image"]), no_infinity(expected["image"]))


@example("ChannelMisalignmentTransform")
def _(draw: Draw) -> Example:
    image = any_image(draw, PLAIN + HUGE)  # test_channel_misalignment.py has the others
    channels, *shape = image.shape
    chosen = draw(st.lists(st.integers(-channels, channels - 1), max_size=3))
    three = (0,) * (3 - len(shape))
    transform = ChannelMisalignmentTransform(
        tuple(chosen),
        tuple(draw(st.sampled_from([0, 0.1, 0.9])) for _ in range(3)),
        draw(probabilities),
        tuple(draw(st.sampled_from([0, 5, 90, 180])) for _ in range(3)),
        "deg",
        draw(probabilities),
        tuple(draw(st.integers(0, n // 2)) for n in shape) + three,
        draw(probabilities),
    )
    # An image of one voxel is a view that batchgeneratorsv2 cannot write to.
    return Example(transform, image, same=in_the_range_of_the_border, only_native=("refer to a single memory location",))


def in_the_range_of_the_border(case: Example, trace: Trace, got: dict[str, Any], expected: dict[str, Any]) -> None:
    """What is outside of the image is 0, and a part of it comes into every voxel of the rim."""
    both = [torch.cat([side["image"].flatten(), torch.zeros(1)]) for side in (got, expected)]
    assert_images_agree(*both)


BORDERS = ["zeros", "constant", "border", "reflection"]


@example("SpatialTransform")
def _(draw: Draw) -> Example:
    shape = draw(shapes())
    patch = tuple(draw(st.integers(1, n + 3)) for n in shape)
    deforms = draw(st.sampled_from([0, 0, 1]))
    transform = SpatialTransform(
        patch,
        draw(st.sampled_from([0, [n // 2 for n in patch]])),
        draw(st.booleans()),
        p_elastic_deform=deforms,
        elastic_deform_scale=(0.1, 0.3),
        elastic_deform_magnitude=(0, 3),
        p_rotation=draw(probabilities),
        rotation=draw(intervals(-7, 7)),
        p_rot_per_axis=draw(probabilities),
        p_scaling=draw(probabilities),
        scaling=draw(intervals(0.2, 5)),
        p_synchronize_scaling_across_axes=draw(probabilities),
        bg_style_seg_sampling=draw(st.booleans()),
        mode_seg=draw(st.sampled_from(["bilinear", "nearest"])),
        border_mode_seg=draw(st.sampled_from(BORDERS)),
        center_deformation=draw(st.booleans()),
        mode_image=draw(st.sampled_from(["bilinear", "nearest"])),
        padding_mode_image=draw(st.sampled_from(BORDERS)),
        padding_value_seg=draw(st.sampled_from([0, -1, 7])),
        padding_value_image=draw(st.sampled_from([0, -1.5])),
        align_corners=draw(st.booleans()),
        seg_tiebreak=draw(st.sampled_from(["nearest", "lowest", "highest"])),
    )
    return Example(transform, **both(draw, shape), same=but_for_ties)


def but_for_ties(case: Example, trace: Trace, got: dict[str, Any], expected: dict[str, Any]) -> None:
    """Labels differ only where both have the same weight to within 1e-3. Where the position of a voxel decides which voxels
    it looks at (the nearest one; one that is not finite), those are left out that lie between two to within 1e-3 voxels."""
    transform, parameters = trace[0]
    image, labels = (got["image"], expected["image"]), (got["segmentation"], expected["segmentation"])
    if parameters["grid"] is None:
        assert_images_agree(*image)
        assert torch.equal(*labels)
        return
    grid = parameters["grid"].double()
    sizes = torch.tensor(case.image.shape[1:]).flip(0)  # grid_sample counts axes from the last
    position = (grid + 1) / 2 * (sizes - 1) if transform.align_corners else ((grid + 1) * sizes - 1) / 2

    def between(offset: float) -> torch.Tensor:
        return ((position + offset - torch.round(position + offset)).abs() < 1e-3).any(-1)

    undecided = torch.zeros(grid.shape[:-1], dtype=torch.bool)
    if transform.mode_image == "nearest":
        undecided = between(0.5)
    elif not np.isfinite(case.image).all():
        undecided = between(0)
        if transform.padding_mode_image in ("border", "reflection"):
            # The last voxel is reached from the one before it (docs/parity.md): left out where either is not finite.
            undecided |= _at_the_last(transform, position, sizes)
    value = transform.padding_value_image if transform.padding_mode_image == "constant" else 0.0
    assert_images_agree(*(torch.cat([no_infinity(i)[:, ~undecided].flatten(), torch.tensor([value])]) for i in image))

    assert labels[0].dtype == labels[1].dtype and labels[0].shape == labels[1].shape
    differ = labels[0] != labels[1]
    if transform.mode_seg == "nearest":
        assert not (differ & ~between(0.5)).any()
        return
    for channel, voxel in zip(*(differ.nonzero()[:, :1].flatten(), differ.nonzero()[:, 1:]), strict=True):
        place = tuple(voxel.tolist())
        here = grid[place].reshape([1] * grid.ndim + [-1])
        weights = [_weight(transform, case.segmentation[channel], int(side[channel][place]), here) for side in labels]
        assert abs(weights[0] - weights[1]) <= 1.01e-3, (place, weights)


def no_infinity(image: torch.Tensor) -> torch.Tensor:
    """Whether an infinite voxel that is interpolated with others becomes NaN depends on the order of operations."""
    return torch.where(image.isinf(), torch.nan, image)


def _at_the_last(transform: SpatialTransform, position: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Where the border mode leads to the last voxel along some axis."""
    if transform.padding_mode_image == "reflection":
        first, span = (0, sizes - 1) if transform.align_corners else (-0.5, sizes)
        period = 2 * span.clamp(min=1)
        position = (position - first).abs() % period
        position = torch.minimum(position, period - position) + first
    return (position > sizes - 1 - 1e-3).any(-1)


def _weight(transform: SpatialTransform, segmentation: np.ndarray, label: int, position: torch.Tensor) -> float:
    """How much of a label there is at a position."""
    pads = {"zeros": 0, "constant": transform.padding_value_seg}
    outside = float(pads.get(transform.border_mode_seg) == label)
    return outside + float(
        torch.nn.functional.grid_sample(
            torch.from_numpy(segmentation == label).double()[None, None] - outside,
            position,
            mode="bilinear",
            padding_mode="zeros" if transform.border_mode_seg in pads else transform.border_mode_seg,
            align_corners=transform.align_corners,
        )
    )


# nnU-Net's own, and utilities


@example("MoveSegAsOneHotToDataTransform")
def _(draw: Draw) -> Example:
    data = both(draw, draw(shapes()))
    channels = len(data["segmentation"])
    labels = draw(st.lists(st.sampled_from([0, 1, 2, -1, 5, 255, 256, 300]), unique=True, max_size=4))
    transform = MoveSegAsOneHotToDataTransform(
        draw(st.integers(-channels, channels - 1)), labels, channels > 1 and draw(st.booleans())
    )
    return Example(transform, **data)


def one_hot(draw: Draw, most: int) -> tuple[np.ndarray, list[int]]:
    """An image whose last channels are 0 and 1, as a cascade's; and which these are."""
    shape = draw(shapes())
    number = draw(st.integers(1, 3))
    labels = draw(segmentations(shape, 1, tuple(range(number + 1))))[0]
    image = draw(images(shape, PLAIN, 1))
    hot = np.stack([labels == label for label in range(1, number + 1)]).astype(np.float32)
    chosen = list(range(1, number + 1))
    return np.concatenate([image, hot]), chosen[:most]


@example("ApplyRandomBinaryOperatorTransform")
def _(draw: Draw) -> Example:
    image, channels = one_hot(draw, 3)
    functions = [getattr(operators, f"binary_{name}_torch") for name in ("dilation", "erosion", "closing", "opening")]
    chosen = draw(st.lists(st.sampled_from(functions), min_size=1, unique=True))
    size = draw(st.sampled_from([1, 2.5, (1, 4), (1, 8), 0]))
    return Example(ApplyRandomBinaryOperatorTransform(channels, tuple(chosen), size, draw(probabilities)), image)


@example("RemoveRandomConnectedComponentFromOneHotEncodingTransform")
def _(draw: Draw) -> Example:
    image, channels = one_hot(draw, 3)
    transform = RemoveRandomConnectedComponentFromOneHotEncodingTransform(
        channels, draw(probabilities), draw(st.sampled_from([0.001, 0.15, 0.5, 1.1])), draw(probabilities)
    )
    return Example(transform, image, record=with_components)


def with_components(case: Example, seed: int) -> tuple[dict[str, Any], Trace]:
    """The component and what fills it as well, which are drawn while a channel is worked on."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    transform, image = case.tree, torch.from_numpy(case.image.copy())
    parameters = transform.get_parameters(image=image)
    parameters |= {"component_u": [], "fill": [], "other_u": []}
    uniform = np.random.uniform
    for channel in parameters["apply_to_channels"]:
        places: list[float] = []
        numbers: list[float] = []

        def choosing(candidates: Any, places: list[float] = places) -> Any:
            index = int(np.random.randint(len(candidates)))
            places.append((index + 0.5) / len(candidates))
            return candidates[index]

        def drawing(numbers: list[float] = numbers) -> float:
            numbers.append(uniform())
            return numbers[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np.random, "choice", choosing)
            patch.setattr(np.random, "uniform", drawing)
            image = transform._apply_to_image(image, apply_to_channels=[channel])
        # The native transform has the channels in order; batchgeneratorsv2 shuffles its own list.
        others = [c for c in transform.channel_idx if c != channel]
        if len(places) > 1:
            filled = others[int(places[1] * len(others))]
            other = (sorted(others).index(filled) + 0.5) / len(others)
        parameters["component_u"].append(places[0] if places else 0.5)
        parameters["fill"].append(float(bool(numbers) and numbers[0] < transform.fill_with_other_class_p))
        parameters["other_u"].append(other if len(places) > 1 else 0.5)
    return {"image": image}, [(transform, parameters)]


@example("MoveChannelsTransform")
def _(draw: Draw) -> Example:
    data = both(draw, draw(shapes()))
    channels = len(data["segmentation"])
    ids = draw(st.lists(st.integers(-channels, channels - 1), max_size=channels))
    assume(len({i % channels for i in ids}) < channels)
    return Example(MoveChannelsTransform(ids, "segmentation", "image"), **data)


@example("DownsampleSegForDSTransform")
def _(draw: Draw) -> Example:
    shape = draw(shapes())
    one = st.sampled_from([1, 1.0, 0.5, 0.25, 0.7, 1.5])
    scale = st.one_of(one, st.tuples(*[one] * len(shape)), st.lists(one, min_size=len(shape), max_size=len(shape)))
    scales = draw(st.lists(scale, min_size=1, max_size=4))
    for s in scales:
        for n, factor in zip(shape, s if isinstance(s, (tuple, list)) else [s] * len(shape), strict=True):
            assume(round(n * factor) > 0)
    return Example(DownsampleSegForDSTransform(scales), **both(draw, shape))


@example("RemoveLabelTransform")
def _(draw: Draw) -> Example:
    data = both(draw, draw(shapes()))
    channels = len(data["segmentation"])
    value = draw(st.sampled_from([int(data["segmentation"].flat[0]), -1, 5]))
    which = draw(st.sampled_from([None, 0, [0], list(range(channels)), [-1]]))
    return Example(RemoveLabelTransform(value, draw(st.sampled_from([0, -1, 300, -300])), which), **data)


@example("ConvertSegmentationToRegionsTransform")
def _(draw: Draw) -> Example:
    data = both(draw, draw(shapes()))
    found = [int(v) for v in np.unique(data["segmentation"])]
    region = st.lists(st.sampled_from([*found, 0, 1, 300]), min_size=1, max_size=5)
    regions = draw(st.lists(st.one_of(region, st.sampled_from(found)), min_size=1, max_size=4))
    channel = draw(st.integers(-1, len(data["segmentation"]) - 1))
    return Example(ConvertSegmentationToRegionsTransform(regions, channel), **data)


@example("MaskImageTransform")
def _(draw: Draw) -> Example:
    data = both(draw, draw(shapes()))
    channels = draw(st.lists(st.integers(-1, len(data["image"]) - 1), unique=True))
    which = draw(st.integers(-1, len(data["segmentation"]) - 1))
    outside = draw(st.sampled_from([0, -3.5, float("nan")]))
    return Example(MaskImageTransform(channels, which, outside), **data)


@example("Convert3DTo2DTransform")
def _(draw: Draw) -> Example:
    shape = draw(shapes((3,)))
    inside = draw(st.sampled_from([[], [MirrorTransform((0, 1))], [MultiplicativeBrightnessTransform((0.5, 2), False, 0.5)]]))
    return Example(ComposeTransforms([Convert3DTo2DTransform(), *inside, Convert2DTo3DTransform()]), **both(draw, shape))


EXAMPLES["Convert2DTo3DTransform"] = EXAMPLES["Convert3DTo2DTransform"]  # there is no way back without a way there
