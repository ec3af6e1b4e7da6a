"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from datasets import Dataset, prepared
from scans import scans_folder

# What other packages warn of, which is neither ours to change nor a fault of the test that meets it. Each names its message.
THIRD_PARTY_WARNINGS = (
    # nnU-Net steps its schedule before the first optimizer step, and again with an epoch: both deprecated in PyTorch.
    r"ignore:The epoch parameter in `scheduler.step\(\)`:UserWarning",
    r"ignore:Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`:UserWarning",
    # nnU-Net's Trainer gives torch read-only arrays, maps of files.
    r"ignore:The given NumPy array is not writable:UserWarning",
    # timm, which nnU-Net's search for a trainer imports.
    r"ignore:`torch.jit.interface` is deprecated",
    # nnU-Net copies the ground truth with distutils.
    r"ignore:The distutils package is deprecated:DeprecationWarning",
)

USER_SIGNALS = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]

# Always the same examples; `--hypothesis-profile=search` draws many new ones.
settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", settings.get_profile("fixed"), derandomize=False, max_examples=1000)
settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background makes them, and all that they start, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "FASTNNUNET_LONG_TESTS" not in os.environ:
        left_out = pytest.mark.skip(reason="FASTNNUNET_LONG_TESTS=1 runs it")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(left_out)
    # Files with trainings first: of two workers none is left with a long one at the end.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def dataset_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where prepared data sets are kept: FASTNNUNET_TEST_CACHE, or a folder of this session."""
    given = os.environ.get("FASTNNUNET_TEST_CACHE")
    return Path(given).resolve() if given else tmp_path_factory.mktemp("datasets")


@pytest.fixture
def nnunet_dataset(dataset_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Dataset]:
    """Return a function that gives a data set by its variant, prepared once, with a results folder of this test.

    The environment of the test is then the data set's. Its other folders are shared: a test that changes them takes a
    `.copy()` first.
    """

    def factory(variant: str = "default") -> Dataset:
        dataset = prepared(variant, dataset_cache, tmp_path / "nnUNet_results")
        for name, value in dataset.env.items():
            monkeypatch.setenv(name, value)
        return dataset

    return factory


@pytest.fixture(scope="session")
def scans(dataset_cache: Path) -> Path:
    """The folder with the CTs that `scans.chest` cuts."""
    return scans_folder(dataset_cache)


@pytest.fixture(scope="module", autouse=True)
def process_is_left_as_it_was() -> Iterator[None]:
    """The tests of one process share it: what a module installs into it, it takes out again."""
    numbers = [signal.SIGINT, signal.SIGTERM, *USER_SIGNALS]
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before
    # Of an import that watches for nnU-Net, which a module may have made when it was collected.
    assert not [finder for finder in sys.meta_path if type(finder).__module__ == "fastnnunet_autoload"]
