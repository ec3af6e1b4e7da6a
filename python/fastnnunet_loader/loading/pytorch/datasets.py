"""Whole volumes of a torch.utils.data.Dataset as a folder of cases: read once, one at a time, and kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import logging
import os
import pickle
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ... import _core
from ...blocks import blocks_and_chunks
from ...errors import FastnnUNetError, MemoryBudgetError, StorageError
from ...settings import in_units
from ...system import default_threads
from ..opened import opened
from ..scripts.arrays import checked_image, checked_label
from ..scripts.locations import users_cache
from ..scripts.ranks import of_the_job

__all__ = ["CachedDataset"]

_log = logging.getLogger("fastnnunet_loader")
_FORMAT = 1  # of the files; another one is another key
_TELL_EVERY = 10.0  # seconds

Volumes = tuple[npt.NDArray[Any], npt.NDArray[Any] | None]
"""An image (C, X, Y, Z) and its labels (C', X, Y, Z)."""


class CachedDataset:
    """The items of a data set as cases in a folder.

    Args:
        dataset: with a length and an item for each number.
        names: of the cases, in order; None for item_0, item_1 and so on.
        patch_size: two or three sizes, which decide how files are stored.
        image_key, label_key: where an item is a dictionary.
        cache: the folder that has a folder for each data set; None for the user's folder of caches.
        cache_key: what tells this data set from others; None for a digest of its pickle and its code.
        memory_budget: in bytes, if it is given.
        threads: that compress.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        names: Sequence[str] | None,
        patch_size: Sequence[int],
        image_key: str,
        label_key: str,
        cache: str | os.PathLike[str] | None,
        cache_key: str | None,
        memory_budget: int | None,
        threads: int | None,
    ) -> None:
        if isinstance(dataset, torch.utils.data.IterableDataset) or not (
            hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        ):
            raise ValueError(f"[dataset] expected one with a length and an item for each number, got {type(dataset).__name__}")
        self._dataset = dataset
        self._count = len(dataset)
        if self._count == 0:
            raise ValueError("[dataset] expected at least one item, got none")
        self.names = _checked_names(names, self._count)
        self._patch_size = [int(size) for size in patch_size]
        self._dims = len(self._patch_size)
        self._keys = image_key, label_key
        self._budget = memory_budget
        self._threads = default_threads() if threads is None else max(threads, 1)
        self._key = _key_of(dataset) if cache_key is None else cache_key
        self._root = users_cache() / "fastnnunet_loader" / "datasets" if cache is None else Path(cache)
        self._at, self._done, self._since = 0, 0, time.monotonic()
        self._reading = False

    def make(self) -> Path:
        """Read what is not in the cache yet, and return the folder.

        The first item is always read: what is in it is a part of the key, as its number of channels is that of all.

        Raises:
            ValueError: an item is no volume; the message names it.
            FastnnUNetError: the data set raised an error, which is the cause.
            StorageError: the cache cannot be made.
            MemoryBudgetError: an item needs more than the memory that is given.
        """
        self._reading = True
        opened.add(self)
        try:
            first = self._read(0)
            folder = self._root / self._digest(first)
            channels = [0 if array is None else len(array) for array in first]
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = f"expected a cache that folders can be made in, got {error.strerror}"
                raise StorageError(f"[{self._root}] {reason}", file=str(self._root), reason=reason) from error
            self._take(folder, 0, first)
            del first
            told = time.monotonic()
            for done, number in enumerate(self._order()):
                self._done = done
                if not self._is_kept(folder, number):
                    volumes = self._read(number)
                    for what, array, expected in zip(("image", "label"), volumes, channels, strict=True):
                        found = 0 if array is None else len(array)
                        if found != expected:
                            raise ValueError(
                                f"[dataset] item {number}: expected {expected} channels of '{what}' as item 0 has, got {found}"
                            )
                    self._take(folder, number, volumes)
                if time.monotonic() - told > _TELL_EVERY:
                    told = time.monotonic()
                    _log.info("%s", self._activity())
            _log.info("%d items of %s are in %s", self._count, type(self._dataset).__name__, folder)
        finally:
            self._reading = False
            opened.discard(self)
        return folder

    def _order(self) -> list[int]:
        """All items. Ranks begin at different ones, and find what others have read: so they share the work."""
        rank, ranks = of_the_job() or (0, 1)
        first = rank * self._count // ranks
        return [(first + i) % self._count for i in range(self._count)]

    def _activity(self) -> str:
        if not self._reading:
            return ""
        seconds = time.monotonic() - self._since
        return (
            f"reading item {self._at} of {type(self._dataset).__name__} for {seconds:.1f} s; "
            f"{self._done} of {self._count} items are in the cache"
        )

    def close(self) -> None:
        """Nothing: items are read by the thread that asked for them."""

    def _digest(self, first: Volumes) -> str:
        digest = hashlib.sha256(repr((_FORMAT, self._key, self.names, self._keys, self._dims)).encode())
        for array in first:
            if array is not None:
                digest.update(repr((array.shape, array.dtype.str)).encode())
                for channel in array:
                    digest.update(np.ascontiguousarray(channel).data)
        return digest.hexdigest()[:16]

    def _read(self, number: int) -> Volumes:
        self._at, self._since = number, time.monotonic()
        try:
            item = self._dataset[number]
        except Exception as error:
            raise FastnnUNetError(
                f"[dataset] item {number} of {type(self._dataset).__name__} was not read: {type(error).__name__}: {error}"
            ) from error
        image, label = self._parts(item, number)
        name = self.names[number]
        try:
            voxels, shape = checked_image(image, name, self._dims)
            labels = None if label is None else checked_label(label, name, shape, copies=True)
        except ValueError as error:
            raise ValueError(f"[dataset] item {number}: {error}") from error
        if self._budget is not None and (needed := voxels.nbytes + (0 if labels is None else labels.nbytes)) > self._budget:
            raise MemoryBudgetError(
                f"[memory_budget] expected at least {in_units(needed)} for item {number} of the data set, "
                f"got {in_units(self._budget)}"
            )
        if voxels.dtype == np.float64:
            voxels = voxels.astype(np.float32)  # as which it is read
        if labels is not None and labels.dtype.itemsize > 2:
            labels = labels.astype(np.int16)
        return voxels, labels

    def _parts(self, item: Any, number: int) -> tuple[Any, Any]:
        image_key, label_key = self._keys
        if isinstance(item, Mapping):
            if image_key not in item:
                raise ValueError(
                    f"[dataset] item {number}: expected a dictionary with '{image_key}', got {sorted(map(str, item))}"
                )
            return item[image_key], item.get(label_key)
        if isinstance(item, (tuple, list)):
            if len(item) not in (1, 2):
                raise ValueError(f"[dataset] item {number}: expected (image, label) or (image,), got {len(item)} values")
            return item[0], item[1] if len(item) == 2 else None
        if isinstance(item, (np.ndarray, torch.Tensor)):
            return item, None
        raise ValueError(
            f"[dataset] item {number}: expected a dictionary, (image, label) or an image, got {type(item).__name__}"
        )

    def _is_kept(self, folder: Path, number: int) -> bool:
        return (folder / f"{self.names[number]}.b2nd").is_file()  # written after the labels

    def _take(self, folder: Path, number: int, volumes: Volumes) -> None:
        if self._is_kept(folder, number):
            return
        name = self.names[number]
        for array, ending in zip(reversed(volumes), ("_seg.b2nd", ".b2nd"), strict=True):
            if array is not None:
                file = folder / f"{name}{ending}"
                if array.dtype == np.bool_:
                    array = array.view(np.uint8)
                blocks, chunks = blocks_and_chunks(array.shape, self._patch_size, array.itemsize)
                _write_whole(
                    file, _core.pack_b2nd(str(file), array, chunks=chunks, blocks=blocks, shuffle=True, threads=self._threads)
                )


def _checked_names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"item_{number}" for number in range(count)]
    made = list(names)
    if len(made) != count:
        raise ValueError(f"[cases] expected a name for each of {count} items, got {len(made)}")
    if len(set(made)) != count:
        raise ValueError("[cases] expected names that differ, got some twice")
    for name in made:
        if not isinstance(name, str) or not name or name != Path(name).name or set(name) & set('\\/:*?"<>|') or name[0] == ".":
            raise ValueError(f"[cases] expected names that files can have, got {name!r}")
        if name.endswith(("_seg", "_target")):
            raise ValueError(f"[cases] expected names that do not end in '_seg' or '_target', as other files do, got {name!r}")
    return made


class _Digest(io.RawIOBase):
    """A file that keeps a digest of what is written to it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)


def _key_of(dataset: Any) -> str:
    """A digest of what the data set is made of: its pickle, and the code of its classes."""
    stream = _Digest()
    try:
        pickle.Pickler(stream, protocol=4).dump(dataset)
    except Exception as error:  # whatever an object of the user's raises
        raise ValueError(
            f"[dataset] expected one that pickle can write, to know it again, or cache_key='...' of your own, "
            f"got {type(dataset).__name__}: {error}"
        ) from error
    for kind in type(dataset).__mro__:
        if kind.__module__.split(".")[0] not in ("builtins", "torch", "typing", "collections"):
            with contextlib.suppress(OSError, TypeError):  # typed into an interpreter
                stream.digest.update(inspect.getsource(kind).encode())
    return stream.digest.hexdigest()


def _write_whole(file: Path, packed: _core.PackedBytes) -> None:
    """Another rank may write the same file: it appears whole, with the same content."""
    part = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as stream:
            stream.write(packed)
        part.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
