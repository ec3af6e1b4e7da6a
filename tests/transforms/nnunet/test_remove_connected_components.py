"""RemoveRandomConnectedComponentFromOneHotEncodingTransform, replayed with what batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from comparing import assert_images_agree
from images import brain
from parity import one_hot
from recording import apply_recorded, seed_all

import fastnnunet_loader as fl


@pytest.mark.parametrize("fill", [0, 1])
@pytest.mark.parametrize("shape", [(29, 34, 31), (37, 42)])
def test_remove_random_connected_component(shape: tuple[int, ...], fill: int, monkeypatch: pytest.MonkeyPatch) -> None:
    transform = RemoveRandomConnectedComponentFromOneHotEncodingTransform([1, 2], fill, 1.1, 1)
    tree = ComposeTransforms([one_hot(), transform])
    image, segmentation = brain(1, shape, segmentation_channels=2, seed=3)
    pipeline = fl.compile_transforms(tree)
    seed_all(0)
    drawn: list[tuple[str, int, Any]] = []
    choice = np.random.choice

    def noting(candidates: Any) -> Any:
        chosen = choice(candidates)
        drawn.append(("choice", len(candidates), list(candidates).index(chosen)))
        return chosen

    # batchgeneratorsv2 chooses the component and the other class while it applies.
    monkeypatch.setattr(np.random, "choice", noting)
    expected, trace = apply_recorded(tree, image, segmentation, 0)
    parameters = trace[1][1]
    channels = parameters["apply_to_channels"]
    per_channel = 2 if fill else 1
    assert len(drawn) == per_channel * len(channels)
    chosen = drawn[::per_channel]
    parameters["component_u"] = [(index + 0.5) / count for _, count, index in chosen]
    parameters["fill"] = [float(fill)] * len(channels)
    parameters["other_u"] = [0.5] * len(channels)
    got = pipeline.replay(trace, image=image, segmentation=segmentation)
    assert not torch.equal(got["image"], fl.compile_transforms(one_hot())(image=image, segmentation=segmentation)["image"])
    assert_images_agree(got["image"], expected["image"])
