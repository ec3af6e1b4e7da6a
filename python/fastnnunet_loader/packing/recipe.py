"""What is asked for: how images are turned, cropped, normalised and resized, from options or from nnU-Net's plans."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..prediction.preprocessing.normalization import EPSILON, NativeScheme
from ..prediction.preprocessing.shapes import Resizing
from ..prediction.preprocessing.steps import Steps, Way
from ..preprocessing.intensities import percentiles
from ..settings import whole_number
from .plans import INTENSITIES, ClassKey, Plan, class_keys, read_intensities, read_object, read_plan

__all__ = ["NORMALIZATIONS", "Recipe", "checked_spacing", "recipe_of_options", "recipe_of_plans"]

NORMALIZATIONS = {
    "none": "NoNormalization",
    "zscore": "ZScoreNormalization",
    "zscore-nonzero": "ZScoreNormalization",
    "ct": "CTNormalization",
    "rescale": "RescaleTo01Normalization",
    "rgb": "RGBTo01Normalization",
}
"""nnU-Net's scheme for each word; besides, there is percentiles:LOW:HIGH."""

PATCH = (128, 128, 128)


@dataclass(frozen=True)
class Recipe:
    """What is done to every case."""

    forward: tuple[int, ...]
    spacing: tuple[float, ...] | None
    """As `Steps` has it."""
    crops: bool
    marks: bool
    """Whether labels are -1 outside of the nonzero region."""
    image: Resizing
    labels: Resizing
    orientation: str | None
    normalize: tuple[str, ...]
    """A word for each channel, or one for all."""
    channels: int | None
    """How many every case must have; None if it does not matter."""
    patch_size: tuple[int, ...]
    classes: list[ClassKey] | None
    """Whose locations are written to the properties; None to find them as `from_folder` does."""
    intensities: dict[str, Any] | None
    """Of the foreground in the data set, for each channel; None if they are not given."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What was asked for, to compare with another run."""

    @property
    def needs_intensities(self) -> bool:
        """Whether intensities of the data set must be found first."""
        return "ct" in self.normalize and self.intensities is None

    def words(self, channels: int) -> tuple[str, ...]:
        """The normalisation of each channel."""
        return self.normalize * channels if len(self.normalize) == 1 else self.normalize

    def steps(self, channels: int, intensities: dict[str, Any] | None, say: Callable[[str], None]) -> Steps:
        """What is done to images with so many channels. Raises ValueError if the intensities of one are missing."""
        schemes = [_scheme(word, (intensities or {}).get(str(channel))) for channel, word in enumerate(self.words(channels))]
        return Steps(
            self.forward, self.spacing, schemes, Way(self.image), Way(self.labels), say, crops=self.crops, marks=self.marks
        )


class _Percentiles(NativeScheme):
    """Cuts a channel to two of its percentiles and scales them to 0 and 1."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__("percentiles", False, {})
        self._percents = (low, high)

    def run(self, channel: npt.NDArray[np.float32], segmentation: npt.NDArray[Any] | None, threads: int) -> None:
        low, high = (float(value) for value in percentiles([channel.reshape(-1)], threads, self._percents))
        _core.normalize_ct(channel, lower=low, upper=high, mean=low, deviation=max(high - low, EPSILON), threads=threads)


def _scheme(word: str, intensities: dict[str, Any] | None) -> NativeScheme:
    if word.startswith("percentiles"):
        return _Percentiles(*_percents(word))
    if word == "ct" and intensities is None:
        raise ValueError("[intensities] expected those of every channel that is normalised with ct, got none of some")
    return NativeScheme(NORMALIZATIONS[word], word == "zscore-nonzero", intensities or {})


def _percents(word: str) -> tuple[float, float]:
    match = re.fullmatch(r"percentiles(?::(\d+(?:\.\d*)?):(\d+(?:\.\d*)?))?", word)
    if match is not None:
        low, high = (0.5, 99.5) if match[1] is None else (float(match[1]), float(match[2]))
        if low < high <= 100:
            return low, high
    raise ValueError(f"[normalize] expected percentiles:LOW:HIGH with two numbers from 0 to 100, got {word!r}")


def checked_spacing(name: str, given: Sequence[float]) -> tuple[float, ...]:
    """Return two or three spacings. Raises ValueError for anything else."""
    try:
        sizes = tuple(float(size) for size in given)
    except (TypeError, ValueError):
        sizes = ()
    if isinstance(given, str) or len(sizes) not in (2, 3) or not all(0 < size < float("inf") for size in sizes):
        raise ValueError(f"[{name}] expected two or three numbers above 0, in mm, got {given!r}")
    return sizes


def _checked_patch(given: Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(whole_number(size) for size in given)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"[patch_size] expected two or three sizes above 0, got {given!r}")
    return sizes


def recipe_of_options(
    *,
    spacing: Sequence[float] | None,
    orientation: str | None,
    crop: str | None,
    normalize: str | Sequence[str],
    intensities: Path | None,
    patch_size: Sequence[int] | None,
) -> Recipe:
    """Return what options ask for. Raises ValueError if one is out of range."""
    if not isinstance(normalize, (str, Sequence)):
        raise ValueError(f"[normalize] expected a word for all channels, or one for each, got {normalize!r}")
    words = (normalize,) if isinstance(normalize, str) else tuple(normalize)
    for word in words:
        if word not in NORMALIZATIONS:
            if not str(word).startswith("percentiles"):
                known = ", ".join([*NORMALIZATIONS, "percentiles:LOW:HIGH"])
                raise ValueError(f"[normalize] expected one of {known}, got {word!r}")
            _percents(word)
    if not words:
        raise ValueError("[normalize] expected a word for all channels, or one for each, got none")
    if spacing is not None:
        # arrays have the axes of the file the other way round
        spacing = checked_spacing("spacing", spacing)[::-1]
    if orientation is not None:
        orientation = str(orientation).upper()
        if len(orientation) != 3 or any(not set(orientation) & set(pair) for pair in ("RL", "AP", "IS")):
            raise ValueError(f"[orientation] expected three letters, such as RAS, got {orientation!r}")
    if crop not in (None, "nonzero"):
        raise ValueError(f"[crop] expected 'nonzero' or nothing, got {crop!r}")
    patch = PATCH if patch_size is None else _checked_patch(patch_size)
    given = None if intensities is None else read_intensities(intensities)
    if given is not None and "ct" not in words:
        raise ValueError(f"[intensities] expected them with the normalisation ct, got {', '.join(words)}")
    settings = {
        "spacing": None if spacing is None else list(spacing[::-1]),
        "orientation": orientation,
        "crop": crop,
        "normalize": list(words),
        "intensities": given,
        "patch_size": list(patch),
    }
    return Recipe(
        forward=(0, 1, 2),
        spacing=None if spacing is None else tuple(spacing),
        crops=crop is not None,
        marks=False,
        image=Resizing(order=3, order_z=0, force_separate_z=None),
        labels=Resizing(is_seg=True, order=1, order_z=0, force_separate_z=None),
        orientation=orientation,
        normalize=words,
        channels=len(words) if len(words) > 1 else None,
        patch_size=patch,
        classes=None,
        intensities=given,
        settings=settings,
    )


def recipe_of_plans(plans: Path, configuration: str, dataset_json: Path | None) -> Recipe:
    """Return what nnU-Net's plans ask for.

    dataset_json: for the classes whose locations nnU-Net writes; None for those that `from_folder` finds.

    Raises:
        ValueError: a file is not nnU-Net's, or asks for what only its own code does.
    """
    plan = read_plan(plans, configuration)
    classes = None if dataset_json is None else class_keys(read_object("dataset_json", dataset_json))
    settings = {
        "plans": {name: value for name, value in vars(plan).items() if name not in ("image", "labels", "intensities")},
        "resizing": [vars(plan.image), vars(plan.labels)],
        INTENSITIES: plan.intensities,
        "classes": classes,
    }
    return Recipe(
        forward=plan.forward,
        spacing=plan.spacing,
        crops=True,
        marks=True,
        image=plan.image,
        labels=plan.labels,
        orientation=plan.orientation,
        normalize=_words(plan),
        channels=len(plan.schemes),
        patch_size=plan.patch_size,
        classes=classes,
        intensities=plan.intensities,
        settings=settings,
    )


def _words(plan: Plan) -> tuple[str, ...]:
    words = {scheme: word for word, scheme in NORMALIZATIONS.items() if word != "zscore-nonzero"}
    # Only this scheme looks at the mask.
    return tuple(
        "zscore-nonzero" if masked and scheme == "ZScoreNormalization" else words[scheme]
        for scheme, masked in zip(plan.schemes, plan.masked, strict=True)
    )
