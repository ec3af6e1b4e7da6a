"""Where the native transforms differ from batchgeneratorsv2 on purpose (docs/parity.md), and that nothing else runs natively.

Differences of a transform that has more to test are in its own file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.channel_misalignment import ChannelMisalignmentTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from images import brain
from recording import apply_recorded

import fastnnunet_loader as fl


def native(transform: Any, image: np.ndarray, **how: Any) -> np.ndarray:
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native
    return pipeline(image=image, **how)["image"].numpy()


@pytest.mark.parametrize("invert", [0, 1])
def test_gamma_of_exponent_0_leaves_the_mean(invert: int) -> None:
    image, _ = brain(2, (9, 10, 11))
    transform = GammaTransform(0, invert, False, 1, 1)
    got = native(transform, image)
    for channel, before in zip(got, image, strict=True):
        assert channel == pytest.approx(np.full(before.shape, before.mean()), abs=1e-5)


def test_blur_with_a_sigma_of_0_does_nothing() -> None:
    image, _ = brain(1, (9, 10, 11))
    transform = GaussianBlurTransform(0, False, False, 1)
    assert apply_recorded(transform, image, None, 0)[0]["image"].isnan().all()
    assert np.array_equal(native(transform, image), image)


def test_blur_of_no_channel_does_nothing() -> None:
    image, _ = brain(2, (9, 10, 11))
    transform = GaussianBlurTransform(0.5, True, False, 0)
    with pytest.raises(RuntimeError):
        apply_recorded(transform, image, None, 0)
    assert np.array_equal(native(transform, image), image)


def test_misalignment_of_one_voxel() -> None:
    image = np.full((1, 1, 1), 2.0, np.float32)
    transform = ChannelMisalignmentTransform((0,), (0, 0, 0), 0, (0, 0, 0), "deg", 0, (1, 1, 0), 1)
    shifted = {"affine": None, "elastic_offsets": None, "center_location_in_pixels": [1.5, 0.5]}
    got = fl.compile_transforms(transform).replay([(transform, shifted)], image=image)["image"]
    assert torch.equal(got, torch.zeros(1, 1, 1))


def test_nan_reaches_the_last_voxel_where_the_border_repeats_it() -> None:
    image, _ = brain(1, (6, 7, 8))
    image[0, :, :, -2] = np.nan
    transform = SpatialTransform((6, 7, 12), 0, False, p_scaling=1, scaling=1.0, padding_mode_image="border")
    expected = apply_recorded(transform, image, None, 0)[0]["image"].numpy()
    got = native(transform, image)
    assert np.isfinite(expected[..., -2:]).all()
    assert np.isnan(got[..., -2:]).all()
    finite = np.isfinite(expected) & np.isfinite(got)
    assert finite.mean() > 0.5
    assert np.abs(got - expected)[finite].max() < 1e-4


def test_infinity_stays_infinity_where_nothing_is_resized() -> None:
    image, _ = brain(1, (6, 7, 8))
    image[0, 2, 3, 4] = np.inf
    transform = SimulateLowResolutionTransform(1, False, False, None, None, 1)
    assert apply_recorded(transform, image, None, 0)[0]["image"][0, 2, 3, 4].isnan()
    assert np.array_equal(native(transform, image), image)


# What cannot be understood runs in Python, with batchgeneratorsv2's own result.


class Doubled(MirrorTransform):
    """A user's own: mirrors and doubles."""

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        return 2 * super()._apply_to_image(img, **params)


def own_subclass(monkeypatch: pytest.MonkeyPatch) -> Any:
    return Doubled((0, 1))


def new_attribute(monkeypatch: pytest.MonkeyPatch) -> Any:
    transform = MirrorTransform((0, 1))
    transform.probability = 0.3
    return transform


def removed_attribute(monkeypatch: pytest.MonkeyPatch) -> Any:
    transform = RemoveLabelTransform(1, 0)
    del transform.set_to
    monkeypatch.setattr(RemoveLabelTransform, "set_to", 5, raising=False)
    return transform


def changed_setting(monkeypatch: pytest.MonkeyPatch) -> Any:
    transform = SimulateLowResolutionTransform(0.5, False, False, None, None, 1)
    transform.upmodes = {1: "nearest", 2: "nearest", 3: "nearest"}
    return transform


def method_of_the_object(monkeypatch: pytest.MonkeyPatch) -> Any:
    transform = MirrorTransform((0, 1))
    transform._apply_to_image = lambda img, **params: -img
    return transform


def method_of_the_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    def negative(self: Any, img: torch.Tensor, **params: Any) -> torch.Tensor:
        return -img

    monkeypatch.setattr(MirrorTransform, "_apply_to_image", negative)
    return MirrorTransform((0, 1))


def label_that_is_none(monkeypatch: pytest.MonkeyPatch) -> Any:
    return RemoveLabelTransform(1.5, 0)


@pytest.mark.parametrize(
    "make",
    [own_subclass, new_attribute, removed_attribute, changed_setting, method_of_the_object, method_of_the_class,
     label_that_is_none],
)  # fmt: skip
def test_what_is_not_understood_runs_in_python(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    transform = make(monkeypatch)
    image, segmentation = brain(2, (9, 10, 11))
    pipeline = fl.compile_transforms(transform)
    assert not pipeline.all_native
    assert "[Python: " in pipeline.describe()
    for seed in range(4):
        expected, trace = apply_recorded(transform, image, segmentation, seed)
        got = pipeline.replay(trace, image=image, segmentation=segmentation)
        assert torch.equal(got["image"], expected["image"])
        assert torch.equal(got["segmentation"], expected["segmentation"])


def test_ties_under_a_deformation_that_displaces_nothing() -> None:
    # Along X every voxel of the patch lies midway between two of the window.
    image, segmentation = brain(1, (21, 30, 30), labels=20)
    transform = SpatialTransform((16, 24, 24), 0, False, p_elastic_deform=1, elastic_deform_magnitude=0)
    expected, trace = apply_recorded(transform, image, segmentation, 0)
    got = fl.compile_transforms(transform).replay(trace, image=image, segmentation=segmentation)
    assert torch.allclose(got["image"], expected["image"], atol=1e-5)
    labels, others = got["segmentation"][0], expected["segmentation"][0]
    assert 0 < (labels != others).float().mean() < 0.2
    # Either side takes one of the two voxels that the position lies between.
    below, above = (torch.from_numpy(segmentation[0, first : first + 16, 3:27, 3:27]) for first in (2, 3))
    for side in (labels, others):
        assert ((side == below) | (side == above)).all()
