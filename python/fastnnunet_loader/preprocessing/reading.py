"""A training case as nnU-Net's readers return it: read once for the fingerprint and all configurations, where memory allows."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PreprocessingError
from ..loading.reading.patience import Patience
from ..prediction.preprocessing.reading import read
from ..prediction.session.memory import Budget
from .cases import TrainingCase
from .record import Stamps, stamps_of_raw

__all__ = ["Kept", "as_int16", "current", "keeping", "read_case"]

Read = tuple[npt.NDArray[np.float32], Any, dict[str, Any]]
"""An image (C, X, Y, Z), labels (1, X, Y, Z) in the reader's type or int16, and the reader's properties."""


def read_case(case: TrainingCase, kind: type, kept: Kept | None, budget: Budget, patience: Patience) -> Read:
    """Read a case, or take a copy of what was kept of it.

    Args:
        case: its files.
        kind: nnU-Net's class that reads them.
        kept: where cases are kept; None to keep none.
        budget: what is kept takes only what cases in progress leave of it.
        patience: with files.

    Raises:
        PredictionError: a file cannot be read.
        PreprocessingError: the segmentation has another shape than the image.
    """
    if kept is not None and (found := kept.get(case, kind)) is not None:
        return found
    stamps = None if kept is None else stamps_of_raw(case)
    reader = kind()
    image, properties = read(case.name, case.images, lambda: reader.read_images(list(case.images)), patience)
    labels, _ = read(case.name, [case.label], lambda: reader.read_seg(case.label), patience)
    image = np.asarray(image, np.float32)
    if labels.shape[1:] != image.shape[1:]:
        reason = f"expected a segmentation of the image's shape {image.shape[1:]}, got {labels.shape[1:]}"
        raise PreprocessingError(case=case.name, stage="read", file=case.label, reason=reason)
    if kept is not None and stamps is not None:
        kept.put(case, kind, stamps, (image, labels, properties), budget)
    return image, labels, properties


def as_int16(values: npt.NDArray[Any]) -> npt.NDArray[np.int16] | None:
    """Values in int16; None if that changes one."""
    if values.dtype == np.int16:
        return values
    with np.errstate(invalid="ignore"):
        small = values.astype(np.int16)
    return small if np.array_equal(small, values) else None


@dataclass(frozen=True)
class _Entry:
    stamps: Stamps
    image: npt.NDArray[Any]
    """In int16 where that is exact, as it is for CT: half of float32."""
    labels: npt.NDArray[np.int16]
    properties: dict[str, Any]

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + self.labels.nbytes


class Kept:
    """Cases that were read, in memory that no case in progress needs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[Any, ...], _Entry] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all cases."""
        with self._lock:
            return sum(entry.nbytes for entry in self._entries.values())

    def get(self, case: TrainingCase, kind: type) -> Read | None:
        """Return copies of what was read of a case; None if it is not here or its files have changed since."""
        key = (kind, *case.files)
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            return None
        try:
            unchanged = entry.stamps == stamps_of_raw(case)
        except OSError:  # whoever reads the files says what is wrong with them
            unchanged = False
        if not unchanged:
            with self._lock:
                self._entries.pop(key, None)
            return None
        return entry.image.astype(np.float32), entry.labels.copy(), copy.deepcopy(entry.properties)

    def put(self, case: TrainingCase, kind: type, stamps: Stamps, found: Read, budget: Budget) -> None:
        """Keep a copy of a case if the budget has room for it. stamps: of its files, from before they were read."""
        image, labels, properties = found
        room = budget.limit - budget.reserved - self.nbytes
        if room < 2 * image.size + 2 * labels.size or (small_labels := as_int16(labels)) is None:
            return
        small = as_int16(image)
        if small is None and room < image.nbytes + small_labels.nbytes:
            return
        kept = image.copy() if small is None else small
        entry = _Entry(stamps, kept, small_labels.copy() if small_labels is labels else small_labels, copy.deepcopy(properties))
        with self._lock:
            self._entries[(kind, *case.files)] = entry
        self.shrink_to(budget.limit - budget.reserved)  # a case may have begun meanwhile

    def shrink_to(self, nbytes: int) -> None:
        """Drop cases until they take no more than this. The smallest go first: they are the last to be preprocessed."""
        with self._lock:
            total = sum(entry.nbytes for entry in self._entries.values())
            for key, entry in sorted(self._entries.items(), key=lambda item: item[1].nbytes):
                if total <= nbytes:
                    return
                total -= entry.nbytes
                del self._entries[key]


_current: Kept | None = None


def current() -> Kept | None:
    """Where cases are kept now; None if nothing is to be kept."""
    return _current


@contextlib.contextmanager
def keeping() -> Iterator[Kept]:
    """Inside, what nnU-Net's functions read of cases is kept for those that follow."""
    global _current
    before, _current = _current, Kept()
    try:
        yield _current
    finally:
        _current = before
