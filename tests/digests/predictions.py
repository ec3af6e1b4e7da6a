"""Predictions of every kind of plan, and their digests.

The network multiplies and adds, voxel by voxel, by powers of two: a convolution would give other last bits for each version of
torch and each processor. All else is what a user runs: crop, normalise, resize, sliding window with its mirrored copies and
Gaussian weights, average of folds, resize back, labels and probabilities. Intensities are normalised as those of CT, with
numbers from the plans: a mean over an image would depend on how NumPy sums. Images are arrays, so that no reader of files takes
part.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from fastnnunet_loader.prediction.session.session import Session

from .volumes import image_of, labels_of

__all__ = ["PREDICTIONS", "digests_of_predictions"]

_REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "centre": 3}
_CLASSES = {"background": 0, "first": 1, "second": 2}


@dataclass(frozen=True)
class Prediction:
    """One image, a plan, and how it is predicted."""

    name: str
    shape: tuple[int, int, int]  # of the image, (X, Y, Z)
    spacing: tuple[float, float, float]
    patch: tuple[int, ...]
    target: tuple[float, ...] = (1.0, 1.0, 1.0)  # spacing that the network was trained with
    channels: int = 1
    labels: dict[str, Any] = field(default_factory=lambda: _CLASSES)
    folds: int = 1
    forward: tuple[int, int, int] = (0, 1, 2)  # the plans' transposition
    cascade: bool = False
    mirrored: bool = False
    streams: bool = True  # whether logits become labels while windows pass, or nnU-Net's loop keeps those of the whole image

    @property
    def regions(self) -> bool:
        """Whether heads are regions of labels."""
        return any(isinstance(value, list) for value in self.labels.values())

    @property
    def heads(self) -> int:
        """How many the network has."""
        return len(self.labels) - self.regions


PREDICTIONS = (
    Prediction("default 3d_fullres", (37, 33, 41), (1.25, 0.8, 0.9), (16, 20, 24)),
    Prediction("default 3d_fullres, mirrored", (47, 30, 28), (1.1, 0.8, 0.9), (16, 20, 24), mirrored=True),
    Prediction("default 3d_fullres, 2 folds", (57, 30, 28), (1.0, 1.1, 0.9), (16, 20, 24), folds=2),
    Prediction("default 3d_fullres, along the last axis", (21, 24, 73), (1.0, 1.0, 1.25), (16, 20, 24)),
    Prediction("default 3d_fullres, one window", (15, 19, 21), (1.0, 1.0, 1.0), (16, 20, 24), streams=False),
    Prediction("default 2d", (19, 45, 41), (2.0, 0.8, 0.9), (24, 28), target=(1.0, 1.0)),
    Prediction("anisotropic 3d_fullres", (32, 47, 43), (5.0, 0.7, 0.8), (8, 24, 20), target=(4.0, 1.0, 1.0)),
    Prediction("regions 3d_fullres", (37, 33, 41), (1.25, 0.8, 0.9), (16, 20, 24), labels=_REGIONS),
    Prediction("two_channels 3d_fullres", (37, 33, 41), (0.9, 1.2, 1.0), (16, 20, 24), channels=2),
    Prediction("transposed 3d_fullres", (27, 33, 41), (0.9, 1.2, 1.0), (16, 20, 24), forward=(2, 0, 1)),
    Prediction("cascade 3d_cascade_fullres", (37, 33, 41), (1.25, 0.8, 0.9), (16, 20, 24), cascade=True),
)


class _Exact(torch.nn.Module):
    """(B, C, X, Y, Z) to (B, heads, X, Y, Z): each head likes intensities near one of its own. Every number is a power of two
    times a small integer, and every step one operation."""

    def __init__(self, channels: int, heads: int, fold: int) -> None:
        super().__init__()
        self.channels = channels
        numbers = torch.arange(heads * channels).reshape(heads, channels)
        self.weights = torch.nn.Parameter(((numbers * 5 + fold) % 7 - 3) / 2, requires_grad=False)
        self.offsets = torch.nn.Parameter((torch.arange(heads) * 3 % 4 - 1) / 4, requires_grad=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits."""
        heads = []
        for weights, offset in zip(self.weights, self.offsets, strict=True):
            total = offset.expand(image.shape[0], *image.shape[2:])
            for channel in range(self.channels):
                total = total + image[:, channel] * weights[channel]
            heads.append(total)
        return torch.stack(heads, 1)


def _plans(kind: Prediction) -> dict[str, Any]:
    name = kind.name.partition(",")[0].split()[1]
    dims = len(kind.patch)
    configuration: dict[str, Any] = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(kind.patch),
        "median_image_size_in_voxels": list(kind.shape[-dims:]),
        "spacing": list(kind.target),
        "normalization_schemes": ["CTNormalization"] * kind.channels,
        "use_mask_for_norm": [False] * kind.channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {"features_per_stage": [4, 8], "strides": [[1] * dims, [2] * dims]},
            "_kw_requires_import": [],
        },
        "batch_dice": False,
    }
    configurations = {name: configuration}
    if kind.cascade:
        configurations["3d_lowres"] = {**configuration, "next_stage": name}
        configuration["previous_stage"] = "3d_lowres"
    intensities = {"mean": 0.5, "std": 1.25, "percentile_00_5": -1.5, "percentile_99_5": 3.5}
    return {
        "dataset_name": f"Dataset900_{kind.name.split()[0]}",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(kind.spacing),
        "original_median_shape_after_transp": list(kind.shape),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(kind.forward),
        "transpose_backward": np.argsort(kind.forward).tolist(),
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): intensities for channel in range(kind.channels)},
    }


def _predictor_of(kind: Prediction) -> nnUNetPredictor:
    plans = PlansManager(_plans(kind))
    configuration = plans.get_configuration(kind.name.partition(",")[0].split()[1])
    description: dict[str, Any] = {
        "channel_names": {str(channel): "CT" for channel in range(kind.channels)},
        "labels": kind.labels,
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    if kind.regions:
        description["regions_class_order"] = [1, 2, 3]
    channels = kind.channels + kind.cascade * (len(kind.labels) - 1)
    networks = [_Exact(channels, kind.heads, fold) for fold in range(kind.folds)]
    axes = tuple(range(len(kind.patch))) if kind.mirrored else None
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # it prints on CPUs
        predictor = nnUNetPredictor(use_mirroring=kind.mirrored, device=torch.device("cpu"), allow_tqdm=False)
    states = [network.state_dict() for network in networks]
    predictor.manual_initialization(networks[0], plans, configuration, states, description, "nnUNetTrainer", axes)
    predictor.network.load_state_dict(states[0])  # nnU-Net's own loop expects it loaded
    return predictor


def _image_of(kind: Prediction, key: int) -> npt.NDArray[np.float32]:
    """(C, X, Y, Z), zero in some planes at its borders, which are cropped."""
    image = image_of(kind.shape, kind.channels, key)
    image[:, :2] = 0
    image[..., -3:] = 0
    return image


def digests_of_predictions() -> Iterator[tuple[str, str]]:
    """(name, SHA-256) of the segmentation and the probabilities of one image for every kind of plan."""
    for number, kind in enumerate(PREDICTIONS):
        said: list[str] = []
        session = Session(
            _predictor_of(kind), save_probabilities=True, memory_budget=2**30, threads=2, progress=False, say=said.append
        )
        if said:
            raise RuntimeError(f"[{kind.name}] expected native code only, got: {said}")
        image = _image_of(kind, 100 * number)
        previous = np.maximum(labels_of(kind.shape, 3, 100 * number + 50), 0) if kind.cascade else None
        (job,) = session.jobs_of_arrays([image], [previous], [{"spacing": list(kind.spacing)}], None)
        prepared, properties = job.prepare()
        predicted = session.predict(job.case, prepared, properties, None)
        if isinstance(predicted, torch.Tensor) == kind.streams:
            raise RuntimeError(
                f"[{kind.name}] expected {'planes' if kind.streams else 'logits'}, got {type(predicted).__name__}"
            )
        segmentation, probabilities = session.export(predicted, properties, None)
        if len(np.unique(segmentation)) < 3:
            raise RuntimeError(f"[{kind.name}] expected every label, got {np.unique(segmentation)}")
        for what, array in (
            ("preprocessed", prepared.numpy()),
            ("segmentation", segmentation),
            ("probabilities", probabilities),
        ):
            yield f"{kind.name}: {what}", _digest(array)


def _digest(array: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{array.dtype.name} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
