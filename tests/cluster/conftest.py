"""Fixtures of the tests of clusters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from models import model_folder


@pytest.fixture
def trained(nnunet_dataset: Any, dataset_cache: Path) -> Callable[..., tuple[Any, Path]]:
    """Return a function that gives a data set, with the folder of a network trained on it."""

    def factory(variant: str = "default") -> tuple[Any, Path]:
        dataset = nnunet_dataset(variant)
        return dataset, model_folder(dataset, dataset_cache)

    return factory
