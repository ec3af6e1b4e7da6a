"""Whether a training waits for its loader, and how many threads would do."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.statistics.bottleneck import bottleneck_of


@pytest.fixture(scope="module")
def some() -> fl.LoaderStats:
    """Of a real loader."""
    image = np.zeros((1, 12, 12, 12), np.float32)
    with fl.DataLoader.from_arrays([image], patch_size=(8, 8, 8), batch_size=2, threads=1, seed=0) as loader:
        next(loader)
        return loader.stats()


def told(some: fl.LoaderStats, *, waited: float, threads: int, sample_time: float = 0.05) -> fl.LoaderStats:
    """100 batches in 10 s."""
    return replace(
        some, batches=100, samples=220, running=10.0, waited=waited, sample_time=sample_time, threads=threads
    )  # samples ahead of the training are among those that were made


@pytest.mark.parametrize(
    ("waited", "threads", "sentence"),
    [
        (0.1, 4, "bound by the training, 2 of 4 threads would do"),
        (0.0, 1, "bound by the training, 1 of 1 threads would do"),
        (5.0, 1, "bound by the loader, without waiting 2.00 times as fast, which takes 2 threads instead of 1"),
        (9.5, 4, "bound by the loader, without waiting 10 times as fast and more, which takes 20 threads instead of 4"),
        (2.0, 4, "bound by the loader, without waiting 1.25 times as fast; its 4 threads would do for an even load"),
    ],
)
def test_what_a_training_is_bound_by(some: fl.LoaderStats, waited: float, threads: int, sentence: str) -> None:
    bottleneck = bottleneck_of(told(some, waited=waited, threads=threads), None, 2)
    assert bottleneck is not None
    assert bottleneck.cached_rate == pytest.approx(100 / (10 - waited))
    assert str(bottleneck) == sentence
    assert bottleneck.bound_by_loader == ("by the loader" in sentence)


def test_a_verdict_is_of_the_time_since_the_last(some: fl.LoaderStats) -> None:
    before = told(some, waited=5.0, threads=2)
    now = replace(before, batches=200, samples=440, running=20.0, waited=5.0, sample_time=0.075)
    bottleneck = bottleneck_of(now, before, 2)
    assert bottleneck is not None
    assert (bottleneck.waited, bottleneck.cached_rate, bottleneck.threads_needed) == (0.0, pytest.approx(10.0), 2)


def test_there_is_none_without_batches_and_where_nobody_uses_them(some: fl.LoaderStats) -> None:
    now = told(some, waited=5.0, threads=2)
    assert bottleneck_of(now, now, 2) is None
    assert bottleneck_of(told(some, waited=9.9999, threads=2), None, 2) is None


def test_a_real_training_that_takes_longer_than_its_batches_needs_one_thread() -> None:
    images: list[Any] = [np.random.default_rng(0).normal(size=(1, 20, 20, 20)).astype(np.float32)]
    with fl.DataLoader.from_arrays(images, patch_size=(16, 16, 16), batch_size=2, threads=2, seed=0) as loader:
        next(loader)
        before = loader.stats()
        for _ in range(5):
            time.sleep(0.1)
            next(loader)
        bottleneck = bottleneck_of(loader.stats(), before, loader.batch_size)
    assert bottleneck is not None
    # Beside other programs a batch may be late, and a sleep longer.
    assert bottleneck.waited < 0.5
    assert bottleneck.threads_needed == 1
    assert 2 < bottleneck.cached_rate <= 10
