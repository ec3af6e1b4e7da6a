"""Preprocessed data sets that are the same on every machine: nnU-Net's files, with voxels made of integers alone.

What nnU-Net preprocesses depends on the versions of SciPy and scikit-image, and on the processor. These voxels are sums of
hashed coordinates, and the plans are written down, so that digests of batches can be compared between machines.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

__all__ = ["KINDS", "Kind", "hashed", "image_of", "labels_of", "write"]

CASES = 4
LOCATIONS = 400  # voxels of each class that are kept


@dataclass(frozen=True)
class Kind:
    """A data set that makes nnU-Net's trainers build trees of one kind."""

    name: str  # as the variant in tests/datasets.py
    configuration: str
    number: int  # of the data set
    patch: tuple[int, ...]
    shape: tuple[int, int, int]  # of the first case; the others are a little larger or smaller
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: int = 1
    labels: dict[str, Any] = field(default_factory=lambda: {"background": 0, "first": 1, "second": 2})
    numpy: bool = False  # .npz and .npy in place of .b2nd

    @property
    def dataset(self) -> str:
        """nnU-Net's name."""
        return f"Dataset{self.number:03d}_{self.name}"

    @property
    def cascade(self) -> bool:
        """Whether a previous stage has segmented the cases."""
        return self.configuration == "3d_cascade_fullres"

    @property
    def fold(self) -> int | str:
        """All cases of a cascade have a previous stage's segmentation."""
        return "all" if self.cascade else 0


_REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "centre": 3}
KINDS = (
    Kind("default", "3d_fullres", 1, (24, 28, 28), (40, 37, 45)),
    Kind("default", "2d", 7, (28, 32), (40, 37, 45)),
    Kind("anisotropic", "3d_fullres", 2, (8, 32, 28), (13, 47, 41), (5.0, 1.0, 1.0)),
    Kind("regions", "3d_fullres", 3, (24, 28, 28), (40, 37, 45), labels=_REGIONS),
    Kind("ignore", "3d_fullres", 4, (24, 28, 28), (40, 37, 45), labels={"background": 0, "first": 1, "ignore": 2}),
    Kind("two_channels", "3d_fullres", 5, (24, 28, 28), (40, 37, 45), channels=2, numpy=True),
    Kind("cascade", "3d_cascade_fullres", 6, (24, 28, 28), (40, 37, 45)),
)


def hashed(shape: tuple[int, ...], key: int) -> npt.NDArray[np.int64]:
    """Numbers from 0 to 65535, one for each place of `shape`: a multiply-xorshift hash of place and key."""
    count = int(np.prod(shape))
    x = np.arange(count, dtype=np.uint64) + np.uint64(key * 0x1000003)
    for factor, shift in ((0x9E3779B97F4A7C15, 29), (0xBF58476D1CE4E5B9, 32), (0x94D049BB133111EB, 31)):
        x *= np.uint64(factor)
        x ^= x >> np.uint64(shift)
    return (x & np.uint64(0xFFFF)).astype(np.int64).reshape(shape)


def _blocks(shape: tuple[int, ...], size: int, key: int) -> npt.NDArray[np.int64]:
    """Hashed numbers that are equal within blocks of size^3 voxels."""
    numbers = hashed(tuple(-(-n // size) for n in shape), key)
    for axis, n in enumerate(shape):
        numbers = numbers.repeat(size, axis).take(range(n), axis)
    return numbers


def labels_of(shape: tuple[int, ...], count: int, key: int) -> npt.NDArray[np.int16]:
    """(1, *shape): labels below `count` in blocks of 5 and single voxels, and -1, outside of the body, in the first planes."""
    coarse = _blocks(shape, 5, key) % count
    single = hashed(shape, key + 1)
    labels = np.where(single % 23 == 0, single % count, coarse)
    labels[:2] = -1
    labels[..., -3:] = -1
    return labels[None].astype(np.int16)


def image_of(shape: tuple[int, ...], channels: int, key: int) -> npt.NDArray[np.float32]:
    """(channels, *shape): about -2 to 4, smooth in steps of 7 and 3 voxels with noise on it; every value is exact."""
    image = [
        _blocks(shape, 7, k) + _blocks(shape, 3, k + 1) // 2 + hashed(shape, k + 2) // 4 - 40000
        for k in range(key, key + 10 * channels, 10)
    ]
    return (np.stack(image).astype(np.float32) / np.float32(16384)).astype(np.float32)


def _locations(kind: Kind, labels: npt.NDArray[np.int16]) -> dict[Any, npt.NDArray[np.int64]]:
    """What nnU-Net writes as 'class_locations': for each label or region (N, 4), channel first."""
    wanted = [tuple(v) if isinstance(v, list) else v for name, v in kind.labels.items() if name not in ("background", "ignore")]
    if "ignore" in kind.labels:
        wanted.append(tuple(range(-1, kind.labels["ignore"])))  # all that is annotated
    locations = {}
    for label in wanted:
        voxels = np.argwhere(np.isin(labels, label))
        locations[label] = voxels[:: max(1, len(voxels) // LOCATIONS)]
    return locations


def _plans(kind: Kind) -> dict[str, Any]:
    dims = len(kind.patch)
    strides = [[1] * dims, [2] * dims, [2] * dims]
    if kind.name == "anisotropic":
        strides[1] = [1, 2, 2]
    configuration = {
        "data_identifier": f"nnUNetPlans_{kind.configuration}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(kind.patch),
        "median_image_size_in_voxels": list(kind.shape[-dims:]),
        "spacing": list(kind.spacing[-dims:]),
        "normalization_schemes": ["ZScoreNormalization"] * kind.channels,
        # What nnU-Net masks, it augments by another tree.
        "use_mask_for_norm": [channel == 1 for channel in range(kind.channels)],
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {"strides": strides},
            "_kw_requires_import": [],
        },
        "batch_dice": False,
    }
    configurations = {kind.configuration: configuration}
    if kind.cascade:
        configurations["3d_lowres"] = {**configuration, "next_stage": kind.configuration}
        configuration["previous_stage"] = "3d_lowres"
    return {
        "dataset_name": kind.dataset,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(kind.spacing),
        "original_median_shape_after_transp": list(kind.shape),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
    }


def _description(kind: Kind) -> dict[str, Any]:
    described = {
        "channel_names": {str(channel): "MRI" for channel in range(kind.channels)},
        "labels": kind.labels,
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    if any(isinstance(value, list) for value in kind.labels.values()):
        described["regions_class_order"] = [1, 2, 3]
    return described


def write(kind: Kind, preprocessed: Path, results: Path, trainers: tuple[str, ...]) -> None:
    """Write a data set as nnU-Net's preprocessing leaves it, and for a cascade what the stage before predicted."""
    folder = preprocessed / kind.dataset
    folder.mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(_plans(kind)), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(_description(kind)), encoding="utf-8")
    names = [f"case_{number}" for number in range(CASES)]
    (folder / "splits_final.json").write_text(json.dumps([{"train": names[:-1], "val": names[-1:]}]), encoding="utf-8")
    cases = folder / f"nnUNetPlans_{kind.configuration}"
    cases.mkdir()
    count = max(value for values in kind.labels.values() for value in np.atleast_1d(values)) + 1
    for number, name in enumerate(names):
        shape = (kind.shape[0] + number, kind.shape[1] - number, kind.shape[2] + 2 * number)
        key = 1000 * kind.number + 100 * number
        image, labels = image_of(shape, kind.channels, key), labels_of(shape, int(count), key + 50)
        image[:, labels[0] < 0] = 0
        _write_case(kind, cases / name, image, labels)
        (cases / f"{name}.pkl").write_bytes(pickle.dumps({"class_locations": _locations(kind, labels)}))
        if kind.cascade:
            previous = np.where(labels_of(shape, int(count), key + 60)[0] == 1, 1, np.maximum(labels[0], 0)).astype(np.uint8)
            for trainer in trainers:
                stage = results / kind.dataset / f"{trainer}__nnUNetPlans__3d_lowres" / "predicted_next_stage"
                (stage / kind.configuration).mkdir(parents=True, exist_ok=True)
                blosc2.asarray(previous, urlpath=str(stage / kind.configuration / f"{name}.b2nd"))


def _write_case(kind: Kind, path: Path, image: npt.NDArray[np.float32], labels: npt.NDArray[np.int16]) -> None:
    if kind.numpy:
        # nnU-Net unpacks some and not others; both are read.
        np.savez_compressed(path.with_suffix(".npz"), data=image, seg=labels)
        if path.name != "case_0":
            np.save(path.with_suffix(".npy"), image)
            np.save(path.with_name(f"{path.name}_seg.npy"), labels)
        return
    for file, voxels in ((path.with_suffix(".b2nd"), image), (path.with_name(f"{path.name}_seg.b2nd"), labels)):
        blosc2.asarray(voxels, urlpath=str(file), chunks=(1, 32, 32, 32), blocks=(1, 8, 16, 16))
