"""The fingerprint of a data set, as nnU-Net's DatasetFingerprintExtractor makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import known
from ..errors import PreprocessingError
from ..loading.reading.patience import Patience
from ..prediction.preprocessing.cropping import nonzero_box
from ..prediction.session.memory import Budget
from .cases import TrainingCase, analysis_bytes, check, training_cases
from .intensities import Foreground, intensity_properties
from .reading import Kept, read_case
from .session import Job, Session, raise_all

__all__ = ["fingerprint_of", "own_analysis"]


def own_analysis() -> str:
    """Return what is not as it is known in nnU-Net's analysis of one case, or ""."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    return known.listed(known.changed(DatasetFingerprintExtractor, "analyze_case", "collect_foreground_intensities"))


class _Found:
    """What the fingerprint needs of all cases."""

    def __init__(self, cases: int, channels: int, samples: int) -> None:
        self.foreground = Foreground(cases, channels, samples)
        self.shapes: list[Any] = [None] * cases
        self.spacings: list[Any] = [None] * cases
        self.sizes: list[Any] = [None] * cases


def fingerprint_of(
    dataset: dict[str, Any],
    dataset_json: dict[str, Any],
    reader: Any,
    total_samples: int,
    *,
    budget: Budget,
    threads: int,
    most_cases: int,
    progress: bool,
    say: Callable[[str], None],
    patience: Patience,
    kept: Kept | None = None,
) -> dict[str, Any]:
    """Return nnU-Net's fingerprint of a data set.

    Args:
        dataset: files of each case, as nnU-Net's `get_filenames_of_train_images_and_targets` returns them.
        dataset_json: the content of dataset.json.
        reader: nnU-Net's class that reads the images.
        total_samples: intensities of all cases together, for each channel.
        budget, threads, most_cases, progress, say, patience, kept: as for `preprocess_cases`.

    Raises:
        PreprocessingError: the cases that cannot be analysed. The others have been.
    """
    cases = training_cases(dataset)
    names = dataset_json["channel_names"] if "channel_names" in dataset_json else dataset_json["modality"]
    channels = len(names)
    found = _Found(len(cases), channels, int(total_samples // len(cases)))
    checked, bad = check(cases, reader, dataset_json, patience)
    for error in bad:
        say(f"{error}; the others follow")
    numbers = {case.name: number for number, case in enumerate(cases)}

    def analyse(case: TrainingCase, count: int) -> None:
        image, labels, properties = read_case(case, reader, kept, budget, patience)
        _analyse(case, numbers[case.name], image, labels, properties, found, count)

    def job(case: TrainingCase, header: Any) -> Job:
        need = None if header is None else analysis_bytes(header, channels)
        return Job(case, need, lambda count: analyse(case, count))

    session = Session("fingerprint", budget, threads, most_cases, progress, say, kept=kept)
    failed = session.run([job(case, header) for case, header in checked])
    raise_all(sorted([*bad, *failed], key=lambda error: numbers.get(error.case, len(numbers))))
    return {
        "spacings": found.spacings,
        "shapes_after_crop": found.shapes,
        "foreground_intensity_properties_per_channel": {
            channel: intensity_properties(found.foreground.of(channel), threads) for channel in range(channels)
        },
        "median_relative_size_after_cropping": np.median(found.sizes, 0),
    }


def _analyse(
    case: TrainingCase, number: int, image: Any, labels: Any, properties: dict[str, Any], found: _Found, threads: int
) -> None:
    labels = np.asarray(labels, np.float32)
    if len(image) < found.foreground.channels:
        reason = f"expected {found.foreground.channels} channels, as dataset.json has, got {len(image)}"
        raise PreprocessingError(case=case.name, stage="read", file=", ".join(case.images), reason=reason)
    box = nonzero_box(image, threads)
    inside = (slice(None), *(slice(lower, upper) for lower, upper in box))
    before = image.shape[1:]
    image, labels = np.ascontiguousarray(image[inside]), np.ascontiguousarray(labels[inside])
    for array, files, what in ((image, case.images, "an image"), (labels, (case.label,), "a segmentation")):
        if np.isnan(array.sum(dtype=np.float64)) and (bad := int(np.isnan(array).sum())):
            reason = f"expected numbers, got {what} with NaN in {bad} of its voxels"
            raise PreprocessingError(case=case.name, stage="fingerprint", file=", ".join(files), reason=reason)
    found.foreground.draw(number, image, labels[0])
    found.shapes[number] = image.shape[1:]
    found.spacings[number] = properties["spacing"]
    found.sizes[number] = np.prod(image.shape[1:]) / np.prod(before)
