"""What a replay refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
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
