"""`fl.pack`: image files into a folder that `DataLoader.from_folder` reads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import PreprocessingError
from ..loading.reading.patience import Patience
from ..prediction.export.outputs import HELD, Outputs
from ..prediction.session.memory import Budget
from ..preprocessing.cases import analysis_bytes
from ..preprocessing.intensities import Foreground, intensity_properties
from ..preprocessing.record import stamps_of_raw
from ..preprocessing.session import Job, Session, raise_all
from ..settings import BYTES, COUNT, PATIENCE, SECONDS, parse_bytes
from ..system import available_cores, memory
from .case import CasePacker, find_locations, peak_bytes
from .cases import PackCase, Suffixes, cases_of_folder, cases_of_list, read_list
from .checks import Checks, Seen, check_numbers, labels_of, voxels_of
from .folder import PackedFolder
from .formats import require
from .recipe import Recipe, checked_spacing, recipe_of_options, recipe_of_plans

__all__ = ["pack"]

Pathlike = str | os.PathLike[str]

SAMPLES = 10_000_000
"""Intensities of all cases together that are drawn for each channel: enough for percentiles, in 40 MB. nnU-Net draws 10e7."""

_log = logging.getLogger("fastnnunet_loader")


def pack(
    images: Pathlike | Sequence[Mapping[str, Any]],
    output: Pathlike,
    *,
    labels: Pathlike | None = None,
    targets: Pathlike | None = None,
    section: str = "training",
    label_suffix: str = "",
    target_suffix: str = "",
    channel_endings: bool | None = None,
    plans: Pathlike | None = None,
    configuration: str | None = None,
    dataset_json: Pathlike | None = None,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
    crop: str | None = None,
    normalize: str | Sequence[str] = "none",
    intensities: Pathlike | None = None,
    patch_size: Sequence[int] | None = None,
    image_spacing: Sequence[float] | None = None,
    series: str | None = None,
    ignore_headers: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    memory_budget: int | str | None = None,
    patience: float = PATIENCE,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> list[str]:
    """Pack images, labels and regression targets into a folder for `DataLoader.from_folder`. nnU-Net is not needed.

    A case becomes CASE.b2nd (C, X, Y, Z) float32, CASE_seg.b2nd (1, X, Y, Z) int8 or int16, CASE_target.b2nd (C, X, Y, Z)
    float32, and CASE.pkl, which says where its voxels lie. X is the last axis of the file, as in nnU-Net. 2D images are
    (C, 1, Y, Z). Files appear whole, the image last. A second run with the same settings goes on: it packs the cases that are
    missing or whose files have changed.

    Args:
        images: a folder of images (NIfTI, NRRD, MetaImage, GIPL, PNG, TIFF, .npy, .npz) and of folders with a DICOM series
            each; or one of these; or a JSON file with a list of cases, as MONAI's; or such a list, of mappings with "image" (a
            file, or one for each channel), and perhaps "label", "target" and "name".
        output: the folder to write.
        labels, targets: folders with a file for each case, of its name. Labels are whole numbers from 0 to 32767, targets any
            numbers, with any number of channels.
        section: name of the list in the JSON file.
        label_suffix, target_suffix: what follows the case in the names of these files, such as "_seg".
        channel_endings: whether images end in the number of their channel, as CASE_0000.nii.gz; None: if some end in _0000,
            and labels do not.
        plans, configuration: nnU-Net's plans.json and one of its configurations, which then say all that follows.
        dataset_json: nnU-Net's; classes are then those that nnU-Net has, regions too. None: the one beside the plans.
        spacing: in mm along the first, second and third axis of the files, as their headers have it; two for 2D images, or to
            keep slices as they are. None keeps the spacing. Images are resized with cubic splines, thick slices on their own,
            labels by a vote, as in nnU-Net; targets linearly.
        orientation: where the axes of the files are to point to, such as "RAS".
        crop: "nonzero" for the box of what is not zero.
        normalize: for all channels, or for each: "none", "zscore", "zscore-nonzero" (of what is not zero), "ct" (cut to the
            0.5th and 99.5th percentiles of the foreground in the data set, then by its mean and standard deviation),
            "rescale" (0 to 1), "rgb" (by 255), "percentiles:LOW:HIGH" (cut to those of the image, then 0 to 1).
        intensities: for "ct", a JSON file with `foreground_intensity_properties_per_channel`: plans, a fingerprint, or
            the pack.json of another folder. None: found in a first pass.
        patch_size: for which files are stored, in the order of arrays (None: 128 along each axis).
        image_spacing: of pictures and of NumPy's files, which do not tell.
        series: UID or description of the DICOM series, for folders with several.
        ignore_headers: accept labels and channels whose headers put them elsewhere, if the size is that of the image.
        overwrite: replace files of other programs, and what other settings packed.
        threads: that work together (None: the cores).
        memory_budget: memory limit of the cases in progress, such as "8GB" (None: half of the free memory).
        patience: seconds for which reading a file is retried if its disk or file server does not answer.
        progress: whether to print it.
        say: is told of bad cases and of what is ignored (None: the log).

    Returns:
        The names of the cases in the folder.

    Raises:
        ValueError: an argument is out of range, there are no cases, or the folder holds something else.
        PreprocessingError: some cases could not be packed; `others` has the errors of the further ones. The rest has been.
        ModuleNotFoundError: a package that reads the files is missing.
    """
    tell = _log.warning if say is None else say
    _check_types(images, output, plans, intensities)
    for name, value, kind in (("threads", threads, COUNT), ("memory_budget", memory_budget, BYTES)):
        if value is not None:
            kind.check(name, value)
    SECONDS.check("patience", patience)
    if image_spacing is not None:
        checked_spacing("image_spacing", image_spacing)
    recipe = _recipe(
        plans, configuration, dataset_json, tell,
        spacing=spacing, orientation=orientation, crop=crop, normalize=normalize,
        intensities=None if intensities is None else Path(intensities), patch_size=patch_size,
    )  # fmt: skip
    given = memory_budget is not None
    limit = memory().available // 2 if memory_budget is None else parse_bytes(memory_budget)
    cases, bad = _cases(images, labels, targets, section, Suffixes(label_suffix, target_suffix), channel_endings, tell)
    labelled = any(case.label is not None for case in cases)
    if recipe.needs_intensities and not labelled:
        raise ValueError("[normalize] expected labels to find the intensities for ct, or a file of intensities, got neither")
    require([file for case in cases for file in (*case.images, *case.beside)])
    settings = {
        **recipe.settings,
        "image_spacing": None if image_spacing is None else [float(size) for size in image_spacing],
        "series": series,
    }
    folder = PackedFolder(Path(output), settings, overwrite, tell)
    run = _Run(
        recipe, folder, Budget(limit, given), available_cores() if threads is None else threads, progress, tell,
        Patience(patience, tell),
    )  # fmt: skip
    checks = Checks(
        recipe.orientation,
        recipe.spacing is not None,
        image_spacing,
        series,
        ignore_headers,
        recipe.channels,
        "the plans have" if plans is not None else "normalize has words for",
        run.patience,
    )
    for one in bad:
        tell(f"{one}; the others follow")
    errors = [*bad, *run.run(cases, checks)]
    order = {case.name: number for number, case in enumerate(cases)}
    raise_all(sorted(errors, key=lambda error: order.get(error.case, -1)))
    return [case.name for case in cases]


def _check_types(images: Any, output: Any, plans: Any, intensities: Any) -> None:
    if isinstance(images, Mapping) or not isinstance(images, (str, os.PathLike, Sequence)):
        raise ValueError(f"[images] expected a folder, a file, or a list of cases, got {type(images).__name__}")
    for name, value in (("output", output), ("plans", plans), ("intensities", intensities)):
        if not isinstance(value, (str, os.PathLike)) and (value is not None or name == "output"):
            raise ValueError(f"[{name}] expected a path, got {value!r}")


def _recipe(
    plans: Pathlike | None,
    configuration: str | None,
    dataset_json: Pathlike | None,
    say: Callable[[str], None],
    **options: Any,
) -> Recipe:
    if plans is None:
        if configuration is not None or dataset_json is not None:
            raise ValueError("[plans] expected nnU-Net's plans with a configuration or a dataset.json, got none")
        return recipe_of_options(**options)
    usual = {"normalize": "none"}
    if others := [name for name, value in options.items() if value != usual.get(name)]:
        raise ValueError(f"[{others[0]}] expected nothing beside plans, which say it, got {options[others[0]]!r}")
    if configuration is None:
        raise ValueError("[configuration] expected the name of a configuration of the plans, such as '3d_fullres', got none")
    beside = Path(plans).parent / "dataset.json"
    if dataset_json is None and beside.is_file():
        say(f"classes are those of {beside}")
        dataset_json = beside
    return recipe_of_plans(Path(plans), configuration, None if dataset_json is None else Path(dataset_json))


def _cases(
    images: Pathlike | Sequence[Mapping[str, Any]],
    labels: Pathlike | None,
    targets: Pathlike | None,
    section: str,
    suffixes: Suffixes,
    channel_endings: bool | None,
    say: Callable[[str], None],
) -> tuple[list[PackCase], list[PreprocessingError]]:
    entries: list[Any] = []
    root = Path()
    if isinstance(images, (str, os.PathLike)):
        if Path(images).suffix.lower() == ".json":
            entries, root = read_list(Path(images), section)
    else:
        entries = list(images)
    if entries:
        for what, folder in {"labels": labels, "targets": targets}.items():
            if folder is not None:
                raise ValueError(f"[{what}] expected them in the entries of the list, got {folder}")
        cases, bad = cases_of_list(entries, root)
    elif isinstance(images, (str, os.PathLike)):
        beside = [None if folder is None else Path(folder) for folder in (labels, targets)]
        cases, bad = cases_of_folder(Path(images), (beside[0], beside[1]), suffixes, channel_endings, say)
    else:
        cases, bad = [], []
    if not cases:
        raise_all(bad)
        raise ValueError(f"[images] expected cases, got none in {images}")
    channels = len(cases[0].images)
    say(f"{len(cases)} cases" + (f", whose images have a file for each of {channels} channels" if channels > 1 else ""))
    return cases, bad


class _Run:
    """Packs cases into a folder."""

    def __init__(
        self,
        recipe: Recipe,
        folder: PackedFolder,
        budget: Budget,
        threads: int,
        progress: bool,
        say: Callable[[str], None],
        patience: Patience,
    ) -> None:
        self._recipe = recipe
        self._folder = folder
        self._budget = budget
        self._threads = threads
        self._progress = progress
        self._say = say
        self.patience = patience
        self._outputs = Outputs()

    def run(self, cases: Sequence[PackCase], checks: Checks) -> list[PreprocessingError]:
        """Return the errors of cases that could not be packed."""
        finished = self._folder.record.finished(cases)
        if left := self._folder.others(cases):
            self._say(f"keeping what was packed before of {len(left)} cases without an image now, such as {left[0]}")
        if finished:
            self._say(f"{len(finished)} of {len(cases)} cases are packed already: going on in {self._folder.root}")
        seen, bad = checks.check([case for case in cases if case.name not in finished], self._threads)
        for error in bad:
            self._say(f"{error}; the others follow")
        if not seen:
            return bad
        intensities = self._recipe.intensities or self._folder.intensities
        if "ct" in self._recipe.normalize and intensities is None:
            intensities, failed = self._measured(seen)
            bad += failed
            seen = [one for one in seen if one.case.name not in {error.case for error in failed}]
        if not seen:
            return bad
        steps = self._recipe.steps(seen[0].channels, intensities, self._say)
        packer = CasePacker(self._recipe, steps, self.patience)
        self._folder.begin([one.case for one in seen], intensities)
        jobs = [Job(one.case, peak_bytes(one, self._recipe, steps), self._work(packer, one)) for one in seen]
        return bad + self._session("pack", self._budget, self._outputs.close).run(jobs, len(finished))

    def _session(self, stage: str, budget: Budget, on_stop: Callable[[], None] = lambda: None) -> Session:
        return Session(stage, budget, self._threads, self._threads, self._progress, self._say, on_stop)

    def _work(self, packer: CasePacker, seen: Seen) -> Callable[[int], None]:
        case, root = seen.case, self._folder.root

        def work(threads: int) -> None:
            raw = stamps_of_raw(case)
            # The file that a case is found by is moved last.
            with self._outputs.beside(root / case.name, lambda name: name == f"{case.name}.b2nd") as folder:
                packer.run(seen, folder, threads)
                names = sorted(file.name for file in folder.iterdir() if file.name != HELD)
                self._folder.make_room(case, names)
            self._folder.record.add(case, raw, names)
            if case.label is not None and self._recipe.classes is None:
                find_locations(root, case.name)

        return work

    def _measured(self, seen: Sequence[Seen]) -> tuple[dict[str, Any], list[PreprocessingError]]:
        """The intensities of the foreground in the data set, for each channel, and the errors of cases without."""
        channels = seen[0].channels
        foreground = Foreground(len(seen), channels, max(1, SAMPLES // len(seen)))

        def job(number: int, one: Seen) -> Job:
            def work(_: int) -> None:
                case = one.case
                assert case.label is not None
                image = voxels_of(case, case.images, "image", one, self.patience)
                check_numbers(case, case.images, image)
                labels = labels_of(case, case.label, voxels_of(case, [case.label], "label", one, self.patience))
                foreground.draw(number, image, labels[0].astype("float32"))

            return Job(one.case, analysis_bytes(one.header, one.channels) + one.header.voxels * one.itemsize, work)

        left = Budget(max(1, self._budget.limit - 4 * channels * SAMPLES), self._budget.given)
        failed = self._session("intensities", left).run([job(number, one) for number, one in enumerate(seen)])
        drawn = [foreground.of(channel) for channel in range(channels)]
        if not any(part.size for part in drawn[0]):
            if failed:
                raise_all(failed)
            raise ValueError("[normalize] expected foreground in the labels to find the intensities for ct, got none")
        return {str(channel): intensity_properties(values, self._threads) for channel, values in enumerate(drawn)}, failed
