"""Puts this pipeline under every nnUNetPredictor of the process. `fastnnunet_loader.nnunet` calls it and undoes it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cases import Case, find_cases, name_of
from .pipeline import Job
from .session import Session

__all__ = ["patch_predictor"]

_log = logging.getLogger("fastnnunet_loader")

_MODEL = "_fastnnunet_model"
"""Attribute of a predictor: the folder of its trained model, or None."""

Options = Callable[[], dict[str, Any]]
"""Gives what install() was asked for: memory_budget, on_bad_case and threads of a Session."""


@dataclass(frozen=True)
class Files:
    """Stands for nnU-Net's iterator over preprocessed files; nothing is done before it is asked for."""

    files: Sequence[Sequence[str]]
    previous: Sequence[str | None] | None
    targets: Sequence[str] | None

    def cases(self, ending: str) -> list[Case]:
        """The cases, named after their files."""
        before = [None] * len(self.files) if self.previous is None else self.previous
        targets = [None] * len(self.files) if self.targets is None else self.targets
        return [
            Case(name_of(files[0], ending), tuple(files), previous, target)
            for files, previous, target in zip(self.files, before, targets, strict=True)
        ]


@dataclass(frozen=True)
class Arrays:
    """Stands for nnU-Net's iterator over preprocessed arrays."""

    images: Sequence[Any]
    before: Sequence[Any] | None
    properties: Sequence[dict[str, Any]]
    targets: Sequence[str] | None


class Preprocessed:
    """What nnU-Net's functions that begin to preprocess return: the items that nnU-Net yields, or the way to them."""

    def __init__(self, source: Files | Arrays, plan: tuple[Any, Any, dict[str, Any]]) -> None:
        self.source = source
        self._plan = plan

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from ..loader import available_cores
        from .preprocess import Preprocessing

        preprocessing = Preprocessing(*self._plan, available_cores(), _say)
        if isinstance(self.source, Files):
            for case in self.source.cases(str(self._plan[2]["file_ending"])):
                data, properties = preprocessing.from_files(case.name, case.files, case.previous)
                yield {"data": data, "data_properties": properties, "ofile": case.target}
            return
        source = self.source
        for index, image in enumerate(source.images):
            before = None if source.before is None else source.before[index]
            data, properties = preprocessing.from_array(f"image {index}", image, before, source.properties[index])
            target = None if source.targets is None else source.targets[index]
            yield {"data": data, "data_properties": properties, "ofile": target}


def patch_predictor(patch: Callable[[Any, str, Any], None], options: Options) -> None:
    """Replace what starts processes in nnU-Net's prediction. `patch(owner, name, value)` remembers how to undo it."""
    from nnunetv2.inference import predict_from_raw_data as module

    predictor = module.nnUNetPredictor

    def from_files(
        list_of_lists: Any, previous: Any, targets: Any, plans: Any, dataset_json: Any, configuration: Any, *_: Any, **__: Any
    ) -> Preprocessed:
        return Preprocessed(Files(list_of_lists, previous, targets), (plans, configuration, dataset_json))

    def from_arrays(
        images: Any, before: Any, properties: Any, targets: Any, plans: Any, dataset_json: Any, configuration: Any, *_: Any,
        **__: Any,
    ) -> Preprocessed:  # fmt: skip
        return Preprocessed(Arrays(images, before, properties, targets), (plans, configuration, dataset_json))

    def list_files(folder: str, file_ending: str, *_: Any, **__: Any) -> list[list[str]]:
        cases, strays = find_cases(folder, file_ending)
        if strays:
            raise strays[0]
        return cases

    initialize, initialize_by_hand = predictor.initialize_from_trained_model_folder, predictor.manual_initialization

    def initialize_from_trained_model_folder(self: Any, model_training_output_dir: str, *args: Any, **kwargs: Any) -> None:
        initialize(self, model_training_output_dir, *args, **kwargs)
        setattr(self, _MODEL, Path(model_training_output_dir))

    def manual_initialization(self: Any, *args: Any, **kwargs: Any) -> None:
        initialize_by_hand(self, *args, **kwargs)
        setattr(self, _MODEL, None)  # nobody says where the network comes from

    def session_of(self: Any, **settings: Any) -> Session:
        return Session(self, model=getattr(self, _MODEL, None), say=_say, **settings, **options())

    def predict_from_data_iterator(
        self: Any, data_iterator: Any, save_probabilities: bool = False, num_processes_segmentation_export: int = 0
    ) -> list[Any]:
        session = session_of(self, save_probabilities=save_probabilities, progress=self.allow_tqdm)
        results = _run(session, self, data_iterator, options()["on_bad_case"])
        if hasattr(data_iterator, "_finish"):
            data_iterator._finish()
        return results

    def predict_from_files_sequential(
        self: Any,
        list_of_lists_or_source_folder: Any,
        output_folder_or_list_of_truncated_output_files: Any,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ) -> list[Any] | None:
        output = output_folder_or_list_of_truncated_output_files
        if isinstance(output, list):
            output = [os.path.join(os.path.curdir, file) for file in output]  # noqa: PTH118 - a text, as nnU-Net takes it
        results = self.predict_from_files(
            list_of_lists_or_source_folder,
            output,
            save_probabilities,
            overwrite,
            folder_with_segs_from_prev_stage=folder_with_segs_from_prev_stage,
        )
        # nnU-Net returns segmentations here, and nothing for those that were written.
        return results if results is None or output is None else []

    def predict_single_npy_array(
        self: Any,
        input_image: Any,
        image_properties: dict[str, Any],
        segmentation_previous_stage: Any = None,
        output_file_truncated: str | None = None,
        save_or_return_probabilities: bool = False,
    ) -> Any:
        session = session_of(self, save_probabilities=save_or_return_probabilities)
        return session.single(input_image, image_properties, segmentation_previous_stage, output_file_truncated)

    patch(module, "preprocessing_iterator_fromfiles", from_files)
    patch(module, "preprocessing_iterator_fromnpy", from_arrays)
    patch(module, "create_lists_from_splitted_dataset_folder", list_files)
    patch(predictor, "initialize_from_trained_model_folder", initialize_from_trained_model_folder)
    patch(predictor, "manual_initialization", manual_initialization)
    patch(predictor, "predict_from_data_iterator", predict_from_data_iterator)
    patch(predictor, "predict_from_files_sequential", predict_from_files_sequential)
    patch(predictor, "predict_single_npy_array", predict_single_npy_array)


def _run(session: Session, predictor: Any, items: Any, on_bad_case: str) -> list[Any]:
    if not isinstance(items, Preprocessed):
        results = session.run(session.jobs_of_items(items), None)
        _tell(session.failures)
        return results
    source = items.source
    if isinstance(source, Arrays):
        jobs: list[Job] = session.jobs_of_arrays(source.images, source.before, source.properties, source.targets)
        results = session.run(jobs, len(jobs))
        _tell(session.failures)
        return results
    cases = source.cases(str(predictor.dataset_json["file_ending"]))
    checked, bad = session.check(cases)
    if bad and on_bad_case == "raise":
        raise bad[0]
    predicted = dict(zip((id(case) for case, _ in checked), session.run_files(checked), strict=True))
    _tell([*bad, *session.failures])
    return [predicted.get(id(case)) for case in cases]


def _say(text: str) -> None:
    warning = text.removeprefix("warning: ")
    _log.log(logging.INFO if warning == text else logging.WARNING, "%s", warning)


def _tell(bad: Sequence[Any]) -> None:
    for error in bad:
        _log.warning("left out: %s", error)
