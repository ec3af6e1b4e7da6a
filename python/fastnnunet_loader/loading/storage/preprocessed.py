"""nnUNet_preprocessed at an address: nnU-Net gets a folder in the cache that stands for it."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import CommandError, StorageError
from ...folders import listed
from .mirrors import make_mirror
from .places import join, names, place_of

__all__ = ["mirror_preprocessed"]


def mirror_preprocessed(given_dataset: str, cache: Path | None) -> str:
    """Let nnUNet_preprocessed name a folder of this machine, if it names an address; return the name of the data set.

    given_dataset: name or number of the data set. cache: folder of the copies.

    Raises:
        CommandError: there is no cache, no such data set, or one that is not preprocessed into .b2nd files.
    """
    given = os.environ.get("nnUNet_preprocessed", "")
    place = place_of(given) if given else ""
    if not isinstance(place, str) or not place:
        if given and str(place) != given:  # file://
            os.environ["nnUNet_preprocessed"] = str(place)
        return given_dataset
    if cache is None:
        raise CommandError(
            f"[--cache-dir] expected a folder on a disk of this machine, for nnUNet_preprocessed is {given}, got none"
        )
    try:
        dataset = _name(given_dataset, place)
        folder = make_mirror(place, dataset, cache)
    except (StorageError, ModuleNotFoundError) as error:
        raise CommandError(f"[nnUNet_preprocessed] {error}") from error
    if packed := sorted(str(file.relative_to(folder)) for file in (folder / dataset).glob("*/*.npz")):
        raise CommandError(
            f"[nnUNet_preprocessed] expected .b2nd files at {join(place, dataset)}, got {packed[0]}\n"
            "  nnU-Net's nnUNetv2_preprocess writes .b2nd files; .npz files can be trained with from a disk"
        )
    os.environ["nnUNet_preprocessed"] = str(folder)
    return dataset


def _name(given: str, place: str) -> str:
    found = [name for name in names(place) if name.startswith("Dataset")]
    chosen = [name for name in found if name == given or (given.isdecimal() and name.startswith(f"Dataset{int(given):03d}_"))]
    if len(chosen) != 1:
        raise CommandError(f"[DATASET] expected a data set at {place}, got {given!r}\n  there are: {listed(found)}")
    return chosen[0]
