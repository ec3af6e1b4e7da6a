"""nnU-Net's iterators over preprocessed images, which a thread of this process makes ahead of the network."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nnunetv2.inference import data_iterators
from nnunetv2.utilities import utils

from ...errors import ResourceError
from ...loading.reading.patience import Patience
from ...threads import start
from ..images.cases import Case, name_of
from ..images.checks import CaseChecks
from ..originals.stand_ins import stands_for
from ..preprocessing.preprocess import Preprocessing
from ..session.pipeline import failure
from . import options
from .speaking import leave_out, say

__all__ = [
    "Arrays",
    "Files",
    "Preprocessed",
    "create_lists_from_splitted_dataset_folder",
    "preprocessing_iterator_fromfiles",
    "preprocessing_iterator_fromnpy",
]


@dataclass(frozen=True)
class Files:
    """Stands for nnU-Net's iterator over preprocessed files; nothing is done before it is asked for."""

    files: Sequence[Sequence[str]]
    previous: Sequence[str | None] | None
    targets: Sequence[str] | None

    def __post_init__(self) -> None:
        _check_lengths(self.files, "list of files", previous=self.previous, targets=self.targets)
        if empty := [index for index, files in enumerate(self.files) if not len(files)]:
            raise ValueError(f"expected files of every case, got none for case {empty[0]}")

    def cases(self, ending: str) -> list[Case]:
        """The cases, named after their files."""
        before = [None] * len(self.files) if self.previous is None else self.previous
        targets = [None] * len(self.files) if self.targets is None else self.targets
        return [
            Case(name_of(files[0], ending), tuple(files), previous, target)
            for files, previous, target in zip(self.files, before, targets, strict=False)
        ]


@dataclass(frozen=True)
class Arrays:
    """Stands for nnU-Net's iterator over preprocessed arrays."""

    images: Sequence[Any]
    before: Sequence[Any] | None
    properties: Sequence[dict[str, Any]]
    targets: Sequence[str] | None

    def __post_init__(self) -> None:
        named = {"previous": self.before, "properties": self.properties, "targets": self.targets}
        _check_lengths(self.images, "image", **named)


def _check_lengths(of: Sequence[Any], kind: str, **others: Sequence[Any] | None) -> None:
    """Raise ValueError where there are fewer than of `of`; nnU-Net leaves out what is more."""
    for name, other in others.items():
        if other is not None and len(other) < len(of):
            raise ValueError(f"[{name}] expected one for each {kind}, {len(of)}, got {len(other)}")


class Preprocessed:
    """What nnU-Net's functions that begin to preprocess return: the items that nnU-Net yields, or the way to them."""

    def __init__(self, source: Files | Arrays, plan: tuple[Any, Any, dict[str, Any]], verbose: bool = False) -> None:
        self.source = source
        self._plan = plan
        self._verbose = verbose
        self._items: Iterator[dict[str, Any]] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._items is None:
            self._items = _ahead(self._made())
        return next(self._items)

    @property
    def begun(self) -> bool:
        """Whether somebody has taken items already."""
        return self._items is not None

    def close(self) -> None:
        """Make no more of them."""
        items, self._items = self._items, iter(())
        if items is not None and hasattr(items, "close"):
            items.close()

    def _made(self) -> Iterator[dict[str, Any]]:
        patience = Patience(options.patience(), say)
        preprocessing = Preprocessing(*self._plan, options.threads(), say, self._verbose, patience)
        if isinstance(self.source, Files):
            cases = self.source.cases(str(self._plan[2]["file_ending"]))
            checked, bad = (
                CaseChecks(*self._plan, patience).check(cases, writes=False)
                if preprocessing.reads_as_nnunet
                else ([(c, None) for c in cases], [])
            )
            for error in bad:
                leave_out(error)
            for case, _ in checked:
                try:
                    data, properties = preprocessing.from_files(case.name, case.files, case.previous)
                except Exception as error:
                    leave_out(failure(case.name, "preprocess", error))
                    continue
                yield {"data": data, "data_properties": properties, "ofile": case.target}
            return
        source = self.source
        for index, image in enumerate(source.images):
            before = None if source.before is None else source.before[index]
            try:
                data, properties = preprocessing.from_array(f"image {index}", image, before, source.properties[index])
            except Exception as error:
                leave_out(failure(f"image {index}", "preprocess", error))
                continue
            target = None if source.targets is None else source.targets[index]
            yield {"data": data, "data_properties": properties, "ofile": target}


def _ahead(items: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same items, of which a thread makes the next one while the last one is worked on."""
    line: queue.Queue[Any] = queue.Queue(maxsize=1)
    stop = threading.Event()
    end = object()

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                return line.put(item, timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(end)
        except BaseException as error:
            put(error)

    try:
        thread = threading.Thread(target=make, name="fastnnunet-reader", daemon=True)
        start(thread, "[prediction] expected a thread that preprocesses the next case")
    except ResourceError as error:
        say(f"warning: {error}. Cases are preprocessed one after the other, while the network waits")
        yield from items
        return
    try:
        while (item := line.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
            del item
    finally:
        stop.set()


@stands_for(data_iterators, "preprocessing_iterator_fromfiles")
def preprocessing_iterator_fromfiles(
    list_of_lists: Any,
    list_of_segs_from_prev_stage_files: Any,
    output_filenames_truncated: Any,
    plans_manager: Any,
    dataset_json: Any,
    configuration_manager: Any,
    num_processes: int = 1,
    pin_memory: bool = False,
    verbose: bool = False,
) -> Preprocessed:
    """As nnU-Net's, without processes."""
    files = Files(list_of_lists, list_of_segs_from_prev_stage_files, output_filenames_truncated)
    return Preprocessed(files, (plans_manager, configuration_manager, dataset_json), verbose)


@stands_for(data_iterators, "preprocessing_iterator_fromnpy")
def preprocessing_iterator_fromnpy(
    list_of_images: Any,
    list_of_segs_from_prev_stage: Any,
    list_of_image_properties: Any,
    truncated_ofnames: Any,
    plans_manager: Any,
    dataset_json: Any,
    configuration_manager: Any,
    num_processes: int = 1,
    pin_memory: bool = False,
    verbose: bool = False,
) -> Preprocessed:
    """As nnU-Net's, without processes."""
    arrays = Arrays(list_of_images, list_of_segs_from_prev_stage, list_of_image_properties, truncated_ofnames)
    return Preprocessed(arrays, (plans_manager, configuration_manager, dataset_json), verbose)


@stands_for(utils, "create_lists_from_splitted_dataset_folder")
def create_lists_from_splitted_dataset_folder(
    folder: str, file_ending: str, identifiers: Any = None, num_processes: int = 12
) -> list[list[str]]:
    """As nnU-Net's, without processes."""
    if identifiers is None:
        identifiers = utils.get_identifiers_from_splitted_dataset_folder(folder, file_ending)
    files = utils.subfiles(folder, suffix=file_ending, join=False, sort=True)
    return [utils.create_paths_fn(folder, files, file_ending, identifier) for identifier in identifiers]
