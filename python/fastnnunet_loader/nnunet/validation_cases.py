"""The cases of the final validation: nnU-Net reads them itself, and here they are named where they cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import _core
from ..errors import PredictionError, StorageError
from ..loading.reading.cases import blosc2_files, numpy_files
from ..loading.reading.patience import patiently
from ..loading.reading.pickles import read_properties
from ..loading.storage.copies import files_of
from ..loading.storage.mirrors import fill, mirrored, whole
from ..settings import PATIENCE

__all__ = ["first_bad_file", "naming_bad_cases"]

_PLANES = 64  # that are read at once

Fault = tuple[str, str] | None  # (file, reason) where a case cannot be read
Read = Callable[[str], Fault]


def first_bad_file(files: _core.CaseFiles, properties: Path, unrestricted: bool = False) -> StorageError | None:
    """Read all of a case, and return what is wrong with the first of its files that cannot be read.

    unrestricted: as of `read_properties`.
    """
    try:
        for file, member in ((files.image, "data"), (files.segmentation, "seg"), (files.previous, "seg")):
            if str(file) in ("", "."):
                continue
            volume = _core.open_volume(file, member)
            _, depth, *plane = volume.shape
            for first in range(0, depth, _PLANES):
                volume.read_image((first, 0, 0), (min(first + _PLANES, depth), *plane))
        read_properties(properties, unrestricted)
    except StorageError as error:
        return error
    return None


def _bring_references(dataset: Path, cache: tuple[Path, int | None] | None, say: Callable[[str], None]) -> None:
    """Give the reference segmentations of a mirror their content, which nnU-Net compares the validation's predictions with."""
    folder = dataset / "gt_segmentations"
    if mirrored(folder):
        fill([file for file in sorted(folder.iterdir()) if file.stat().st_size == 0], cache, say)


@contextmanager
def naming_bad_cases(
    trainer: Any,
    skip: bool,
    unrestricted: bool,
    say: Callable[[str], None],
    each: Callable[[list[str], Read], list[Fault]] = lambda cases, read: [read(case) for case in cases],
    patience: float = PATIENCE,
    cache: tuple[Path, int | None] | None = None,
) -> Iterator[None]:
    """Inside, a case of the validation that cannot be read raises a PredictionError that names it and its file.

    With `skip` such cases are left out instead, on all ranks alike, and told; where no case is left, the first one's error is
    raised. Data sets that read files in a way of their own are left alone.

    each: calls a function for each case, here or on another rank, and returns the results in order.
    patience: seconds that a file is tried again where a disk or a file server does not answer.
    cache: folder and size of the copies that files of a mirror are made of.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy

    known = trainer.dataset_class
    found_by = {nnUNetDatasetBlosc2: blosc2_files, nnUNetDatasetNumpy: numpy_files}
    if known not in found_by:
        yield
        return
    files_at = found_by[known]
    folder, previous = Path(trainer.preprocessed_dataset_folder), trainer.folder_with_segs_from_previous_stage
    _bring_references(folder.parent, cache, say)

    def fault(case: str, patience: float = patience) -> PredictionError | None:
        files = files_at(folder, None if previous is None else Path(previous), case)

        def read_all() -> None:
            with whole(files_of(files), cache, say):
                if (bad := first_bad_file(files, folder / f"{case}.pkl", unrestricted)) is not None:
                    raise bad

        try:
            patiently(read_all, patience, waiting)
        except StorageError as bad:
            found = bad
        else:
            return None
        error = PredictionError(case=case, stage="read", file=found.file, reason=found.reason)
        error.__cause__ = found
        return error

    def waiting(text: str) -> None:
        say(f"fastnnunet_loader: {text}")

    judged: dict[str, Fault] = {}

    def judge(case: str) -> Fault:
        if case not in judged:
            error = fault(case)
            judged[case] = None if error is None else (error.file, error.reason)
            if error is not None:
                say(f"fastnnunet_loader: validating without case {error}")
        return judged[case]

    class Naming(known):  # type: ignore[misc, valid-type]
        """As nnU-Net's, with errors that say what is bad."""

        def load_case(self, identifier: str) -> Any:
            """As nnU-Net's, with all voxels read."""

            def load() -> Any:
                # Those of the data set at hand, which for a cascade is another configuration's.
                folder = Path(self.source_folder)
                files = list(files_of(files_at(folder, None, identifier))) if mirrored(folder) else []
                with whole(files, cache, say):
                    data, segmentation, stage_before, properties = super(Naming, self).load_case(identifier)
                    segmentation = segmentation[:] if files else segmentation
                    return data[:], segmentation, None if stage_before is None else stage_before[:], properties

            begin = time.monotonic()
            try:
                return patiently(load, patience, waiting)
            except Exception as error:
                first = error
            # Errors of blosc2 have no number: the core says whether a file server is the reason, and waits for it.
            if (found := fault(identifier, max(begin + patience - time.monotonic(), 0.0))) is not None:
                raise found from first
            try:
                return load()
            except Exception as error:
                reason = f"expected a case, got {type(error).__name__}: {error}"
                raise PredictionError(case=identifier, stage="read", reason=reason) from error

    Naming.__name__ = known.__name__
    split = trainer.do_split

    def good_split() -> Any:
        training, validation = split()
        faults = dict(zip(validation, each(list(validation), judge), strict=True))
        good = [case for case in validation if faults[case] is None]
        if validation and not good:
            case, found = next(iter(faults.items()))
            assert found is not None
            raise PredictionError(case=case, stage="read", file=found[0], reason=found[1])
        return training, good

    own = dict(vars(trainer))  # a trainer may have a split of its own, in its class or in itself
    trainer.dataset_class = Naming
    if skip:
        trainer.do_split = good_split
    try:
        yield
    finally:
        trainer.dataset_class = known
        if skip and "do_split" in own:
            trainer.do_split = own["do_split"]
        elif skip:
            del trainer.do_split
