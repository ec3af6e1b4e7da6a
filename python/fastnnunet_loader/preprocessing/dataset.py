"""All cases of a data set for one configuration, as nnU-Net's `DefaultPreprocessor.run` preprocesses them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._core import __version__
from ..errors import PreprocessingError
from ..known import versions
from ..loading.reading.patience import Patience
from ..prediction.export.outputs import HELD, Outputs, remove_leftovers
from ..prediction.session.memory import Budget
from .case import CasePreprocessor
from .cases import Checked, TrainingCase, check, preprocessing_bytes, training_cases
from .reading import Kept
from .record import Record, digest_of, stamps_of_raw
from .session import Job, Session

__all__ = ["preprocess_cases"]


def preprocess_cases(
    preprocessor: Any,
    dataset: dict[str, Any],
    output: Path,
    plans: Any,
    configuration: Any,
    dataset_json: dict[str, Any],
    *,
    budget: Budget,
    threads: int,
    most_cases: int,
    progress: bool,
    say: Callable[[str], None],
    patience: Patience,
    kept: Kept | None = None,
) -> list[PreprocessingError]:
    """Preprocess all cases into the folder `output`; return the errors of those that failed.

    Args:
        preprocessor: of nnU-Net.
        dataset: files of each case, as nnU-Net's `get_filenames_of_train_images_and_targets` returns them.
        plans, configuration, dataset_json: nnU-Net's PlansManager and ConfigurationManager, and dataset.json.
        budget: bytes that all cases in progress may take.
        threads: that work at once.
        most_cases: that are in progress at once.
        progress: whether to show it.
        say: called with messages for the user.
        patience: with files.
        kept: where cases are kept that were read already; None for nowhere.
    """
    cases = training_cases(dataset)
    kind = type(preprocessor)
    of_case = CasePreprocessor(preprocessor, plans, configuration, dataset_json, say, budget, patience, kept)
    code = (f"{kind.__module__}.{kind.__qualname__}", __version__, np.__version__, versions.found("nnunetv2"))
    record = Record(output, digest_of(plans.plans, configuration.configuration, dataset_json, *code))
    # Code of somebody else may have been changed since.
    finished = record.finished(cases) if of_case.is_nnunets else set()
    if finished:
        say(f"{len(finished)} of {len(cases)} cases are preprocessed already, by a run that did not end: going on in {output}")
        for line in remove_leftovers(output).describe(output):
            say(line)
        _remove_others(output, record.files(finished))
    elif output.is_dir():
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    record.begin()
    left = [case for case in cases if case.name not in finished]
    checked: list[Checked] = [(case, None) for case in left]
    bad: list[PreprocessingError] = []
    if not of_case.changes:  # else only its own code knows which files it accepts
        checked, bad = check(left, plans.image_reader_writer_class, dataset_json, patience)
    for error in bad:
        say(f"{error}; the others follow")
    outputs = Outputs()
    channels = len(configuration.normalization_schemes)

    def job(case: TrainingCase, header: Any) -> Job:
        def work(count: int) -> None:
            target, raw = output / case.name, stamps_of_raw(case)
            # The file that nnU-Net finds a case by is moved last.
            with outputs.beside(target, lambda name: name in (f"{case.name}.b2nd", f"{case.name}.npz")) as folder:
                of_case.run(case, folder, count)
                names = sorted(file.name for file in folder.iterdir() if file.name != HELD)
            record.add(case, raw, names)

        need = (
            None
            if header is None
            else preprocessing_bytes(header, channels, of_case.classes, plans, configuration, of_case.native)
        )
        return Job(case, need, work)

    session = Session("preprocess", budget, threads, most_cases, progress, say, outputs.close, kept)
    failed = session.run([job(case, header) for case, header in checked], len(finished))
    if not bad and not failed:
        record.end()
    order = {case.name: index for index, case in enumerate(cases)}
    return sorted([*bad, *failed], key=lambda error: order.get(error.case, len(order)))


def _remove_others(output: Path, finished: set[str]) -> None:
    """Remove files of cases that were not finished: nnU-Net would train on what it finds."""
    for file in output.iterdir():
        if file.is_file() and file.name not in finished:
            file.unlink()
