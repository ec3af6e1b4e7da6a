"""What the benchmarks check before they time: that both sides make the same of the same."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform

import fastnnunet_loader as fl
from fastnnunet_loader.recording import leaves, recording
from fastnnunet_loader.sources import open_source

# What no parameter describes: the results cannot be compared voxel by voxel.
DRAWN_WHILE_APPLIED = (GaussianNoiseTransform, RicianNoiseTransform, RemoveRandomConnectedComponentFromOneHotEncodingTransform)
IMAGES, LABELS = 1e-4, 1e-3  # of the intensity range, and of the voxels, as docs/parity.md has it


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def tensors(image: np.ndarray, segmentation: np.ndarray) -> dict[str, Any]:
    """Copies, as transforms write into what they are given."""
    return {"image": torch.from_numpy(image.copy()), "segmentation": torch.from_numpy(segmentation.copy())}


def differences(got: dict[str, Any], expected: dict[str, Any]) -> tuple[float, float]:
    """Largest of the images, as a share of the range; share of the segmentations' voxels."""
    ours, theirs = got["image"].double(), expected["image"].double()
    span = float(theirs.max() - theirs.min()) or 1.0
    pairs = [(got["segmentation"], expected["segmentation"])]
    if isinstance(expected["segmentation"], list):
        pairs = list(zip(*pairs[0], strict=True))
    labels = max(float((g != e).double().mean()) for g, e in pairs)
    return float((ours - theirs).abs().max()) / span, labels


def without(tree: Any, kinds: tuple[type, ...]) -> None:
    """Let transforms of these kinds never fire; all of them stand below a RandomTransform."""
    for node in getattr(tree, "transforms", getattr(tree, "list_of_transforms", ())):
        if type(node).__name__ == "RandomTransform" and any(isinstance(leaf, kinds) for leaf in leaves(node)):
            node.apply_probability = 0.0
        without(node, kinds)


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
    dataset: str, configuration: str, fold: int | str = 0, trainer: str = "nnUNetTrainer", draws: int = 4
) -> None:
    """Compare this loader's samples with what nnU-Net's own code makes of the same windows.

    Voxels that were read are equal; a sample is what the transforms make of its window; and with the parameters that
    batchgeneratorsv2 draws, both sides make the same of a window. Raises RuntimeError where they do not.
    """
    source = open_source(dataset, configuration, fold, trainer).train
    where = f"{dataset}, {configuration}, {trainer}"
    with fl.DataLoader.from_nnunet(source, threads=1, seed=0, pin_memory=False) as loader:
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
    without(source.transforms, DRAWN_WHILE_APPLIED)
    pipeline = fl.compile_transforms(source.transforms)
    for number in range(draws):
        seed_all(number)
        with recording(source.transforms) as trace, torch.no_grad():
            expected = source.transforms(**tensors(image, segmentation))
        seen = differences(pipeline.replay(trace, image=image, segmentation=segmentation), expected)
        if seen[0] > IMAGES or seen[1] > LABELS:
            raise RuntimeError(
                f"[{where}] expected images within {IMAGES:g} and labels within {LABELS:g}, got {seen[0]:.1e} and {seen[1]:.1e}"
            )
