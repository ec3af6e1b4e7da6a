"""nnU-Net's plans, read from their JSON file without nnU-Net."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..prediction.preprocessing.normalization import NATIVE
from ..prediction.preprocessing.shapes import Resizing

__all__ = ["ClassKey", "Plan", "class_keys", "read_intensities", "read_object", "read_plan"]

ClassKey = int | tuple[int, ...]
"""A label, or the labels of a region: a key of nnU-Net's `class_locations`."""

INTENSITIES = "foreground_intensity_properties_per_channel"

READERS = {
    "SimpleITKIO": None,
    "SimpleITKIOWithReorient": "RAS",
    "NibabelIO": None,
    "NibabelIOWithReorient": "RAS",
    "NaturalImage2DIO": None,
}
"""nnU-Net's readers whose voxels are those of `formats.load`, and the orientation that they make."""


@dataclass(frozen=True)
class Plan:
    """What a configuration of plans does to a case."""

    forward: tuple[int, ...]
    spacing: tuple[float, ...]
    schemes: tuple[str, ...]
    masked: tuple[bool, ...]
    image: Resizing
    labels: Resizing
    patch_size: tuple[int, ...]
    orientation: str | None
    intensities: dict[str, Any]


def read_object(what: str, file: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises ValueError if there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"[{what}] expected a JSON file, got {file}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"[{what}] expected a JSON object in {file}, got {type(content).__name__}")
    return content


def read_intensities(file: Path) -> dict[str, Any]:
    """Return the intensities of each channel from nnU-Net's plans or fingerprint, or from the pack.json of another folder.

    Raises:
        ValueError: the file has none.
    """
    found = read_object("intensities", file).get(INTENSITIES)
    if not isinstance(found, dict) or not found:
        raise ValueError(f"[intensities] expected '{INTENSITIES}' in {file}, got none")
    return found


def read_plan(file: Path, configuration: str) -> Plan:
    """Return what a configuration does.

    Raises:
        ValueError: there is no such configuration, or only nnU-Net's own code knows what it does.
    """
    content = read_object("plans", file)
    configurations = content.get("configurations")
    if not isinstance(configurations, dict) or configuration not in configurations:
        there = ", ".join(configurations) if isinstance(configurations, dict) else "none"
        raise ValueError(f"[configuration] expected a configuration of {file}, got {configuration!r}; there is {there}")
    of = _resolved(configurations, configuration)
    try:
        reader, preprocessor = content["image_reader_writer"], of["preprocessor_name"]
        functions = [of[f"resampling_fn_{what}"] for what in ("data", "seg")]
        resizing = [dict(of[f"resampling_fn_{what}_kwargs"]) for what in ("data", "seg")]
        schemes = tuple(str(name) for name in of["normalization_schemes"])
        _refuse_foreign(file, "preprocessor_name", [preprocessor], ["DefaultPreprocessor"])
        _refuse_foreign(file, "image_reader_writer", [reader], list(READERS))
        _refuse_foreign(file, "resampling_fn_data and resampling_fn_seg", functions, ["resample_data_or_seg_to_shape"])
        _refuse_foreign(file, "normalization_schemes", schemes, list(NATIVE))
        image, labels = (Resizing(**arguments) for arguments in resizing)
        for what, one in (("data", image), ("seg", labels)):
            if not one.native or one.is_seg != (what == "seg"):
                raise ValueError(f"[plans] expected native arguments as resampling_fn_{what}_kwargs of {file}, got {one}")
        return Plan(
            tuple(int(axis) for axis in content["transpose_forward"]),
            tuple(float(size) for size in of["spacing"]),
            schemes,
            tuple(bool(masked) for masked in of["use_mask_for_norm"]),
            image,
            labels,
            tuple(int(size) for size in of["patch_size"]),
            READERS[reader],
            dict(content[INTENSITIES]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"[plans] expected nnU-Net's plans in {file}, got {type(error).__name__}: {error}") from error


def _resolved(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The settings of a configuration, with those that it inherits."""
    chain: list[str] = []
    while name:
        if name not in configurations or name in chain:
            raise ValueError(f"[configuration] expected one that inherits from another, got {' from '.join([*chain, name])}")
        chain.append(name)
        name = configurations[name].get("inherits_from", "")
    return {key: value for name in reversed(chain) for key, value in configurations[name].items()}


def _refuse_foreign(file: Path, key: str, found: Any, known: list[str]) -> None:
    if foreign := [str(name) for name in found if name not in known]:
        raise ValueError(
            f"[plans] expected {' or '.join(known)} as {key} of {file}, which need no nnU-Net, got {foreign[0]}; "
            "fastnnunet preprocess, with nnU-Net installed, does what these plans say"
        )


def class_keys(dataset_json: Mapping[str, Any]) -> list[ClassKey]:
    """Return the keys of nnU-Net's `class_locations`: labels, or regions; with an ignore label also all that is annotated.

    Raises:
        ValueError: it is no dataset.json of nnU-Net's.
    """
    labels = dataset_json.get("labels")
    try:
        if not isinstance(labels, dict) or int(labels["background"]) != 0:
            raise ValueError
        known = {name: value for name, value in labels.items() if name != "ignore"}
        parts = [list(value) if isinstance(value, (list, tuple)) else [value] for value in known.values()]
        everything = sorted({int(label) for part in parts for label in part})
        chosen: list[ClassKey]
        if any(len(part) > 1 for part in parts):
            chosen = [
                tuple(int(label) for label in part) if isinstance(value, (list, tuple)) else int(value)
                for value, part in zip(known.values(), parts, strict=True)
                if {int(label) for label in part} != {0}
            ]
        else:
            chosen = [label for label in everything if label != 0]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"[dataset_json] expected nnU-Net's 'labels' with 'background': 0, got {labels!r}") from error
    return [*chosen, (-1, *everything)] if labels.get("ignore") is not None else chosen
