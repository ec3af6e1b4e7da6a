"""The raw images and segmentations of a data set, by their headers: what nnU-Net will not read, and cannot predict."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import PredictionError
from ..prediction.images.cases import Case, find_cases, name_of
from ..prediction.images.checks import CaseChecks
from ..threads import Executor
from .report import Check, Verdict, progress

__all__ = ["check_raw"]

QUICK_CASES = 5
TARGET = "segmentation"
"""Where a prediction would go; nothing is written."""


def check_raw(folder: Path, plans: dict[str, Any], threads: int, quick: bool) -> Check:
    """Check the files of imagesTr, labelsTr and imagesTs, or those that dataset.json lists.

    folder: of the raw data set. plans: that name the reader; empty where there are none yet, and nnU-Net would choose it.
    """
    name = "raw files"
    try:
        description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        ending = str(description["file_ending"])
        training, problems = _training(folder, description, ending)
        to_predict, strays = find_cases(str(folder / "imagesTs"), ending) if (folder / "imagesTs").is_dir() else ([], [])
        cases: list[tuple[Case, str | None]] = list(training)
        cases += [(Case(f"imagesTs, {name_of(files[0], ending)}", tuple(files), None, TARGET), None) for files in to_predict]
        if not cases:
            return Check(
                name, Verdict.NOTE, f"no image that ends with {ending} in {folder / 'imagesTr'}", "Nothing is planned."
            )
        if quick and len(cases) > QUICK_CASES:
            cases = [cases[i * (len(cases) - 1) // (QUICK_CASES - 1)] for i in range(QUICK_CASES)]
        checks = CaseChecks.of_raw(_reader(plans, description, cases[0][0].files[0]), description)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        found = f"[{folder / 'dataset.json'}] expected a raw data set of nnU-Net, got {type(error).__name__}: {error}"
        return Check(name, Verdict.FAIL, found, "nnU-Net's preprocessing starts with it.", f"correct {folder / 'dataset.json'}")
    problems += [str(error) for error in strays]

    def look(item: tuple[Case, str | None]) -> list[str]:
        lines = _problems(checks, *item)
        advance()
        return lines

    with progress("headers of raw files", len(cases)) as advance, Executor(max_workers=threads) as pool:
        for lines in pool.map(look, cases):
            problems += lines
    if problems:
        why = "nnU-Net stops at such files: in preprocessing, or after a whole training, where it validates and predicts."
        mend = "correct these files, then: nnUNetv2_plan_and_preprocess ... --verify_dataset_integrity"
        return Check(name, Verdict.FAIL, f"{len(problems)} bad in {len(cases)} cases", why, mend, tuple(problems))
    return Check(name, Verdict.OK, f"headers of {len(cases)} cases are as nnU-Net's {checks.reader.__name__} takes them")


def _training(folder: Path, description: dict[str, Any], ending: str) -> tuple[list[tuple[Case, str | None]], list[str]]:
    """The cases with their segmentations, and what is wrong with the names of others."""
    if "dataset" in description:
        listed = description["dataset"]
        paths = {name: [_path(folder, file) for file in listed[name]["images"]] for name in listed}
        return [(Case(name, tuple(paths[name]), None, TARGET), _path(folder, listed[name]["label"])) for name in listed], []
    if not (folder / "imagesTr").is_dir():
        return [], []
    found, strays = find_cases(str(folder / "imagesTr"), ending)
    named = [(name_of(files[0], ending), files) for files in found]
    labels = folder / "labelsTr"
    return [(Case(n, tuple(files), None, TARGET), str(labels / (n + ending))) for n, files in named], [str(e) for e in strays]


def _path(folder: Path, file: str) -> str:
    return str(folder / os.path.expandvars(file))


def _reader(plans: dict[str, Any], description: dict[str, Any], example: str) -> type:
    """The reader-writer class of the plans, or the one that nnU-Net would choose for the file."""
    from nnunetv2.imageio import reader_writer_registry as registry

    if "image_reader_writer" in plans:
        found: type = registry.recursive_find_reader_writer_by_name(plans["image_reader_writer"])
        return found
    chosen: type = registry.determine_reader_writer_from_dataset_json(description, example, verbose=False)
    return chosen


def _problems(checks: CaseChecks, case: Case, segmentation: str | None) -> list[str]:
    header, problems = None, []
    try:
        header = checks.check_case(case)
    except PredictionError as error:
        problems.append(str(error))
    if segmentation is not None:
        try:
            checks.check_segmentation(case, segmentation, header)
        except PredictionError as error:
            problems.append(str(error))
    return problems
