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
from fastnnunet_loader.transforms.origins import digest


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
        (lambda state: state["versions"].update(a_third="1.0"), "a_third 1.0 then, none now"),
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


class Holder:
    """A transform with one setting."""

    def __init__(self, value: Any) -> None:
        self.value = value


SETTINGS: list[Callable[[], Any]] = [
    lambda: None, lambda: 1, lambda: True, lambda: 1.5, lambda: "1", lambda: (1, 2), lambda: (2, 1), lambda: {1, 2, 33},
    lambda: {"a": 1, "b": 2}, lambda: {"a": 2, "b": 1}, lambda: np.arange(4), lambda: np.arange(4)[::-1],
    lambda: np.zeros((2, 2)), lambda: np.zeros(4), lambda: range(3), lambda: Holder(1), lambda: Holder(Holder(2)),
    lambda: np.mean, lambda: np.median,
    lambda: max, lambda: [np.float32(0.5), None],
]  # fmt: skip


def test_every_setting_is_in_the_digest_by_its_value_and_not_by_its_object() -> None:
    digests = [digest((), [(Holder(make()), True)]) for make in SETTINGS]
    assert len(set(digests)) == len(SETTINGS)
    assert digests == [digest((), [(Holder(make()), True)]) for make in SETTINGS]
    # NumPy's numbers are numbers, and the order of a dictionary or a set is nobody's setting.
    for same, other in ((1.5, np.float64(1.5)), (1, np.int64(1)), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({1, 33}, {33, 1})):
        assert digest((), [(Holder(same), True)]) == digest((), [(Holder(other), True)])
    # Transforms in Python may keep what they like.
    assert len({digest((), [(Holder(make()), False)]) for make in SETTINGS}) == 1
