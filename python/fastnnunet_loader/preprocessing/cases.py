"""The cases of a data set: their files, what these are checked for, and the memory that a case needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..errors import PredictionError, PreprocessingError
from ..loading.reading.patience import Patience, may_pass
from ..prediction.images import Header
from ..prediction.images.cases import Case
from ..prediction.images.checks import CaseChecks
from ..prediction.preprocessing.shapes import new_shape

__all__ = [
    "Checked",
    "RawCase",
    "TrainingCase",
    "analysis_bytes",
    "as_error",
    "check",
    "native_bytes",
    "preprocessing_bytes",
    "training_cases",
]


class RawCase(Protocol):
    """A case of which files are made."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def images(self) -> tuple[str, ...]:
        """The files to blame if nothing more is known."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the result depends on."""


@dataclass(frozen=True)
class TrainingCase:
    """Images with a segmentation."""

    name: str
    images: tuple[str, ...]
    label: str

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the result depends on."""
        return (*self.images, self.label)


LOCATIONS = 10_000
"""Voxels that are kept of most classes."""

Checked = tuple[TrainingCase, Header | None]
"""A case, and the header of its first image; None if the reader is not one of nnU-Net's."""


def training_cases(dataset: Mapping[str, Mapping[str, Any]]) -> list[TrainingCase]:
    """Return the cases that nnU-Net's `get_filenames_of_train_images_and_targets` has found, in its order."""
    return [
        TrainingCase(str(name), tuple(str(file) for file in files["images"]), str(files["label"]))
        for name, files in dataset.items()
    ]


def check(
    cases: Sequence[TrainingCase], reader: type, dataset_json: dict[str, Any], patience: Patience
) -> tuple[list[Checked], list[PreprocessingError]]:
    """Read the headers of all files. Return the cases that can be read, and an error for each of the others."""
    checks = CaseChecks.of_raw(reader, dataset_json)
    checks.patience = patience
    good: list[Checked] = []
    bad = []
    for case in cases:
        asked = Case(case.name, case.images)
        try:
            header = checks.check_case(asked, writes=False)
            checks.check_segmentation(asked, case.label, header)
        except PredictionError as error:
            bad.append(as_error(case, error, "check"))
            if may_pass(error):  # do not wait again, for every file of the same server
                checks.patience = replace(patience, seconds=0.0)
        else:
            good.append((case, header))
    return good, bad


def as_error(case: RawCase, error: Exception, stage: str) -> PreprocessingError:
    """Return the error of a case for whatever was raised."""
    if isinstance(error, PreprocessingError):
        return error
    if isinstance(error, PredictionError):
        made = PreprocessingError(case=error.case, stage=error.stage, reason=error.reason, file=error.file)
    else:
        said = " ".join(str(error).split())
        reason = f"{stage} failed with {type(error).__name__}{': ' if said else ''}{said}"
        made = PreprocessingError(case=case.name, stage=stage, reason=reason, file=", ".join(case.images))
    made.__cause__ = error
    return made


def _reading_bytes(header: Header, channels: int) -> int:
    """Of images as they are read, in float32 beside them, and of one file in its library; and of the segmentation."""
    read = header.voxels * channels * (header.itemsize + 4) + header.voxels * header.itemsize * header.channels
    return read + 4 * header.voxels


def analysis_bytes(header: Header, channels: int) -> int:
    """The memory that the fingerprint needs of a case: as it is read, or the image twice, labels, and the foreground."""
    return max(_reading_bytes(header, channels) + 8 * header.voxels, header.voxels * (8 * channels + 12))


def preprocessing_bytes(header: Header, channels: int, classes: int, plans: Any, configuration: Any, native: bool) -> int:
    """The memory that preprocessing needs of a case, by its plans."""
    forward = plans.transpose_forward
    shape = [header.shape[axis] for axis in forward]
    spacing = [header.spacing[axis] for axis in forward]
    target = list(configuration.spacing)
    target = [spacing[0], *target] if len(target) < 3 else target
    after = math.prod(new_shape(shape, spacing, target))
    if native:
        return native_bytes(header, channels, classes, after)
    before = header.voxels  # float64 of all channels, and of a mask for each label
    return max(_reading_bytes(header, channels), 12 * before * channels + (8 * channels + 24) * after) + 12 * before


def native_bytes(header: Header, channels: int, classes: int, after: int) -> int:
    """The memory that native preprocessing needs of a case. Cropping is assumed to remove nothing, packing to save nothing.

    after: voxels of a channel when it is resized.
    """
    before = header.voxels
    labels = 2 * before + 2 * after
    cropped = before * (8 * channels + 4 + 3)
    resized = 4 * before * channels + 4 * after * channels + 8 * max(before, after) + labels
    located = 4 * after * channels + 2 * after + 12 * after + 64 * classes * min(LOCATIONS, after)
    packed = 12 * after * channels + 4 * after  # the image, its chunks, and the file that is made of them
    return max(_reading_bytes(header, channels), cropped, resized, located, packed)
