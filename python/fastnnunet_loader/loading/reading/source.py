"""What a loader is made of: cases, how they are sampled, and transforms. Whoever asks for a loader, this is what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _core
from ...errors import StorageError
from .pickles import read_properties

__all__ = ["BatchKeys", "ClassLocations", "Find", "Share", "Source", "class_locations", "in_place", "pickled_locations"]

ClassLocations = list[tuple[list[int], bool, bool, npt.NDArray[np.int64]]]
"""Of each class: labels, whether they are a region, whether it is all that is annotated, voxels (N, 3 or 4)."""

Find = Callable[[Path], Path]
"""From the path of a file to the path that it is read from, such as that of a copy."""


def in_place(file: Path) -> Path:
    """Return the path itself: the file is read from where it is."""
    return file


@dataclass(frozen=True)
class BatchKeys:
    """The names of what a batch holds."""

    image: str = "data"
    label: str = "target"
    case: str = "keys"
    target: str = "regression_target"


@dataclass(frozen=True)
class Share:
    """Which samples of a batch a rank makes: those that follow the samples of the ranks before it."""

    rank: int = 0
    ranks: int = 1
    sizes: tuple[int, ...] = ()
    """How many samples each rank makes; () if all make as many."""

    def first_slot(self, batch_size: int) -> int:
        """Return the slot of the whole batch at which the rank's `batch_size` samples begin."""
        return sum(self.sizes[: self.rank]) if self.sizes else batch_size * self.rank

    def global_batch_size(self, batch_size: int) -> int:
        """Return how many samples all ranks make together, where this one makes `batch_size`."""
        return sum(self.sizes) if self.sizes else batch_size * self.ranks

    def __str__(self) -> str:
        return f"{self.rank}" if self.ranks == 1 else f"{self.rank} of {self.ranks}"


@dataclass(frozen=True)
class Source:
    """Cases, sampling and transforms: all that batches are a function of, besides the address of a sample."""

    cases: list[_core.CaseFiles]
    sampling: dict[str, Any]  # the fields of SamplingOptions
    dims: int
    transforms: Any
    locations: Callable[[int, bool, Find], ClassLocations]
    """From the number of a case, whether pickles may run code, and where files are read from, to its classes. Called from
    threads."""
    keys: BatchKeys = BatchKeys()
    per_case: Mapping[str, Any] = field(default_factory=dict)
    """What comes along in batches under a name of its own: a tensor or a list, with an item for each case."""
    batches_per_epoch: int | None = None
    batches: int | None = None
    """How many batches will be taken about; None if nobody knows. It decides how files are read, and nothing of batches."""
    share: Share | None = None
    """Of ranks that make each batch together; None where each rank has batches of its own."""
    targets: bool = False
    """Whether every case has a regression target."""
    kept: Any = None
    """What has to live as long as the loader: arrays that cases are read from."""


def pickled_locations(
    files: Sequence[Path], annotated_key: tuple[int, ...] | None
) -> Callable[[int, bool, Find], ClassLocations]:
    """The `locations` of cases that have nnU-Net's properties, a file for each."""

    def locations(number: int, unrestricted: bool, find: Find = in_place) -> ClassLocations:
        file = find(files[number])
        return class_locations(file, read_properties(file, unrestricted), annotated_key)

    return locations


def class_locations(file: Path, properties: dict[str, Any], annotated_key: tuple[int, ...] | None) -> ClassLocations:
    """The classes in the properties of a case.

    Args:
        file: the properties' file, for errors.
        properties: what it holds.
        annotated_key: the class of all that is annotated; None for the one that begins with -1, as nnU-Net's does.

    Raises:
        StorageError: they are not there, or not what nnU-Net writes; it names the file.
    """
    locations = properties.get("class_locations")
    if not isinstance(locations, dict):
        reason = f"expected 'class_locations' in the properties, got {sorted(map(str, properties))}"
        raise StorageError(f"[{file}] {reason}", file=str(file), reason=reason)

    def is_annotated(labels: list[int]) -> bool:
        return labels[:1] == [-1] if annotated_key is None else tuple(labels) == annotated_key

    classes = []
    for key, voxels in locations.items():
        is_region = isinstance(key, (tuple, list))
        try:
            labels = [int(label) for label in key] if is_region else [int(key)]
            array = np.asarray(voxels, dtype=np.int64)
        except (TypeError, ValueError) as error:
            reason = f"expected voxels of labels, got class {key!r}: {error}"
            raise StorageError(f"[{file}] {reason}", file=str(file), reason=reason) from error
        if array.size and (array.ndim != 2 or array.shape[1] != 4):
            reason = f"expected voxels of class {key} as (N, 4), got {array.shape}"
            raise StorageError(f"[{file}] {reason}", file=str(file), reason=reason)
        classes.append((labels, is_region, is_region and is_annotated(labels), array))
    return classes
