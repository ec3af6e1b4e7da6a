"""How samples of two libraries are compared: where their voxels come from, and how their values are distributed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import ks_2samp

import fastnnunet_loader as fl

LEAST_P = 1e-3
"""Of Kolmogorov and Smirnov's test of two samples, with fixed seeds."""

Volume = npt.NDArray[np.float32]


def places(shape: Sequence[int]) -> torch.Tensor:
    """An image whose channels are the coordinates of its voxels from the middle, (3, X, Y, Z)."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def texture(shape: Sequence[int], channels: int = 1) -> torch.Tensor:
    """A smooth image of values around 1, different in each channel."""
    noise = np.random.default_rng(5).standard_normal((channels, *shape))
    smooth = np.stack([gaussian_filter(channel, 1.5) for channel in noise])
    return torch.from_numpy(1 + smooth / smooth.std() * 0.3).float()


def blocks(shape: Sequence[int]) -> torch.Tensor:
    """Labels 0, 3 and 7, so that a value between two of them is noticed."""
    labels = torch.zeros(1, *shape, dtype=torch.int16)
    labels[:, shape[0] // 4 : shape[0] // 2] = 3
    labels[..., shape[-1] // 2 :] = 7
    return labels


def native(augmentation: fl.augmentation.Augmentation, image: torch.Tensor, labels: torch.Tensor, count: int) -> list[Any]:
    """Samples of the native transforms: (image, labels)."""
    pipeline = fl.compile_transforms(augmentation.transforms)
    samples = [pipeline(image=image, segmentation=labels, seed=seed) for seed in range(count)]
    return [(sample["image"], sample["segmentation"]) for sample in samples]


def affine_of(moved: torch.Tensor, margin: int = 5) -> npt.NDArray[np.float64]:
    """The matrix (3, 4) that gives, of a voxel's place, the place that its value comes from: least squares in the middle."""
    shape = tuple(moved.shape[1:])
    inside = tuple(slice(margin, n - margin) for n in shape)
    at = places(shape)[(slice(None), *inside)].reshape(3, -1).double().numpy()
    to = moved[(slice(None), *inside)].reshape(3, -1).double().numpy()
    found: npt.NDArray[np.float64] = np.linalg.lstsq(np.vstack([at, np.ones(at.shape[1])]).T, to.T, rcond=None)[0].T
    return found


def facts_of(matrix: npt.NDArray[np.float64]) -> dict[str, float]:
    """Scales along the axes and angles between them, which do not depend on the order of small turns to first order."""
    linear = matrix[:, :3]
    scales = np.linalg.norm(linear, axis=0)
    turn = linear / scales
    facts = {f"scale {axis}": scales[axis] for axis in range(3)}
    facts |= {"turn x": turn[2, 1] - turn[1, 2], "turn y": turn[0, 2] - turn[2, 0], "turn z": turn[1, 0] - turn[0, 1]}
    return facts | {f"middle {axis}": matrix[axis, 3] for axis in range(3)}


def compare(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]], tolerance: float = 1e-3) -> None:
    """Require that facts are distributed alike: the same share is idle, and the rest passes Kolmogorov and Smirnov's test."""
    for name in ours[0]:
        a, b = (np.array([facts[name] for facts in some]) for some in (ours, theirs))
        if np.ptp(a) < tolerance and np.ptp(b) < tolerance:
            assert abs(a.mean() - b.mean()) < tolerance, name
            continue
        p = ks_2samp(np.round(a / tolerance), np.round(b / tolerance), method="asymp").pvalue
        assert p > LEAST_P, (
            f"{name}: {np.quantile(a, [0, 0.25, 0.5, 0.75, 1])} is not {np.quantile(b, [0, 0.25, 0.5, 0.75, 1])}"
        )


def values_of(change: Callable[[int], torch.Tensor], image: torch.Tensor, count: int) -> list[dict[str, float]]:
    """Facts of the values of several samples of an image, all channels together and the first one alone."""
    facts = []
    for number in range(count):
        out = change(number).double()
        difference = out - image.double()
        facts.append(
            {
                "mean": float(out.mean()),
                "deviation": float(out.std()),
                "least": float(out.min()),
                "largest": float(out.max()),
                "changed by": float(difference.std()),
                "first channel": float(difference[0].mean()),
                "roughness": float(out.diff(dim=-1).std()),
                "roughness of the first axis": float(out.diff(dim=1).std()),
            }
        )
    return facts


def displacements(moved: torch.Tensor, margin: int) -> dict[str, float]:
    """Facts of a deformation in the middle of a patch, in voxels."""
    offset = (moved - places(moved.shape[1:]))[(slice(None), *(slice(margin, n - margin) for n in moved.shape[1:]))]
    return {
        "deviation": float(offset.pow(2).mean().sqrt()),
        "largest": float(offset.abs().max()),
        "smoothness": float(offset.diff(dim=1).pow(2).mean().sqrt()),
    }
