"""The cases in a folder, whose files have nnU-Net's names: CASE_0000.nii.gz, CASE_0001.nii.gz, ..."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import PredictionError

__all__ = ["Case", "find_cases", "name_of", "pending", "with_targets"]


@dataclass(frozen=True)
class Case:
    """A case to predict, and the place of its result."""

    name: str
    files: tuple[str, ...]
    """One file per channel, or one file with all channels."""
    previous: str | None = None
    """For a cascade, the segmentation of the previous stage."""
    target: str | None = None
    """Output file without its ending."""


def find_cases(folder: str, ending: str) -> tuple[list[list[str]], list[PredictionError]]:
    """Return the files of each case in nnU-Net's order, and an error for each file whose name has no channel number.

    nnU-Net removes the last five characters to get the name of a case, and fails if no file of that case has a channel number.
    If another file of the case has one, nnU-Net ignores the file without; so does this function.
    """
    named: dict[str, list[str]] = {}
    others = []
    pattern = re.compile(r"(.*)_\d\d\d\d" + re.escape(ending), re.DOTALL)
    for file in sorted(path for path in Path(folder).iterdir() if path.name.endswith(ending) and path.is_file()):
        if match := pattern.fullmatch(file.name):
            named.setdefault(match[1], []).append(str(Path(folder, file.name)))
        else:
            others.append(file)
    strays = []
    for file in others:
        stem = file.name.removesuffix(ending)
        if stem[:-5] not in named:
            reason = f"expected a name with the number of the channel, such as {stem}_0000{ending}, got {file.name}"
            strays.append(PredictionError(case=stem, file=str(file), stage="check", reason=reason))
    return [named[name] for name in sorted(named)], strays


def name_of(file: str, ending: str) -> str:
    """Return the name of the case that a file belongs to: its name without ending and channel number, if it has one."""
    return re.sub(r"_\d\d\d\d$", "", Path(file).name.removesuffix(ending))


def with_targets(files: Sequence[Sequence[str]], ending: str, output: Path, previous: Path | None) -> list[Case]:
    """Return cases whose results go to the folder `output`."""
    cases = []
    for of_case in files:
        name = name_of(of_case[0], ending)
        before = None if previous is None else str(previous / (name + ending))
        cases.append(Case(name, tuple(of_case), before, str(output / name)))
    return cases


def pending(cases: Sequence[Case], ending: str, save_probabilities: bool) -> list[Case]:
    """Return the cases whose output files do not all exist."""
    endings = [ending, ".npz"] if save_probabilities else [ending]
    return [case for case in cases if not all(Path(f"{case.target}{end}").is_file() for end in endings)]
