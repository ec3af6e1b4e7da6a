"""What the benchmarks check before they time: that both sides make the same of the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
from recording import leaves, recording

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import open_source

# What no parameter describes: the results cannot be compared voxel by voxel.
DRAWN_WHILE_APPLIED = (GaussianNoiseTransform, RicianNoiseTransform, RemoveRandomConnectedComponentFromOneHotEncodingTransform)
IMAGES, LABELS = 1e-4, 1e-4  # of the intensity range, and of the voxels, as docs/parity.md has it


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def tensors(image: np.ndarray, segmentation: np.ndarray) -> dict[str, Any]:
    """Copies, as transforms write into what they are given."""
    return {"image": torch.from_numpy(image.copy()), "segmentation": torch.from_numpy(segmentation.copy())}


def _segmentations(data: dict[str, Any]) -> list[torch.Tensor]:
    found = data["segmentation"]
    return list(found) if isinstance(found, (list, tuple)) else [found]


def differences(got: dict[str, Any], expected: dict[str, Any]) -> tuple[float, float]:
    """Largest of the images, as a share of the range, infinite where one is NaN; largest share of a segmentation's voxels."""
    ours, theirs = got["image"].double(), expected["image"].double()
    span = float(theirs.max() - theirs.min()) or 1.0
    image = float((ours - theirs).abs().max()) / span
    pairs = zip(_segmentations(got), _segmentations(expected), strict=True)
    return image if image == image else float("inf"), max(float((g != e).double().mean()) for g, e in pairs)


def require_agreement(
    where: str, got: dict[str, Any], expected: dict[str, Any], images: float = IMAGES, channels: int | None = None
) -> tuple[float, float]:
    """Raise RuntimeError unless shapes are equal, images within `images` of their range, and labels but for ties.

    channels: of the image, where labels of a cascade's previous stage follow; None for all. Returns the differences.
    """
    labels = list(zip(_segmentations(got), _segmentations(expected), strict=True))
    for ours, theirs in [(got["image"], expected["image"]), *labels]:
        if ours.shape != theirs.shape:
            raise RuntimeError(f"[{where}] expected shape {tuple(theirs.shape)}, got {tuple(ours.shape)}")
    if channels is not None:
        labels.append((got["image"][channels:], expected["image"][channels:]))
        got, expected = ({**data, "image": data["image"][:channels]} for data in (got, expected))
    seen = differences(got, expected)
    if not seen[0] <= images:
        raise RuntimeError(f"[{where}] expected images within {images:g} of the range, got a difference of {seen[0]:.1e}")
    for ours, theirs in labels:
        # Of the few voxels of a small target one may be a tie.
        wrong, most = int((ours != theirs).sum()), max(1, int(LABELS * theirs.numel()))
        if wrong > most:
            raise RuntimeError(f"[{where}] expected {most} voxels at the most that differ, got {wrong} of {theirs.numel()}")
    return seen


def _random_transforms(tree: Any) -> Iterator[Any]:
    for node in getattr(tree, "transforms", getattr(tree, "list_of_transforms", ())):
        if type(node).__name__ == "RandomTransform":
            yield node
        yield from _random_transforms(node)


@contextmanager
def comparable(tree: Any, always: bool = False) -> Iterator[None]:
    """Inside, no transform of a tree fires whose results cannot be compared; with `always`, all others do.

    Those that cannot be compared all stand below a RandomTransform.
    """
    before = []
    for node in _random_transforms(tree):
        before.append((node, "apply_probability", node.apply_probability))
        if any(isinstance(leaf, DRAWN_WHILE_APPLIED) for leaf in leaves(node)):
            node.apply_probability = 0.0
        elif always:
            node.apply_probability = 1.0
    for leaf in leaves(tree) if always else ():
        for name in ("p_rotation", "p_scaling"):
            if hasattr(leaf, name):
                before.append((leaf, name, getattr(leaf, name)))
                setattr(leaf, name, 1.0)
    try:
        yield
    finally:
        for node, name, value in before:
            setattr(node, name, value)


def nnunets_cut(source: Any, case: str, window: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Image and segmentation, (C, X, Y, Z) or (C, Y, Z), as nnU-Net's own nnUNetDataLoader reads and cuts them."""
    lower, upper = ([pair[side] for pair in window] for side in (0, 1))
    replaced = {
        "transforms": None,
        "batch_size": 1,
        "get_indices": lambda: [case],
        "get_do_oversample": lambda _: False,
        "get_bbox": lambda *_: (lower, upper),
    }
    before = {name: vars(source)[name] for name in replaced if name in vars(source)}
    vars(source).update(replaced)
    try:
        batch = source.generate_train_batch()
    finally:
        for name in replaced:
            del vars(source)[name]
        vars(source).update(before)
    return batch["data"][0].numpy(), batch["target"][0].numpy()


def check_agreement(
    dataset: str,
    configuration: str,
    fold: int | str = 0,
    trainer: str = "nnUNetTrainer",
    draws: int = 3,
    keep_blocks: bool = True,
) -> None:
    """Compare this loader's samples with what nnU-Net's own code makes of the same windows.

    Voxels that were read are equal; a sample is what the transforms make of its window; and with the parameters that
    batchgeneratorsv2 draws, both sides make the same of a window, as the transforms are set and with all of them firing.
    Raises RuntimeError where they do not.
    """
    source = open_source(dataset, configuration, fold, trainer).train
    where = f"{dataset}, {configuration}, {trainer}"
    windows = []
    with fl.DataLoader.from_nnunet(source, threads=1, seed=0, pin_memory=False, keep_blocks=keep_blocks) as loader:
        for number in range(draws):
            step, slot = divmod(number, loader.batch_size)
            patch = loader.patch(step, slot)
            image, segmentation = nnunets_cut(source, patch.case, patch.window)
            if not (np.array_equal(image, patch.image) and np.array_equal(segmentation, patch.segmentation)):
                raise RuntimeError(f"[{where}] expected {patch.case} in {patch.window} as nnU-Net cuts it, got other voxels")
            sample = loader.sample(step, slot)
            made = loader.pipeline(image=image, segmentation=segmentation, **loader.sample_id(step, slot))
            if differences({"image": sample["data"], "segmentation": sample["target"]}, made) != (0.0, 0.0):
                raise RuntimeError(f"[{where}] expected the sample of {patch.case} that its window gives, got another")
            windows.append((image, segmentation))
    tree = source.transforms
    for number in range(2 * draws):
        image, segmentation = windows[number % draws]
        with comparable(tree, always=number >= draws):
            seed_all(number)
            with recording(tree) as trace, torch.no_grad():
                expected = tree(**tensors(image, segmentation))
            got = fl.compile_transforms(tree).replay(trace, image=image, segmentation=segmentation)
        require_agreement(where, got, expected, channels=len(image))
