"""Transforms of users in a loader: what their targets become in a batch, what is refused, and several at once."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunet_loaders import nnunet_loader
from sklearn.utils import check_random_state

import fastnnunet_loader as fl
from own_transforms import CHANGES, Data, Own, built, of_image, of_labels


def test_targets_keep_their_type_in_a_batch(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    types = {
        "soft labels": torch.float32, "half labels": torch.float16, "bfloat16 labels": torch.bfloat16,
        "double labels": torch.float64, "long labels": torch.int64, "int32 labels": torch.int32,
        "byte labels": torch.uint8, "char labels": torch.int8, "bool labels": torch.bool, "nothing": torch.int16,
    }  # fmt: skip
    for change, dtype in types.items():
        source = nnunet_loader(dataset, ComposeTransforms(built([change])))
        with fl.DataLoader.from_nnunet(source, threads=2, seed=1) as loader:
            target = next(loader)["target"]
        plain = nnunet_loader(dataset, ComposeTransforms(built(["nothing"])))
        with fl.DataLoader.from_nnunet(plain, threads=2, seed=1) as loader:
            labels = next(loader)["target"]
        assert target.dtype is dtype
        assert torch.equal(target, CHANGES[change]({"segmentation": labels})["segmentation"]), change


@pytest.mark.parametrize("change", ["no labels", "labels of text", "an error", "a tuple", "no image", "five axes"])
def test_a_loader_names_the_transform_before_the_training(nnunet_dataset: Any, change: str) -> None:
    source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms(built([change, "gamma"])))
    with pytest.raises(fl.SampleError) as raised:
        fl.DataLoader.from_nnunet(source, threads=2, seed=1)
    assert raised.value.transform == "Own"
    assert "expected" in str(raised.value) or "KeyError" in str(raised.value)


def test_samples_of_other_shapes_name_the_transform(nnunet_dataset: Any) -> None:
    calls = iter(range(10**6))
    grows = of_image(lambda t: t if next(calls) < 3 else torch.cat([t, t]))
    source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([Own(grows)]))
    with fl.DataLoader.from_nnunet(source, threads=1, seed=1) as loader, pytest.raises(fl.SampleError) as raised:
        for _ in range(4):
            next(loader)
    assert raised.value.transform == "Own"
    assert "expected an image of (1, " in str(raised.value)


def test_wider_values_are_not_cut(nnunet_dataset: Any) -> None:
    """nnU-Net's batch has the type of its first sample, and casts the others; here nothing is lost."""
    for first, then, error in ((torch.int64, torch.int16, None), (torch.int16, torch.float32, "float32")):
        calls = iter(range(10**6))
        varies = of_labels(lambda t, a=first, b=then, n=calls: t.to(a if next(n) < 1 else b))
        source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([Own(varies)]))
        with fl.DataLoader.from_nnunet(source, threads=1, seed=1) as loader:
            if error is None:
                assert next(loader)["target"].dtype is first
                continue
            with pytest.raises(fl.SampleError, match=error) as raised:
                next(loader)
            assert raised.value.transform == "Own"


# At once


class Meets(BasicTransform):  # type: ignore[misc]
    """Waits, without Python's lock, for another thread that is in it, too."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2)
        self.met = 0

    def apply(self, data_dict: Data, **_: Any) -> Data:
        try:
            self.barrier.wait(0.3)
            self.met += 1
        except threading.BrokenBarrierError:
            self.barrier.reset()
        return data_dict


def test_several_run_at_once(nnunet_dataset: Any) -> None:
    meets = Meets()
    source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([meets]))
    with fl.DataLoader.from_nnunet(source, threads=2, seed=1) as loader:
        for _ in range(6):
            next(loader)
    assert meets.met >= 2
    assert not any("one at a time" in line for line in loader.pipeline.fallbacks)


captured = np.random.uniform  # as `from numpy.random import uniform`


class Draws(BasicTransform):  # type: ignore[misc]
    """Draws as transforms do, slowly, so that others draw meanwhile."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def _number(self) -> float:
        match self.way:
            case "numpy":
                return float(np.random.normal())
            case "random":
                return random.gauss(0, 1)
            case "torch":
                return float(torch.randn(1))
            case "generator":
                return float(np.random.default_rng().normal())
            case "generators":
                one, other = np.random.default_rng(), np.random.default_rng()
                first, second = float(one.normal()), float(other.normal())
                assert first != second, "two generators of one call"
                return first
            case "sklearn":
                return float(check_random_state(None).normal())
            case "captured":
                return float(captured())
            case "scipy.stats":
                return float(scipy.stats.norm.rvs())
            case "seeded":
                np.random.seed(np.random.randint(1000))
                torch.manual_seed(int(torch.randint(1000, (1,))))
                return float(np.random.normal() + torch.randn(1))
        raise AssertionError

    def apply(self, data_dict: Data, **_: Any) -> Data:
        values = []
        for _ in range(3):
            values.append(self._number())
            time.sleep(0.002)
        data_dict["image"] = data_dict["image"] + sum(values)
        return data_dict


@pytest.mark.parametrize(
    "way", ["numpy", "random", "torch", "generator", "generators", "sklearn", "captured", "scipy.stats", "seeded"]
)
def test_same_seed_same_batches_with_any_number_of_threads(nnunet_dataset: Any, way: str) -> None:
    np.random.seed(0)
    torch.manual_seed(0)
    expected = (float(np.random.uniform()), float(torch.rand(1)))
    np.random.seed(0)
    torch.manual_seed(0)
    batches = []
    for threads in (1, 4):
        source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([Draws(way)]))
        with fl.DataLoader.from_nnunet(source, threads=threads, seed=1) as loader:
            batches.append([next(loader)["data"].clone() for _ in range(8)])
        alone = [line for line in loader.pipeline.fallbacks if "one at a time" in line]
        assert bool(alone) == (way in ("captured", "scipy.stats")), alone
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one, other)
    means = [float(batch.mean()) for batch in batches[0]]
    assert len(set(means)) == len(means)
    assert (float(np.random.uniform()), float(torch.rand(1))) == expected, "the training's own draws are left alone"
