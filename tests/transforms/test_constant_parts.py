"""Images with large parts of one value, as clipped CTs have: these stay of one value, and curves that are steep there agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from comparing import assert_images_agree
from recording import apply_recorded
from sensitivity import four_times_its_own_movement

import fastnnunet_loader as fl
from scans import chest

SHAPES = [(40, 44, 48), (96, 100)]


def resamplings(shape: tuple[int, ...]) -> dict[str, Any]:
    spatial: dict[str, Any] = {"patch_center_dist_from_border": 0, "random_crop": False, "padding_mode_image": "border"}
    spatial["elastic_deform_magnitude"] = (2, 3)
    return {
        "turned": SpatialTransform(shape, **spatial, p_rotation=1, rotation=(-0.5, 0.5), p_scaling=1, scaling=(0.7, 1.2)),
        "scaled": SpatialTransform(shape, **spatial, p_scaling=1, scaling=(0.7, 1.2)),
        "deformed": SpatialTransform(shape, **spatial, p_elastic_deform=1, elastic_deform_scale=(0.1, 0.2)),
        "low resolution": SimulateLowResolutionTransform((0.4, 1), False, False, None, None, 1),
        "blurred": GaussianBlurTransform((0.5, 1), False, False, 1),
    }


@pytest.mark.parametrize("name", resamplings(SHAPES[0]))
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_constant_stays_constant(shape: tuple[int, ...], name: str) -> None:
    pipeline = fl.compile_transforms(resamplings(shape)[name])
    # The lowest value fills the lower half.
    above = np.random.default_rng(0).uniform(0.2, 3, (1, *shape)).astype(np.float32)
    marked = np.zeros((1, *shape), np.float32)
    marked[:, : shape[0] // 2] = 1
    for step, lowest in enumerate(np.array([-1.3, -0.8115586, 0.1, -1024, 1e-3], np.float32)):
        image = np.where(marked > 0, lowest, above)
        # Where the mark comes out whole, nothing but the constant has come in.
        within = pipeline(image=marked, step=step)["image"] == pipeline(image=np.ones_like(marked), step=step)["image"]
        assert within.float().mean() > 0.05
        got = pipeline(image=image, step=step)["image"]
        assert got[within].unique().numel() == 1
        assert got.min() == got[within].min(), "nothing lies below it"
        if name != "blurred":  # whose weights add up to 1 only in so far as float32 can say it
            assert got[within][0] == lowest


@pytest.mark.parametrize("name", resamplings(SHAPES[0]))
@pytest.mark.parametrize("shape", SHAPES)
def test_air_under_a_steep_curve(scans: Path, shape: tuple[int, ...], name: str) -> None:
    """One last bit above the minimum, raised to the power of 0.05, is half of the range. batchgeneratorsv2 gets such bits where
    torch interpolates between equal voxels. Given the same image, both curves agree."""
    curve = LocalGammaTransform((10, 30), (0, 1), (0.05, 0.4))
    for seed in range(3):
        tree = ComposeTransforms([resamplings(shape)[name], curve])
        image, labels = chest(scans, 1, shape, seed=seed)
        image[:, : shape[0] // 2] = image.min()
        expected, trace = apply_recorded(tree, image, labels, seed)
        first, second = trace
        between = first[0].apply(
            {"image": torch.from_numpy(image.copy()), "segmentation": torch.from_numpy(labels)}, **first[1]
        )
        alone = fl.compile_transforms(curve).replay([second], image=between["image"].numpy())
        assert_images_agree(alone["image"], expected["image"])

        pipeline = fl.compile_transforms(tree)
        got = pipeline.replay(trace, image=image, segmentation=labels)["image"]
        movement = four_times_its_own_movement(trace, image, labels, 1)
        assert_images_agree(got, expected["image"], movement=lambda movement=movement: movement)
        before = fl.compile_transforms(first[0]).replay([first], image=image, segmentation=labels)["image"]
        air = before == before.min()
        assert air.float().mean() > 0.1
        assert torch.equal(got == got.min(), air), "air stays air"
