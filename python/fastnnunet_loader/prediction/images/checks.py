"""Checks before the first case is predicted."""

from __future__ import annotations

import math
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import PredictionError
from ...loading.reading.patience import Patience, may_pass
from ...settings import in_units
from .cases import Case, name_of
from .headers import Header, of_image, read_header, unwritable
from .wholeness import missing_voxels

__all__ = ["CaseChecks", "Checked", "free_space_problem", "model_problem", "output_problem"]

Checked = tuple[Case, Header | None]
"""A case, and the header of its first file; None if the plans' reader is not one of nnU-Net's."""

TYPICAL_COMPRESSION = 0.02
"""Bytes of compressed labels per byte of labels: an optimistic estimate."""


_NONE = Patience(0.0, lambda _: None)


class CaseChecks:
    """Checks cases against a plan.

    patience: how long to retry reading files; None not to retry.
    """

    def __init__(self, plans: Any, configuration: Any, dataset_json: dict[str, Any], patience: Patience | None = None) -> None:
        self.patience = _NONE if patience is None else patience
        self.channels = _channels(dataset_json)
        """Names of the channels in dataset.json."""
        self.reader: type = plans.image_reader_writer_class
        self._schemes = len(configuration.normalization_schemes)
        self._ending = str(dataset_json["file_ending"])
        self._stage_before = configuration.previous_stage_name

    @classmethod
    def of_raw(cls, reader: type, dataset_json: dict[str, Any]) -> CaseChecks:
        """Return checks for the raw images of a data set, which need not be planned."""
        checks = cls.__new__(cls)
        checks.patience = _NONE
        checks.channels = _channels(dataset_json)
        checks.reader = reader
        checks._schemes = len(checks.channels)
        checks._ending = str(dataset_json["file_ending"])
        checks._stage_before = None
        return checks

    def check(self, cases: Sequence[Case], writes: bool = True) -> tuple[list[Checked], list[PredictionError]]:
        """Return the cases that can be predicted, and an error for each of the others.

        writes: whether nnU-Net's writer writes the segmentations of cases with a target.
        """
        good: list[Checked] = []
        bad = []
        asked = self.patience
        try:
            for case in cases:
                try:
                    good.append((case, self.check_case(case, writes)))
                except PredictionError as error:
                    bad.append(error)
                    if may_pass(error):  # do not wait again, for every file of the same server
                        self.patience = replace(asked, seconds=0.0)
        finally:
            self.patience = asked
        return good, bad

    def check_case(self, case: Case, writes: bool = True) -> Header | None:
        """Return the header of the first file. Raises a PredictionError that says what is wrong."""
        headers = [self._header(case, file) for file in case.files]
        first = headers[0] if headers else None
        if headers and first is None:
            return None  # such files cannot be checked
        found = sum(header.channels for header in headers if header is not None)
        # nnU-Net ignores schemes without a channel.
        if found != len(self.channels) or found > self._schemes:
            self._refuse_channels(case, found)
        assert first is not None
        if first.unwritable and writes and case.target is not None:
            raise _problem(case, case.files[0], f"expected {first.unwritable}")
        for file, header in zip(case.files[1:], headers[1:], strict=True):
            self._compare(case, file, case.files[0], header, first)
        if self._stage_before is not None:
            if case.previous is None:
                raise _problem(case, "", f"expected a segmentation of the previous stage, {self._stage_before}, got none")
            before = self._header(case, case.previous)
            self._compare(case, case.previous, case.files[0], before, first, spacing=False)
        return first

    def check_segmentation(self, case: Case, file: str, image: Header | None) -> None:
        """Check that a segmentation can be read and has the size of its image, if that is known."""
        header = self._header(case, file)
        if header is None:
            return
        if header.channels != 1:
            raise _problem(case, file, f"expected a segmentation with 1 channel, got {header.channels}")
        if image is not None:
            self._compare(case, file, case.files[0], header, image, spacing=False)

    def _header(self, case: Case, file: str) -> Header | None:
        try:
            return self.patience.reading([file], lambda: self._header_of(case, file))
        except PredictionError:
            raise
        except Exception as error:
            raise _problem(case, file, f"expected an image that can be read, got {_said(error)}") from error

    def _header_of(self, case: Case, file: str) -> Header | None:
        try:
            found = Path(file).stat()
        except FileNotFoundError as error:
            raise _problem(case, file, "expected a file, got none") from error
        if not stat.S_ISREG(found.st_mode):
            raise _problem(case, file, "expected a file, got none")
        if not found.st_size:
            raise _problem(case, file, "expected an image, got an empty file")
        try:
            header = read_header(self.reader, file)
        except Exception as error:
            return self._settle(case, file, error)
        lack = None if header is None else missing_voxels(file)
        if lack is not None and lack.certain:
            raise _problem(case, file, f"expected {lack.expected}")
        return header if lack is None else self._settle(case, file, ValueError(lack.expected))

    def _settle(self, case: Case, file: str, doubt: Exception) -> Header:
        """Decide about a file that looks bad: nnU-Net's own reader reads all of it."""
        expected = str(doubt) if type(doubt) is ValueError else f"an image that can be read, got {_said(doubt)}"
        try:
            image, properties = self.reader().read_images([file])
        except Exception as error:
            said = "" if _said(error) in expected else f" ({self.reader.__name__}: {_said(error)})"
            raise _problem(case, file, f"expected {expected}{said}") from error
        try:
            return of_image(image, properties["spacing"], unwritable(properties))
        except Exception as error:  # the file is readable, but nnU-Net's preprocessing will fail
            raise _problem(case, file, f"expected {expected}") from error

    def _refuse_channels(self, case: Case, found: int) -> None:
        expected = len(self.channels)
        if self._schemes != expected:
            raise _problem(
                case, "", f"expected as many channels in dataset.json as in the plans ({self._schemes}), got {expected}"
            )
        wanted = f"{expected} channel{'s' * (expected != 1)} ({', '.join(self.channels)})"
        if found < expected and case.files:
            # Each file has one channel, so the first missing file can be named.
            folder = Path(case.files[0]).parent
            name = name_of(case.files[0], self._ending)
            paths = [folder / f"{name}_{channel:04d}{self._ending}" for channel in range(expected)]
            missing = [str(path) for path in paths if str(path) not in case.files]
            if missing and found == len(case.files):
                raise _problem(case, missing[0], f"expected {wanted}, got {found} and no such file")
        listed = ", ".join(Path(file).name for file in case.files)
        raise _problem(case, case.files[-1] if case.files else "", f"expected {wanted}, got {found} in {listed}")

    def _compare(
        self, case: Case, file: str, other: str, header: Header | None, first: Header, *, spacing: bool = True
    ) -> None:
        assert header is not None
        name = Path(other).name
        if header.shape != first.shape:
            raise _problem(case, file, f"expected the size {first.shape} of {name}, got {header.shape}")
        same = all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-8) for a, b in zip(header.spacing, first.spacing, strict=True))
        if spacing and not same:
            raise _problem(case, file, f"expected the spacing {first.spacing} of {name}, got {header.spacing}")


def _channels(dataset_json: dict[str, Any]) -> list[str]:
    names = dataset_json.get("channel_names", dataset_json.get("modality", {}))
    return [str(name) for name in names.values()]


def _problem(case: Case, file: str, reason: str) -> PredictionError:
    return PredictionError(case=case.name, stage="check", file=file, reason=reason)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def model_problem(folder: Path, folds: Sequence[str | int], checkpoint: str) -> str | None:
    """Return what a trained model lacks, or None."""
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("*__*__*")) if folder.parent.is_dir() else []
        listed = f"\n  there are: {', '.join(there)}" if there else ""
        return f"expected a trained model in {folder}, got no such folder{listed}"
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            models = [folder.parent] if (folder.parent / name).is_file() else sorted(p.parent for p in folder.glob(f"*/{name}"))
            listed = f"\n  it is in: {', '.join(map(str, models))}" if models else ""
            return f"expected {name} in {folder}, got none{listed}"
    for fold in folds:
        if not (folder / f"fold_{fold}" / checkpoint).is_file():
            there = sorted(path.parent.name for path in folder.glob(f"fold_*/{checkpoint}"))
            return f"expected {checkpoint} in {folder / f'fold_{fold}'}, got none\n  it is in: {', '.join(there) or 'no fold'}"
    return None


def output_problem(folder: Path) -> str | None:
    """Make the output folder; return why it cannot be written to, or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        return f"expected a folder that can be written to, got {folder}: {error.strerror or error}"
    return None


def free_space_problem(folder: Path, cases: Sequence[Checked], heads: int, save_probabilities: bool) -> str | None:
    """Return a message if the disk is too small for the results. Labels compress well, so only a clear lack is reported."""
    voxels = [header.voxels for _, header in cases if header is not None]
    if not voxels:
        return None
    each = 1 + 4 * heads * save_probabilities
    needed = int(max(voxels) * each + TYPICAL_COMPRESSION * sum(voxels) * each)
    free = shutil.disk_usage(folder).free
    return (
        None if free >= needed else f"expected at least {in_units(needed)} free on the disk of {folder}, got {in_units(free)}"
    )
