"""What a state tells of the transforms and versions that its batches came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunet_loaders import nnunet_loaders

import fastnnunet_loader as fl


def tree(noise: float = 0.1, p: float = 0.5, axes: tuple[int, ...] = (0, 1), contrast: Any = (0.75, 1.25)) -> Any:
    return ComposeTransforms(
        [
            RandomTransform(GaussianNoiseTransform((0, noise), 1, True), apply_probability=p),
            ContrastTransform(BGContrast(contrast), True, True),
            MirrorTransform(axes),
        ]
    )


def test_digest_is_that_of_the_settings() -> None:
    assert fl.compile_transforms(tree()).digest == fl.compile_transforms(tree()).digest
    others = [
        tree(noise=0.2),
        tree(p=0.4),
        tree(axes=(0,)),
        tree(contrast=(0.75, 1.5)),
        ComposeTransforms(tree().transforms[1:]),
    ]
    assert len({fl.compile_transforms(one).digest for one in [tree(), *others]}) == 6


def test_digest_stays_while_it_is_used() -> None:
    pipeline = fl.compile_transforms(tree())
    before = pipeline.digest
    pipeline(image=np.ones((1, 8, 8, 8), np.float32), segmentation=np.ones((1, 8, 8, 8), np.int16), seed=0)
    assert pipeline.digest == before == fl.compile_transforms(tree()).digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state["versions"].update(batchgeneratorsv2="0.2.0"), "batchgeneratorsv2 0.2.0 then, 0.3"),
        (lambda state: state["versions"].update(nnunetv2="9.9"), "nnunetv2 9.9 then, 2."),
        (lambda state: state.update(transforms="others"), "other transforms"),
    ],
)
def test_what_differs_is_said(nnunet_dataset: Any, monkeypatch: Any, change: Callable[[Any], None], said: str) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=1, seed=1, prefetch=1) as loader:
        state = loader.state_dict()
        loader.load_state_dict(state)  # without a word
        loader.load_state_dict({name: state[name] for name in state if name not in ("versions", "transforms")})  # an old one
        change(state)
        with pytest.warns(UserWarning, match=rf"got {said}"):
            loader.load_state_dict(state)
