"""A session predicts cases with an nnUNetPredictor: checks, preprocessing, the pipeline, the network and the export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import PredictionError
from ...loading.reading.patience import Patience
from ...settings import PATIENCE, in_units
from ...system import available_cores, memory, threads_of
from ..export.export import Deciding, Exporting
from ..export.outputs import remove_leftovers
from ..images import Header
from ..images.cases import Case
from ..images.checks import CaseChecks, Checked
from ..images.fingerprint import Fingerprint
from ..originals.followed import own_way
from ..preprocessing.preprocess import Preprocessing
from ..sliding_window.passage import Passage, plan_passage, whole_bytes
from ..sliding_window.windows import predict_planes
from .memory import Budget, Need, device_room, estimate
from .pipeline import Job, Pipeline, Prepared
from .progress import Progress

__all__ = ["Session"]


class Session:
    """Predicts cases with one initialised nnUNetPredictor.

    Args:
        predictor: the nnUNetPredictor.
        save_probabilities: whether to save or return probabilities beside the segmentation.
        memory_budget: bytes for all cases in progress; a case that needs more by itself is refused. None for half of the free
            memory; such a case is then predicted alone, with a warning.
        on_bad_case: "raise", or "skip" to finish the others.
        threads: number of threads for preprocessing and export; None for one less than the cores, at most 8.
        progress: whether to show the progress.
        model: folder of the trained model. Images that differ much from its dataset_fingerprint.json cause a warning.
        say: called with messages for the user.
        own_export: whether to call replacements of nnU-Net's export functions in the module of its predictor.
        budget: a budget to share; `memory_budget` is then ignored.
        patience: seconds for which reading an image is retried if its disk or file server does not answer.
    """

    def __init__(
        self,
        predictor: Any,
        *,
        save_probabilities: bool = False,
        memory_budget: int | None = None,
        on_bad_case: str = "raise",
        threads: int | None = None,
        progress: bool = True,
        model: Path | None = None,
        say: Callable[[str], None] = print,
        own_export: bool = True,
        budget: Budget | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.failures: list[PredictionError] = []
        if budget is None:
            given = memory_budget is not None
            budget = Budget(memory().available // 2 if memory_budget is None else memory_budget, given)
        self.budget = budget
        self._predictor = predictor
        self._save_probabilities = save_probabilities
        self._on_bad_case = on_bad_case
        self._with_progress = progress
        self._say = say
        plan = (predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json)
        count = threads_of(available_cores()) if threads is None else threads
        patient = Patience(patience, say)
        self._preprocessing = Preprocessing(*plan, count, say, bool(predictor.verbose_preprocessing), patient)
        self._exporting = Exporting(*plan, count, say, predictor if own_export else None)
        self._checks = CaseChecks(*plan, patient)
        self._fingerprint = None if model is None else Fingerprint.read(model)
        self._progress: Progress | None = None
        own = own_way(predictor)
        self._streams = self._exporting.native and not own
        if predictor.device.type not in ("cpu", "cuda"):
            say(f"the memory budget does not cover the memory of {predictor.device.type}, only the host's")
        if not self._streams:
            why = f"the predictor has its own sliding window ({own})" if own else "the export needs all of them at once"
            say(f"the logits of a whole image are kept in memory: {why}")

    def check(self, cases: Sequence[Case]) -> tuple[list[Checked], list[PredictionError]]:
        """Return the cases that can be predicted, and an error for each of the others. A given budget counts."""
        if not self._preprocessing.reads_as_nnunet:
            return [(case, None) for case in cases], []  # only its own preprocessor knows which files it accepts
        fitting: list[Checked] = []
        checked, bad = self._checks.check(cases, self._exporting.writes)
        for case, header in checked:
            need = None if header is None else self.need(header)
            reason = None if need is None else self.budget.refuses(need)
            if reason is None:
                fitting.append((case, header))
                if header is not None:
                    self._compare(case.name, header)
                if need is not None and (warning := self.budget.warning(need)):
                    self._say(f"warning: [{case.name}] {case.files[0]}: {warning}")
            else:
                bad.append(PredictionError(case=case.name, stage="check", file=case.files[0], reason=reason))
        return fitting, bad

    def _compare(self, name: str, header: Header) -> None:
        for warning in () if self._fingerprint is None else self._fingerprint.warnings(name, header):
            self._say(f"warning: {warning}")

    def run_files(self, checked: Sequence[Checked]) -> list[Any]:
        """Predict cases that `check` has returned; see `Pipeline.run`."""
        for folder in sorted({Path(case.target).parent for case, _ in checked if case.target is not None}):
            for line in remove_leftovers(folder).describe(folder):
                self._say(line)
        jobs = [self.job(case, header) for case, header in checked]
        return self.run(jobs, len(jobs))

    def job(self, case: Case, header: Header | None) -> Job:
        """Return the job of a case that `check` has returned."""
        need = None if header is None else self.need(header)
        prepare = self._preprocessing.from_files
        return Job(case.name, lambda: prepare(case.name, case.files, case.previous), case.target, need)

    def jobs_of_arrays(self, images: Sequence[Any], before: Any, properties: Sequence[Any], targets: Any) -> list[Job]:
        """Return jobs for images (C, X, Y, Z) as nnU-Net's reader returns them, with their properties."""

        def job(index: int) -> Job:
            image, previous = images[index], None if before is None else before[index]
            target = None if targets is None else targets[index]
            name = f"image {index}" if target is None else Path(target).name
            prepare = self._preprocessing.from_array
            need = None
            if self._preprocessing.reads_as_nnunet:
                try:
                    header = _header_of(name, image, properties[index], self._checks.channels)
                except PredictionError as error:
                    if self._on_bad_case == "raise":
                        raise
                    return Job(name, _raising(error), target)
                self._compare(name, header)
                need = self.need(header)
                self._warn_of(name, need)
            return Job(name, lambda: prepare(name, image, previous, properties[index]), target, need)

        return [job(index) for index in range(len(images))]

    def jobs_of_items(self, items: Iterable[dict[str, Any]]) -> Iterator[Job]:
        """Yield jobs for items of another preprocessing, with 'data', 'data_properties' and 'ofile' as in nnU-Net."""
        for index, item in enumerate(items):
            target = item["ofile"]
            name = f"image {index}" if target is None else Path(target).name
            need = self.need_of_prepared(name, item.get("data_properties"))
            if need is not None:
                self._warn_of(name, need)
            yield Job(name, lambda item=item: _prepared(item), target, need)  # type: ignore[misc]

    def need_of_prepared(self, name: str, properties: Any) -> Need | None:
        """Return the memory that a preprocessed case still needs; None if its properties do not tell."""
        shape = properties.get("shape_before_cropping") if isinstance(properties, dict) else None
        channels = self._checks.channels
        try:
            turned = [int(shape[axis]) for axis in self._predictor.plans_manager.transpose_backward]  # type: ignore[index]
            voxels = np.broadcast_to(np.float32(0), (len(channels), *turned))
            header = _header_of(name, voxels, properties, channels)
        except (PredictionError, TypeError, ValueError, IndexError):
            return None
        need = self.need(header)
        return replace(need, preprocess=0)  # which is over

    def _warn_of(self, name: str, need: Need) -> None:
        if warning := self.budget.warning(need):
            self._say(f"warning: [{name}] {warning}")

    def need(self, header: Header) -> Need:
        """Return the memory that a case needs, estimated from its header."""
        predictor = self._predictor
        return estimate(
            header,
            len(predictor.configuration_manager.normalization_schemes),
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.label_manager,
            folds=len(predictor.list_of_parameters),
            on_cpu=predictor.device.type == "cpu",
            save_probabilities=self._save_probabilities,
            native_preprocessing=self._preprocessing.native,
            native_export=self._exporting.native,
            tile_step_size=predictor.tile_step_size if self._streams else None,
        )

    def run(
        self,
        jobs: Iterable[Job],
        total: int | None,
        finished: Callable[[str, PredictionError | None], None] = lambda _, __: None,
    ) -> list[Any]:
        """Predict; see `Pipeline` and `Pipeline.run`. The errors of skipped cases are in `failures`."""
        from nnunetv2.inference.predict_from_raw_data import compute_gaussian
        from nnunetv2.utilities.helpers import empty_cache

        self._progress = progress = Progress(total, self.budget) if self._with_progress else None
        outputs = self._exporting.outputs
        pipeline = Pipeline(self.predict, self.export, outputs, self.budget, self._on_bad_case, progress, finished)
        try:
            return pipeline.run(jobs)
        finally:
            self.failures = pipeline.failures
            getattr(compute_gaussian, "cache_clear", lambda: None)()  # a replacement may have no cache
            empty_cache(self._predictor.device)

    def predict(
        self, case: str, image: torch.Tensor, properties: dict[str, Any], target: str | None
    ) -> Deciding | torch.Tensor:
        """Return a case whose labels are decided, or if that would save no memory, nnU-Net's logits (C, X, Y, Z) on the CPU.

        Torch's number of threads stays as it is.
        """
        predictor = self._predictor
        heads, folds = int(predictor.label_manager.num_segmentation_heads), len(predictor.list_of_parameters)
        shape = [int(n) for n in image.shape[1:]]
        if self._streams:
            passage = plan_passage(shape, predictor.configuration_manager.patch_size, predictor.tile_step_size)
            if passage.bytes(heads, folds) < whole_bytes(passage.shape, heads, folds):
                return self._predict_planes(case, image, passage, properties, target)
        return self.logits(image)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Return nnU-Net's logits (C, X, Y, Z) of a whole image, on the CPU."""
        threads = torch.get_num_threads()
        try:
            logits: torch.Tensor = self._predictor.predict_logits_from_preprocessed_data(image).cpu().detach()
            return logits
        finally:
            torch.set_num_threads(threads)

    def abandon(self) -> None:
        """Remove incomplete files, and write no more."""
        self._exporting.outputs.close()

    def _predict_planes(
        self, case: str, image: torch.Tensor, passage: Passage, properties: dict[str, Any], target: str | None
    ) -> Deciding:
        def tell(done: int, total: int) -> None:
            if self._progress is not None:
                self._progress.windows("predicting", case, done, total)

        shape = [int(n) for n in image.shape[1:]]
        deciding = self._exporting.begin(shape, passage.along, properties, target, self._save_probabilities)
        try:
            on_device = self._fits_the_device(case, image, passage)
            predict_planes(self._predictor, image, passage, deciding.start, tell, on_device=on_device, say=self._say)
        except BaseException:
            self._exporting.abandon(deciding)
            raise
        return deciding

    def _fits_the_device(self, case: str, image: torch.Tensor, passage: Passage) -> bool:
        """Whether the image and the sums fit on the device beside the network's weights. Activations are not known yet."""
        predictor = self._predictor
        room = device_room(predictor.device) if predictor.perform_everything_on_device else None
        if room is None:
            return True
        heads, folds = int(predictor.label_manager.num_segmentation_heads), len(predictor.list_of_parameters)
        needed = image.numel() * image.itemsize + passage.bytes(heads, folds)
        if needed > room:
            self._say(
                f"[{case}] image and sums need {in_units(needed)}, the device has {in_units(room)} free: the CPU keeps them"
            )
        return needed <= room

    def export(self, predicted: Deciding | torch.Tensor, properties: dict[str, Any], target: str | None) -> Any:
        """Write the result, or return it if there is no target."""
        if target is None:
            return self._exporting.segmentation(predicted, properties, self._save_probabilities)
        self._exporting.write(predicted, properties, target, self._save_probabilities)
        return None

    def single(self, image: Any, properties: dict[str, Any], previous: Any, target: str | None) -> Any:
        """Predict one image (C, X, Y, Z) in the calling thread."""
        (job,) = self.jobs_of_arrays([image], [previous], [properties], [target])
        data, properties = job.prepare()
        return self.export(self.predict(job.case, data, properties, target), properties, target)


def _raising(error: PredictionError) -> Callable[[], Prepared]:
    def prepare() -> Prepared:
        raise error

    return prepare


def _header_of(name: str, image: Any, properties: dict[str, Any], channels: Sequence[str]) -> Header:
    """Return the header of an image (C, X, Y, Z) whose properties have its spacing (X, Y, Z) in mm. Raises PredictionError."""
    shape, spacing = np.shape(image), properties.get("spacing") if isinstance(properties, dict) else None
    if len(shape) != 4:
        reason = f"expected an image (C, X, Y, Z), got an array of shape {shape}; a 2D image (C, X, Y) is (C, 1, X, Y)"
        raise PredictionError(case=name, stage="check", reason=reason)
    if shape[0] != len(channels):
        wanted = f"{len(channels)} channel{'s' * (len(channels) != 1)} ({', '.join(channels)})"
        raise PredictionError(case=name, stage="check", reason=f"expected {wanted}, got an image of shape {shape}")
    if min(shape) < 1:
        raise PredictionError(case=name, stage="check", reason=f"expected an image with voxels, got one of shape {shape}")
    try:
        found = [] if spacing is None else [float(s) for s in spacing][:3]  # nnU-Net uses the first three
    except (TypeError, ValueError):
        found = []
    if len(found) != 3 or not all(np.isfinite(found)) or min(found) <= 0:
        got = "no 'spacing' in the properties" if spacing is None else f"spacing {spacing}"
        reason = f"expected three spacings in mm for an image of shape {shape}, got {got}"
        raise PredictionError(case=name, stage="check", reason=reason)
    x, y, z = (int(n) for n in shape[1:])
    return Header(len(channels), (x, y, z), (found[0], found[1], found[2]), 0)


def _prepared(item: dict[str, Any]) -> Prepared:
    data = item["data"]
    if isinstance(data, str):  # name of a file with the array, which is to be removed
        file = Path(data)
        data = torch.from_numpy(np.load(file))
        file.unlink()
    return data, item["data_properties"]
