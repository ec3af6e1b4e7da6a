"""Before the trainings: fingerprint, plans and preprocessed cases, each only where it is missing."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from ...errors import CommandError
from ...folders import dataset_number, inherited, listed, read_json
from ...preprocessing.record import Record as Unfinished
from ..planning.options import MOST_CASES, accepted
from .options import Options

__all__ = ["Planned", "cases_of", "in_order", "name_of_plans", "planner_class"]

BY_DEFAULT = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
"""What nnU-Net trains by default, in the order in which it prefers equals."""


def planner_class(options: Options) -> type[Any]:
    """Return the class of the planner. Raises CommandError."""
    if not isinstance(options.planner, str):
        return options.planner
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = str(Path(nnunetv2.__path__[0]) / "experiment_planning")
    found = recursive_find_python_class(folder, options.planner, current_module="nnunetv2.experiment_planning")
    if found is None:
        raise CommandError(f"[-pl] expected a planner of nnU-Net, got {options.planner!r}")
    kind: type[Any] = found
    return kind


def name_of_plans(options: Options, planner: type[Any]) -> str:
    """Return the name that plans have, or will have. Raises CommandError if the planner does not tell."""
    if options.plans is not None:
        return options.plans
    for kind in planner.__mro__:
        own = vars(kind).get("__init__")
        parameter = None if own is None else inspect.signature(own).parameters.get("plans_name")
        if parameter is not None and isinstance(parameter.default, str):
            return parameter.default
    raise CommandError(f"[-p] expected a name for the plans, because {planner.__name__} has none by default")


def cases_of(raw: Path) -> dict[str, Any]:
    """Return nnU-Net's list of the raw cases: images and label of each; none if the raw data set is not there."""
    if not (raw / "dataset.json").is_file():
        return {}
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    found: dict[str, Any] = get_filenames_of_train_images_and_targets(str(raw), json.loads(_text(raw / "dataset.json")))
    return found


class Planned:
    """What is planned and preprocessed of a data set.

    Args:
        options: of the run.
        cases: of `cases_of`.
        name: of the plans.
    """

    def __init__(self, options: Options, cases: dict[str, Any], name: str) -> None:
        self._options = options
        self._cases = cases
        self.name = name

    @property
    def file(self) -> Path:
        """The plans."""
        return self._options.preprocessed / f"{self.name}.json"

    @property
    def configurations(self) -> dict[str, Any]:
        """All configurations of the plans; none if there are no plans."""
        try:
            found: dict[str, Any] = read_json(self.file).get("configurations", {})
        except (OSError, CommandError):  # none, or half of them
            return {}
        return found

    def has_fingerprint(self) -> bool:
        """Whether there is one. Raises CommandError if it is of other cases than the raw data set has."""
        file = self._options.preprocessed / "dataset_fingerprint.json"
        try:
            count = len(json.loads(_text(file))["spacings"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if self._cases and count != len(self._cases):
            number = dataset_number(self._options.preprocessed)
            raise CommandError(
                f"[{file}] expected a fingerprint of the {len(self._cases)} raw cases, got one of {count}\n"
                f"  fastnnunet plan_and_preprocess -d {number} --clean plans and preprocesses them anew; trainings of the "
                "cases before stay as they are"
            )
        return True

    def has_plans(self) -> bool:
        """Whether there are whole plans, and the dataset.json that the planner copies."""
        return bool(self.configurations) and (self._options.preprocessed / "dataset.json").is_file()

    def extract(self) -> None:
        """Extract the fingerprint."""
        from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset

        bar = accepted(extract_fingerprint_dataset, show_progress_bar=True)
        extract_fingerprint_dataset(self._number(), num_processes=8, clean=True, verbose=False, **bar)

    def plan(self, planner: type[Any]) -> None:
        """Plan. Raises CommandError if the plans got another name."""
        from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset

        options = self._options
        _, made = plan_experiment_dataset(
            self._number(), planner, options.gpu_memory_target, overwrite_plans_name=options.plans
        )
        if made != self.name:
            raise CommandError(f"[-p] expected plans with the name {self.name!r}, got {made!r} from {planner.__name__}")

    def chosen(self) -> list[str]:
        """Return the configurations that compete, the ones that nnU-Net prefers among equals first. Raises CommandError."""
        known = self.configurations
        wanted = self._options.configurations
        if wanted is None:
            return [name for name in BY_DEFAULT if name in known] or sorted(known)
        if missing := [name for name in wanted if name not in known]:
            raise CommandError(
                f"[-c] expected configurations of {self.name}, got {listed(missing)}; there are: {listed(sorted(known))}"
            )
        order = {name: place for place, name in enumerate(BY_DEFAULT)}
        return sorted(dict.fromkeys(wanted), key=lambda name: order.get(name, len(order)))

    def folder(self, configuration: str) -> Path:
        """Of its preprocessed cases."""
        return self._options.preprocessed / str(inherited(self.configurations, configuration, "data_identifier"))

    def owner(self, configuration: str) -> str:
        """The configuration whose preprocessing makes these cases."""
        known = self.configurations
        identifier, name = inherited(known, configuration, "data_identifier"), configuration
        while inherited(known, str(known[name].get("inherits_from", "")), "data_identifier") == identifier:
            name = str(known[name]["inherits_from"])
        return name

    def is_preprocessed(self, configuration: str) -> bool:
        """Whether all cases are there, and no run has begun anew."""
        folder = self.folder(configuration)
        if Unfinished(folder, "").file.is_file() or not folder.is_dir():
            return False
        there = {file.stem for file in folder.glob("*.pkl")}
        wanted = set(self._cases) or there
        whole = {case for case in there if any((folder / f"{case}{ending}").is_file() for ending in (".b2nd", ".npz"))}
        return bool(wanted) and wanted <= whole

    def preprocess(self, configuration: str) -> None:
        """Preprocess all cases, or those that an interrupted run has left."""
        self._preprocess([configuration], MOST_CASES.get(configuration, 4))

    def has_ground_truth(self) -> bool:
        """Whether the labels were copied, with which validations are compared."""
        return all(_size(copy) == _size(label) for label, copy in self._labels())

    def copy_ground_truth(self) -> None:
        """Copy the labels, as nnU-Net does at the end of preprocessing."""
        for label, copy in self._labels():
            if _size(copy) != _size(label):  # half of it, which nnU-Net would take for a newer one
                copy.unlink(missing_ok=True)
        self._preprocess([], 1)

    def _labels(self) -> list[tuple[Path, Path]]:
        if not self._cases:
            return []
        ending = str(read_json(self._options.raw / "dataset.json")["file_ending"])
        folder = self._options.preprocessed / "gt_segmentations"
        return [(Path(case["label"]), folder / f"{name}{ending}") for name, case in self._cases.items()]

    def _preprocess(self, configurations: list[str], most_cases: int) -> None:
        from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset

        bar = accepted(preprocess_dataset, show_progress_bar=True)
        preprocess_dataset(self._number(), self.name, configurations, [most_cases], **bar)

    def _number(self) -> int:
        if not self._cases:
            raise CommandError(f"[{self._options.raw}] expected the raw data set, got no dataset.json")
        return int(dataset_number(self._options.raw))


def in_order(configurations: dict[str, Any], chosen: list[str]) -> list[str]:
    """Return what is to be trained: what was chosen, and before it every stage that a cascade begins with."""
    order: list[str] = []

    def add(name: str, above: tuple[str, ...] = ()) -> None:
        if name in above:
            raise CommandError(f"[plans] expected a first stage, got {' -> '.join([*above, name])}")
        if previous := inherited(configurations, name, "previous_stage"):
            add(str(previous), (*above, name))
        if name not in order:
            order.append(name)

    for name in chosen:
        add(name)
    return order


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1
