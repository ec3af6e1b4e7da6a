"""Regression targets through transforms that run in Python: they see the target where it is by then, and move it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform, SegOnlyTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

import fastnnunet_loader as fl


class Own(MirrorTransform):  # type: ignore[misc]
    """In Python, since its code is not batchgeneratorsv2's."""


class Half(BasicTransform):  # type: ignore[misc]
    """It cuts the first half of every axis."""

    def _cut(self, array: torch.Tensor, **_: Any) -> torch.Tensor:
        return array[(slice(None), *(slice(n // 2) for n in array.shape[1:]))]

    _apply_to_image = _apply_to_regr_target = _apply_to_segmentation = _cut


class Floats(SegOnlyTransform):  # type: ignore[misc]
    """Labels that native transforms do not work on."""

    def _apply_to_segmentation(self, segmentation: torch.Tensor, **_: Any) -> torch.Tensor:
        return segmentation.float()


def spatial(patch: tuple[int, ...]) -> SpatialTransform:
    return SpatialTransform(patch, 0, False, p_rotation=0.7, rotation=(-0.6, 0.6), p_scaling=0.7, scaling=(0.7, 1.4))


def moves(patch: tuple[int, ...]) -> list[Any]:
    return [Rot90Transform(2, allowed_axes=set(range(len(patch)))), MirrorTransform(tuple(range(len(patch))))]


TREES: dict[str, Any] = {
    "between native moves": lambda patch: [spatial(patch), *moves(patch), Own((0, 1)), *moves(patch)],
    "sometimes": lambda patch: [*moves(patch), RandomTransform(Own((0, 1)), 0.5), *moves(patch)],
    "of another shape": lambda patch: [*moves(patch), Half(), *moves(patch)],
    "labels of a form of their own": lambda patch: [*moves(patch), Floats(), *moves(patch)],
    "moves after regions": lambda patch: [ConvertSegmentationToRegionsTransform([(1,), (1, 2)]), *moves(patch)],
    "planes": lambda patch: [Convert3DTo2DTransform(), Own((0, 1)), Convert2DTo3DTransform(), *moves(patch)],
}


def arrays(channels: int = 1) -> dict[str, Any]:
    """Three cases whose targets are their images."""
    generator = np.random.default_rng(0)
    images = [generator.normal(size=(channels, 20, 20, 20)).astype(np.float32) for _ in range(3)]
    return {"images": images, "labels": [np.digitize(image[0], (0, 1)).astype(np.int8) for image in images], "targets": images}


def open_arrays(transforms: Any, patch: tuple[int, ...], **settings: Any) -> fl.DataLoader:
    given = {"threads": 2, "seed": 3, "batch_size": 4, "pin_memory": False, **settings}
    return fl.DataLoader.from_arrays(**arrays(2), patch_size=patch, transforms=transforms, **given)


@pytest.mark.parametrize("patch", [(12, 12, 12), (12, 12)])
@pytest.mark.parametrize("tree", TREES)
def test_a_target_stays_with_its_image(tree: str, patch: tuple[int, ...]) -> None:
    """Targets are the images, so that after any moves they still are."""
    if tree == "planes" and len(patch) == 2:
        pytest.skip("planes are those of a volume")
    batches = []
    for threads in (1, 3):
        with open_arrays(ComposeTransforms(TREES[tree](patch)), patch, threads=threads) as loader:
            made = [next(loader) for _ in range(3)]
            for step, batch in enumerate(made):
                assert batch["image"].shape[2:] == (tuple(n // 2 for n in patch) if tree == "of another shape" else patch)
                assert torch.equal(batch["image"], batch["target"])
                for slot in range(4):
                    assert torch.equal(loader.sample(step, slot)["target"], batch["target"][slot])
                    patched, address = loader.patch(step, slot), loader.sample_id(step, slot)
                    alone = loader.pipeline(
                        image=patched.image, segmentation=patched.segmentation, regression_target=patched.target, **address
                    )
                    assert torch.equal(alone["regression_target"], batch["target"][slot])
            batches.append(torch.cat([batch["target"] for batch in made]))
    assert torch.equal(*batches)
    assert len({one.numpy().tobytes() for one in batches[0]}) > 6  # they move


def test_a_target_is_what_batchgeneratorsv2_makes_of_it() -> None:
    """Of parameters that batchgeneratorsv2 drew, with native transforms before and after the one in Python."""
    tree = [MirrorTransform((0, 1, 2)), Own((0, 1, 2)), Rot90Transform(1, allowed_axes={0, 1, 2})]
    pipeline = fl.compile_transforms(ComposeTransforms(tree))
    image, target = torch.randn(1, 9, 9, 9), torch.randn(2, 9, 9, 9)
    for _ in range(4):
        trace, data = [], {"image": image.clone(), "regression_target": target.clone()}
        for transform in tree:
            parameters = transform.get_parameters(**data)
            trace.append((transform, parameters))
            data = transform.apply(data, **parameters)
        got = pipeline.replay(trace, image=image, regression_target=target)
        assert torch.equal(got["regression_target"], data["regression_target"])
        assert torch.equal(got["image"], data["image"])


class Forgetful(BasicTransform):  # type: ignore[misc]
    """It does not know targets."""

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        return img.flip(1)


class Wrong(Forgetful):
    """It knows them, and forgets them."""

    def _apply_to_regr_target(self, regression_target: torch.Tensor, **_: Any) -> Any:
        return self.made

    made: Any = None


def flipped(**data: Any) -> dict[str, Any]:
    return {**data, "image": data["image"].flip(1)}


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (Forgetful(), "Forgetful has no _apply_to_regr_target, and is no ImageOnlyTransform or SegOnlyTransform"),
        (RandomTransform(Forgetful(), np.float32(0.5)), "Forgetful has no _apply_to_regr_target"),
        (flipped, "function is no BasicTransform of batchgeneratorsv2's, whose _apply_to_regr_target moves a target"),
    ],
)
def test_who_cannot_move_a_target_is_named_before_work_begins(transform: Any, said: str) -> None:
    with pytest.raises(fl.NotSupportedError, match="^" + re.escape("[regression target] expected transforms that move")) as met:
        open_arrays(ComposeTransforms([transform]), (8, 8, 8))
    assert said in str(met.value)
    with fl.DataLoader.from_arrays(
        arrays()["images"], patch_size=(8, 8, 8), batch_size=2, threads=1, transforms=ComposeTransforms([transform])
    ) as loader:
        next(loader)  # without targets it is fine


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "expected 'regression_target' to be a tensor, got NoneType"),
        (torch.zeros(2, 8, 8, 7), r"expected 'regression_target' of the image's shape (8, 8, 8), got (8, 8, 7)"),
    ],
)
def test_what_is_no_target_any_more_is_named(made: Any, said: str) -> None:
    transform = Wrong()
    transform.made = made
    with pytest.raises(fl.SampleError, match=re.escape(said)) as met:
        open_arrays(ComposeTransforms([transform]), (8, 8, 8))
    assert "Wrong" in str(met.value)


class Kept(ImageOnlyTransform):  # type: ignore[misc]
    """It keeps what it is shown."""

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        return img * 2


def test_images_without_labels_go_through_python() -> None:
    images = arrays()["images"]
    settings: dict[str, Any] = {"patch_size": (12, 12, 12), "batch_size": 2, "threads": 1, "pin_memory": False}
    transforms = ComposeTransforms([Kept(), Own((0, 1)), *moves((12, 12, 12))])
    with fl.DataLoader.from_arrays(images, targets=images, transforms=transforms, **settings) as loader:
        batch = next(loader)
        assert set(batch) == {"image", "target", "case"}
        assert torch.equal(batch["image"], 2 * batch["target"])
    with fl.DataLoader.from_arrays(images, transforms=transforms, **settings) as loader:
        assert set(next(loader)) == {"image", "case"}


def test_a_transform_of_the_image_is_not_shown_the_target() -> None:
    with open_arrays(ComposeTransforms([Kept(), Own((0,))]), (12, 12, 12)) as loader:
        batch = next(loader)
        assert torch.equal(batch["image"], 2 * batch["target"])
