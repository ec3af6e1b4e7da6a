"""What calls and replays take, what they refuse, and what else they move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from comparing import assert_images_agree
from images import brain
from recording import recording, seed_all
from test_trainers import of_trainer

import fastnnunet_loader as fl


def test_replay_refuses_a_transform_of_another_tree() -> None:
    tree = of_trainer((20, 20, 20))
    pipeline = fl.compile_transforms(tree)
    stranger = MirrorTransform((0, 1, 2))
    with pytest.raises(ValueError, match=r"\[replay\] expected a transform of the compiled tree"):
        pipeline.replay([(stranger, {"axes": []})], image=np.zeros((1, 20, 20, 20), np.float32))


@pytest.mark.parametrize(
    ("patch", "channels", "settings"),
    [
        ((20, 22, 21), 3, {"use_mask_for_norm": [True, False, True]}),
        ((20, 22, 21), 1, {"regions": [(1, 2), (2,)]}),
        ((20, 22, 21), 1, {"is_cascaded": True, "foreground_labels": [1, 2]}),
        ((30, 31), 2, {}),
        ((6, 30, 31), 2, {"dummy_2d": True}),
    ],
)
def test_what_draw_gives_is_replayed_exactly(patch: tuple[int, ...], channels: int, settings: dict[str, Any]) -> None:
    tree = of_trainer(patch, **settings)
    for node in tree.transforms:
        if hasattr(node, "apply_probability"):
            node.apply_probability = 0.7  # noise too
    pipeline = fl.compile_transforms(tree)
    window = tuple(int(n * 1.4) if n > 6 else n for n in patch)
    rng = np.random.default_rng(1)
    image = rng.normal(size=(channels, *window)).astype(np.float32)
    labels = rng.integers(-1, 3, (2 if "is_cascaded" in settings else 1, *window)).astype(np.int16)
    for step in range(6):
        sample: dict[str, int] = {"seed": 3, "rank": 1, "role": 2, "step": step, "slot": 4}
        trace = pipeline.draw(image.shape, segmentation_channels=len(labels), **sample)
        expected = pipeline(image=image, segmentation=labels, **sample)
        got = pipeline.replay(trace, image=image, segmentation=labels, **sample)
        assert torch.equal(got["image"], expected["image"])
        for one, other in zip(got["segmentation"], expected["segmentation"], strict=True):
            assert torch.equal(one, other)


def test_replay_does_not_guess_what_python_draws() -> None:
    class Halve(MirrorTransform):
        pass

    pipeline = fl.compile_transforms([Halve((0,))])
    image = np.zeros((1, 8, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"\[replay\] expected batchgeneratorsv2's parameters of Halve, which runs in Python"):
        pipeline.replay(pipeline.draw(image.shape), image=image)


def test_inputs_of_the_wrong_type_or_shape_are_named_and_left_alone() -> None:
    pipeline = fl.compile_transforms(MirrorTransform((0, 1, 2)))
    image = np.zeros((1, 8, 8, 8), np.float32)
    with pytest.raises(TypeError, match=r"\[pipeline\] expected 'image' of dtype float32, got float64"):
        pipeline(image=image.astype(np.float64))
    with pytest.raises(TypeError, match=r"expected 'segmentation' of dtype int16, got int64"):
        pipeline(image=image, segmentation=image.astype(np.int64))
    with pytest.raises(ValueError, match=r"expected 'image' of shape .* got \(8, 8\)"):
        pipeline(image=image[0, 0])
    with pytest.raises(ValueError, match="segmentation of the image's shape"):
        pipeline(image=image, segmentation=np.zeros((1, 8, 8, 7), np.int16))
    labels = np.arange(512, dtype=np.uint8).reshape(1, 8, 8, 8)
    pipeline(image=image, segmentation=labels, seed=3)
    assert np.array_equal(labels.ravel()[:256], np.arange(256))


@pytest.mark.parametrize(("patch", "shape"), [((20, 22, 24), (30, 31, 33)), ((30, 33), (40, 44))])
def test_a_regression_target_is_moved_as_the_image_and_nothing_else(patch: Any, shape: Any) -> None:
    tree = ComposeTransforms(
        [
            SpatialTransform(patch, 0, False, p_rotation=0.7, rotation=(-0.6, 0.6), p_scaling=0.7, scaling=(0.7, 1.4)),
            MultiplicativeBrightnessTransform((0.5, 2), False, 1),
            MirrorTransform(tuple(range(len(patch)))),
        ]
    )
    pipeline = fl.compile_transforms(tree)
    image, segmentation = brain(1, shape)
    target = np.concatenate([image[:, ::-1], image * 0.5])
    for seed in range(6):
        seed_all(seed)
        tensors = {"image": image, "segmentation": segmentation, "regression_target": target}
        with recording(tree) as trace:
            expected = tree(**{name: torch.from_numpy(value.copy()) for name, value in tensors.items()})
        got = pipeline.replay(trace, **tensors)
        assert_images_agree(got["regression_target"], expected["regression_target"])
        assert_images_agree(got["image"], expected["image"])
        drawn = pipeline(**tensors, seed=seed)
        assert torch.equal(drawn["image"], pipeline(image=image, segmentation=segmentation, seed=seed)["image"])


_TURNS: dict[str, Any] = {"p_rotation": 0.7, "rotation": (-0.6, 0.6), "p_scaling": 0.7, "scaling": (0.6, 1.7)}
_BENDS: dict[str, Any] = {"p_elastic_deform": 1, "elastic_deform_scale": (0.1, 0.3), "elastic_deform_magnitude": (1, 3)}
MOVES: dict[str, list[Any]] = {
    "constant": [SpatialTransform((20, 20, 20), 0, False, padding_mode_image="constant", padding_value_image=-3.5, **_TURNS)],
    "constant crop": [SpatialTransform((44, 20, 44), 0, True, padding_mode_image="constant", padding_value_image=-3.5)],
    "border": [SpatialTransform((20, 20, 20), 0, False, padding_mode_image="border", **_TURNS)],
    "reflection": [SpatialTransform((20, 20, 20), 5, True, padding_mode_image="reflection", **_TURNS)],
    "nearest": [SpatialTransform((20, 20, 20), 5, True, mode_image="nearest", **_TURNS)],
    "elastic": [SpatialTransform((20, 20, 20), 5, True, **_TURNS, **_BENDS)],
    "planes": [
        Convert3DTo2DTransform(),
        SpatialTransform((20, 20), 5, True, **_TURNS, **_BENDS),
        MirrorTransform((0, 1)),
        Convert2DTo3DTransform(),
        MirrorTransform((0, 1, 2)),
    ],
    "turns": [
        SpatialTransform((20, 20, 20), 5, True),
        GammaTransform((0.5, 2), 0.5, False, 1, 1),
        Rot90Transform(2, (1, 2, 3), {0, 1, 2}),
        TransposeAxesTransform((0, 1, 2)),
        MirrorTransform((0, 1, 2)),
    ],
}


@pytest.mark.parametrize("moves", MOVES)
def test_a_regression_target_is_padded_and_interpolated_as_batchgeneratorsv2_does(moves: str) -> None:
    tree = ComposeTransforms(MOVES[moves])
    pipeline = fl.compile_transforms(tree)
    image, segmentation = brain(1, (30, 31, 33))
    target = np.concatenate([image[:, ::-1] + 2, image * 0.5 - 7])  # far from 0 at its border
    for seed in range(4):
        seed_all(seed)
        tensors = {"image": image, "segmentation": segmentation, "regression_target": target}
        with recording(tree) as trace:
            expected = tree(**{name: torch.from_numpy(value.copy()) for name, value in tensors.items()})
        got = pipeline.replay(trace, **tensors)
        assert_images_agree(got["regression_target"], expected["regression_target"])
