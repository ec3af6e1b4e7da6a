"""What is drawn natively for every trainer's tree is spread as what batchgeneratorsv2 draws for it.

1,000 draws of each distinct tree on either side, with fixed seeds; Kolmogorov-Smirnov for numbers, chi-square of the table of
counts for choices. All p-values together are held against 1 % (Bonferroni). Only parameters are drawn, no voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.local import local_transform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from local_kernels import note_kernels
from recording import Trace, leaves, seed_all
from scipy.special import ndtr
from test_distributions import Comparison, Spread
from trainers import distinct_trees, window_of

import fastnnunet_loader as fl
from datasets import KINDS_OF_DATA
from fastnnunet_loader.transforms.registry import NATIVE

DRAWS = 1000

# They leave nothing to chance: trees that differ in these only are drawn from once.
FIXED = {
    "ConvertSegmentationToRegionsTransform",
    "DownsampleSegForDSTransform",
    "MaskImageTransform",
    "RemoveLabelTransform",
}


class Shapes:
    """The shapes of image and segmentation on their way through a tree, without voxels."""

    def __init__(self, image: tuple[int, ...], segmentation: tuple[int, ...]) -> None:
        self.image, self.segmentation = image, segmentation
        self.channels = (image[0], segmentation[0])  # before they were made 2D

    def data(self) -> dict[str, torch.Tensor]:
        return {
            "image": torch.zeros(1).expand(self.image),
            "segmentation": torch.zeros(1, dtype=torch.int16).expand(self.segmentation),
        }

    def follow(self, leaf: Any) -> None:
        name = type(leaf).__name__
        c, s = self.image[0], self.segmentation[0]
        spatial = self.image[1:]
        if name == "SpatialTransform":
            spatial = tuple(leaf.patch_size)
        elif name == "MoveSegAsOneHotToDataTransform":
            c, s = c + len(leaf.all_labels), s - leaf.remove_channel_from_source
        elif name == "Convert3DTo2DTransform":
            self.channels = (c, s)
            c, s, spatial = c * spatial[0], s * spatial[0], spatial[1:]
        elif name == "Convert2DTo3DTransform":
            spatial = (c // self.channels[0], *spatial)
            c, s = self.channels
        self.image, self.segmentation = (c, *spatial), (s, *spatial)


def draw(node: Any, shapes: Shapes, trace: Trace) -> None:
    """What batchgeneratorsv2's __call__ draws, in its order, without applying it."""
    name = type(node).__name__
    if name == "ComposeTransforms":
        for child in node.transforms:
            draw(child, shapes, trace)
    elif name == "RandomTransform":
        if node.get_parameters()["apply_transform"]:
            draw(node.transform, shapes, trace)
    elif name == "OneOfTransform":
        draw(np.random.choice(node.list_of_transforms), shapes, trace)
    else:
        trace.append((node, node.get_parameters(**shapes.data())))
        shapes.follow(node)


def without_voxels(patch: pytest.MonkeyPatch) -> None:
    """Of what is computed from the draws, only what is compared: no grids, kernels by a cheap distribution function."""
    dots = {dims: torch.zeros([1] * dims + [dims]) for dims in (2, 3)}
    patch.setattr(SpatialTransform, "_get_base_grid_clone", lambda self: dots[len(self.patch_size)].clone())
    patch.setattr(local_transform.st.norm, "cdf", lambda x, loc, scale: ndtr((x.astype(np.float64) - loc) / scale))


def described(node: Any) -> str:
    """A tree's random part."""
    if type(node).__name__ == "ComposeTransforms":
        return str([described(child) for child in node.transforms if type(child).__name__ not in FIXED])
    if type(node).__name__ == "RandomTransform":
        return f"{node.apply_probability} {described(node.transform)}"
    if type(node).__name__ == "OneOfTransform":
        return "one of " + str([described(child) for child in node.list_of_transforms])
    return " ".join([type(node).__name__, *(f"{k}={_value(v)}" for k, v in vars(node).items() if k != "_grid_cache")])


def _value(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value).split(" at 0x")[0]


Trees = dict[str, tuple[str, Any, tuple[int, ...], int]]  # name, tree, shape (C, X, Y, Z) of its input, channels of labels


def add_trees(trees: Trees, dataset: Any, variant: str, configuration: str) -> None:
    """Those of all trainers that are not there yet."""
    channels, segmentation_channels = 1 + (variant == "two_channels"), 1 + (variant == "cascade")
    for trainer, loader in distinct_trees(dataset, variant, configuration):
        shape = (channels, *window_of(loader))
        key = f"{described(loader.transforms)} {shape} {segmentation_channels}"
        trees.setdefault(key, (f"{variant} {trainer}: ", loader.transforms, shape, segmentation_channels))


def assert_spread_alike(trees: Trees, monkeypatch: pytest.MonkeyPatch, least_parameters: int) -> None:
    """Also of other versions of nnU-Net (test_versions.py)."""
    pipelines = {key: fl.compile_transforms(tree) for key, (_, tree, _, _) in trees.items()}
    comparison = Comparison()
    parameters = 0
    with monkeypatch.context() as patch:
        without_voxels(patch)
        for cls, values in ((BrightnessGradientAdditiveTransform, "hidden"), (LocalGammaTransform, "returned")):
            note_kernels(patch, cls((1, 2)), values)
        for number, (key, (name, tree, shape, segmentation_channels)) in enumerate(trees.items()):
            ours, theirs = Spread(tree), Spread(tree)
            for step in range(DRAWS):
                ours.add(pipelines[key].draw(shape, segmentation_channels=segmentation_channels, seed=number, step=step))
            seed_all(number)
            with torch.no_grad():
                for _ in range(DRAWS):
                    trace: Trace = []
                    draw(tree, Shapes(shape, (segmentation_channels, *shape[1:])), trace)
                    theirs.add((leaf, NATIVE[type(leaf).__name__].replay(leaf, p)) for leaf, p in trace)
            parameters += comparison.add(ours, theirs, DRAWS, name)
    assert parameters > least_parameters
    comparison.assert_alike(0.01 / len(comparison.found))


def test_trees_of_every_trainer(nnunet_dataset: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    trees: Trees = {}
    for variant, configuration in KINDS_OF_DATA:
        add_trees(trees, nnunet_dataset(variant), variant, configuration)
    assert len(trees) > 40
    drawn = {type(leaf).__name__ for _, tree, _, _ in trees.values() for leaf in leaves(tree)}
    assert {
        "BlankRectangleTransform",
        "MedianFilterTransform",
        "LocalGammaTransform",
        "ApplyRandomBinaryOperatorTransform",
    } <= drawn
    assert_spread_alike(trees, monkeypatch, least_parameters=1000)
