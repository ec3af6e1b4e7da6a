"""Every fault of the list does what is promised, in bounded time, and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets import prepared

from . import disks, files, limits, lives, preprocessing, python_code, signals, threads  # noqa: F401  they fill FAULTS
from .fault import FAULTS
from .harness import Faults


@pytest.fixture(scope="module")
def faults(dataset_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """The process that runs them."""
    folder = tmp_path_factory.mktemp("faults")
    dataset = prepared("default", dataset_cache, folder / "results")
    with Faults(dataset.name, dataset.env, folder) as started:
        yield started


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_fault(faults: Faults, name: str) -> None:
    outcome = faults.run(name)
    assert outcome.kept, outcome.seen
    assert outcome.good, outcome


def test_names_are_told_apart() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 30
