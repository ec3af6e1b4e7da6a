"""Fixtures of the tests of prediction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from models import model_folder


@pytest.fixture
def trained(nnunet_dataset: Any, dataset_cache: Path) -> Callable[..., tuple[Any, Path]]:
    """Return a function that gives a data set by its variant, with the folder of a network trained on it."""

    def factory(variant: str = "default", configuration: str = "3d_fullres", folds: tuple[int, ...] = (0,)) -> tuple[Any, Path]:
        dataset = nnunet_dataset(variant)
        return dataset, model_folder(dataset, dataset_cache, configuration, folds)

    return factory
