"""nnU-Net's trainers, and the trees of transforms that they build, each distinct one once."""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from typing import Any

from fastnnunet_loader.nnunet.sources import open_source

# They refuse to be made without a GPU. The first has nnUNetTrainer's transforms, the second reads no data.
ON_GPU_ONLY = {"nnUNetTrainerBenchmark_5epochs", "nnUNetTrainerBenchmark_5epochs_noDataLoading"}


def nnunet_trainers() -> list[type[Any]]:
    """Every trainer class that the installed nnU-Net has, by name."""
    import nnunetv2.training.nnUNetTrainer as package
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the networks' own imports
            importlib.import_module(module.name)

    def family(cls: type[Any]) -> list[type[Any]]:
        return [cls, *(member for subclass in cls.__subclasses__() for member in family(subclass))]

    return sorted({c for c in family(nnUNetTrainer) if c.__module__.startswith("nnunetv2.")}, key=lambda c: c.__name__)


def distinct_trees(dataset: Any, variant: str, configuration: str) -> list[tuple[str, Any]]:
    """The nnUNetDataLoader objects of all trainers, training and validation, those with equal transforms once.

    Each has the name of the first trainer that makes it.
    """
    if variant == "cascade":
        for trainer in nnunet_trainers():
            dataset.add_previous_stage(trainer.__name__)
    trees: dict[str, tuple[str, Any]] = {}
    for trainer in nnunet_trainers():
        if trainer.__name__ in ON_GPU_ONLY:
            continue
        source = open_source(dataset.name, configuration, "all" if variant == "cascade" else 0, trainer.__name__)
        for loader in (source.train, source.val):
            if loader.transforms is None:
                continue
            described = re.sub(r"0x[0-9a-f]+", "", repr(loader.transforms)) + str(window_of(loader))
            trees.setdefault(described, (trainer.__name__, loader))
    return list(trees.values())


def window_of(loader: Any) -> tuple[int, ...]:
    """The shape of what the transforms are given, without channels."""
    return tuple(int(n) for n in loader.patch_size[-2 if loader.patch_size_was_2d else -3 :])
