"""Batches of every kind of tree, and their digests."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import open_source

from .leaves import everything, leaves
from .volumes import KINDS, Kind, image_of, labels_of, write

__all__ = ["TRAINERS", "digests", "environment", "libm", "versions"]

# The first of each has the trees of many: others differ in losses, schedules and networks.
TRAINERS = (
    "nnUNetTrainer",
    "nnUNetTrainerDA5",
    "nnUNetTrainerDA5ord0",
    "nnUNetTrainerDA5Segord0",
    "nnUNetTrainer_DASegOrd0",
    "nnUNetTrainerNoDA",
)
STEPS = 4
SEED = 7


def environment(folder: Path) -> dict[str, str]:
    """nnU-Net's folders, for `digests` to write data sets into."""
    return {name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}


def versions() -> dict[str, str]:
    """Of what builds the trees."""
    return {name: importlib.metadata.version(name) for name in ("nnunetv2", "batchgeneratorsv2")}


def libm() -> str:
    """A fingerprint of the C library's mathematics: what the functions that the core calls give, to the last bit."""
    functions: tuple[Callable[[float], float], ...] = (math.sin, math.cos, math.exp, math.log, math.erf, lambda x: x**1.7)
    values = [function(0.001 + i * 0.00037) for function in functions for i in range(20000)]
    return hashlib.sha256(struct.pack(f"{len(values)}d", *values)).hexdigest()[:16]


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, SHA-256) of the batches of every kind of tree. `folder` is empty and the one of the `environment` that is set."""
    folders = environment(folder)
    for kind in KINDS:
        write(kind, Path(folders["nnUNet_preprocessed"]), Path(folders["nnUNet_results"]), TRAINERS)
        yield from _of_trainers(kind)
    yield from _of_leaves()


def _of_trainers(kind: Kind) -> Iterator[tuple[str, str]]:
    for trainer in TRAINERS:
        source = open_source(kind.dataset, kind.configuration, kind.fold, trainer)
        where = f"{kind.name} {kind.configuration}, {trainer}"
        yield f"{where}, training", of_batches(source.train)
        fire_always(source.train.transforms)
        yield f"{where}, training, always", of_batches(source.train)
        if trainer == TRAINERS[0]:
            yield f"{where}, validation", of_batches(source.val)


def fire_always(node: Any) -> None:
    """Make every transform of a tree fire in every sample."""
    if hasattr(node, "apply_probability"):
        node.apply_probability = 1.0
        fire_always(node.transform)
    elif type(node).__name__ == "SpatialTransform":
        node.p_rotation = node.p_scaling = 1.0
    for child in getattr(node, "transforms", getattr(node, "list_of_transforms", ())):
        fire_always(child)


def of_batches(data_loader: Any) -> str:
    """The digest of the first batches: cases, image, every target with its type."""
    digest = hashlib.sha256()
    with fl.DataLoader.from_nnunet(data_loader, threads=2, seed=SEED, memory_budget="64MB", pin_memory=False) as loader:
        if not loader.pipeline.all_native:
            raise RuntimeError(f"[digests] expected native transforms, got {loader.pipeline.fallbacks}")
        for _ in range(STEPS):
            batch = next(loader)
            digest.update(repr(batch["keys"]).encode())
            _add(digest, {"data": batch["data"], "target": batch["target"]})
    return digest.hexdigest()


def _add(digest: Any, tensors: Mapping[str, torch.Tensor | list[torch.Tensor]]) -> None:
    for name in sorted(tensors):
        value = tensors[name]
        for tensor in value if isinstance(value, list) else [value]:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())


def _of_leaves() -> Iterator[tuple[str, str]]:
    for patch, shape in (((19, 23, 23), (27, 30, 30)), ((23, 23), (30, 30))):
        name = f"{len(shape)}D"
        image, segmentation = image_of(shape, 2, 9), labels_of(shape, 4, 10)
        trees = dict(leaves(patch))
        trees["every transform"] = [everything(patch)]
        for leaf, transforms in trees.items():
            pipeline = fl.compile_transforms(ComposeTransforms(transforms))
            if not pipeline.all_native:
                raise RuntimeError(f"[{leaf}] expected native transforms, got {pipeline.fallbacks}")
            digest = hashlib.sha256()
            for step in range(STEPS):
                _add(digest, pipeline(image=image, segmentation=segmentation, seed=SEED, step=step))
            yield f"{name}, {leaf}", digest.hexdigest()
