"""Folders of small cases that no preprocessing of nnU-Net made, and loaders of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import torch

import fastnnunet_loader as fl


def numpy_folder(root: Path, ending: str = "npz", *, labels: bool = True, channels: int = 1, cases: int = 4) -> Path:
    """Images of 20 x 24 x 28 voxels whose values tell where they are; case i has the labels 1 and 2 + i % 2."""
    root.mkdir(exist_ok=True)
    place = np.arange(20 * 24 * 28, dtype=np.float32).reshape(1, 20, 24, 28)
    for number in range(cases):
        image = np.concatenate([place + 20_000 * number + 100_000 * channel for channel in range(channels)])
        segmentation = np.zeros((1, 20, 24, 28), np.int8)
        segmentation[0, 4:9, 5:11, 6:13] = 1
        segmentation[0, 15, 20, 3 + number] = 2 + number % 2
        write_case(root, f"case_{number}", image, segmentation if labels else None, ending)
    return root


def write_case(root: Path, name: str, image: Any, segmentation: Any, ending: str) -> None:
    if ending == "npz":
        arrays = {"data": image} if segmentation is None else {"data": image, "seg": segmentation}
        np.savez_compressed(root / f"{name}.npz", **arrays)
        return
    for file, array in ((name, image), (f"{name}_seg", segmentation)):
        if array is None:
            continue
        if ending == "npy":
            np.save(root / f"{file}.npy", array)
        else:
            blosc2.asarray(np.ascontiguousarray(array), urlpath=str(root / f"{file}.b2nd"), mode="w")


def open_folder(root: Path, **settings: Any) -> fl.DataLoader:
    given: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 3, "threads": 2, "seed": 5, "pin_memory": False}
    return fl.DataLoader.from_folder(root, **{**given, **settings})


def taken(loader: fl.DataLoader, count: int = 6) -> list[dict[str, Any]]:
    with loader:
        return [next(loader) for _ in range(count)]


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> bool:
    return all(
        a["case"] == b["case"] and torch.equal(a["image"], b["image"]) and torch.equal(a["label"], b["label"])
        for a, b in zip(ours, theirs, strict=True)
    )
