"""A preprocessed data set: its plans, labels and splits, whether its batches fit the memory, and all of its files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import CommandError
from ..folders import dataset_folder, dataset_name, dataset_number, listed, nnunet_folders
from ..settings import in_units
from ..system import available_cores, default_budget, default_threads, memory, threads_of
from . import files
from .labels import label_faults, label_values
from .plans import Configuration, content, fault, has_configurations, loader_memory, resolved
from .raw import check_raw
from .report import Check, Task, Verdict

__all__ = ["DatasetChecks"]

GIB = 2**30
# GPU memory that nnU-Net's planners aim at, in GiB.
PLANNERS = {
    "ExperimentPlanner": 8,
    "ResEncUNetPlanner": 8,
    "nnUNetPlannerResEncM": 8,
    "nnUNetPlannerResEncL": 24,
    "nnUNetPlannerResEncXL": 40,
}


@dataclass
class DatasetChecks:
    """The checks of one data set. Later ones use what earlier ones found."""

    given: str
    """Name or number."""
    plans_name: str = "nnUNetPlans"
    configuration: str | None = None
    """The only one to look at; None for all."""
    quick: bool = False
    threads: int = field(default_factory=lambda: threads_of(available_cores(), beside=0))
    """That read files."""
    folder: Path | None = None
    raw: Path | None = None
    """The folder of the raw images, where there is one."""
    plans: dict[str, Any] = field(default_factory=dict)
    labels: frozenset[int] = frozenset()
    regions: int = 0
    configurations: list[Configuration] = field(default_factory=list)

    def find(self) -> Check:
        """The folder of the data set."""
        name, why = "data set", "There is nothing else to check of it."
        try:
            preprocessed = nnunet_folders(("nnUNet_preprocessed",))["nnUNet_preprocessed"]
            raw = Path(os.environ.get("nnUNet_raw", ""), dataset_name(self.given))
            self.raw = raw if os.environ.get("nnUNet_raw") and (raw / "dataset.json").is_file() else None
            self.folder = dataset_folder(self.given, preprocessed)
        except CommandError as error:
            found, _, more = str(error).partition("\n")
            if self.raw is not None:
                why = "Only its raw files can be checked."
                return Check(name, Verdict.FAIL, f"{found}\n{more.strip()}", why, self._plan())
            return Check(name, Verdict.FAIL, f"{found}\n{more.strip()}", why, "fastnnunet doctor DATASET    (a name or number)")
        return Check(name, Verdict.OK, str(self.folder))

    def tasks(self) -> Iterator[Task]:
        """The checks that follow `find`, each to be run before the next is asked for."""
        if self.folder is not None:
            yield "plans", self.read_plans
            yield "dataset.json", self.read_description
        if self.raw is not None:
            yield "raw files", partial(check_raw, self.raw, self.plans, self.threads, self.quick)
        if not self.configurations:
            return
        yield "splits", self.read_splits
        for configuration in self.configurations:
            yield f"memory, {configuration.name}", partial(self.memory, configuration)
            if "previous_stage" in configuration.settings:
                yield f"cascade, {configuration.name}", partial(self.previous_stage, configuration)
        yield "GPU memory", self.gpu_memory
        by_folder: dict[Path, list[Configuration]] = {}
        for configuration in self.configurations:
            by_folder.setdefault(configuration.folder, []).append(configuration)
        # A cascade has the cases of another configuration: read once.
        for shared in by_folder.values():
            yield f"files, {shared[0].name}", partial(self.files, shared)

    def _preprocess(self, configuration: str) -> str:
        assert self.folder is not None
        command = ["nnUNetv2_preprocess", "-d", str(dataset_number(self.folder)), "-plans_name", self.plans_name]
        return shlex.join([*command, "-c", configuration])

    def _plan(self) -> str:
        folder = self.folder or self.raw
        assert folder is not None
        return shlex.join(["nnUNetv2_plan_and_preprocess", "-d", str(dataset_number(folder))])

    def read_plans(self) -> list[Check]:
        """The plans, and each configuration's settings."""
        assert self.folder is not None
        file, why = self.folder / f"{self.plans_name}.json", "A training starts with them."
        try:
            self.plans = content(file)
            configurations = self.plans["configurations"]
            known = sorted(configurations)
        except FileNotFoundError:
            others = [p.stem for p in sorted(self.folder.glob("*.json")) if has_configurations(p)]
            found = f"[{file}] expected plans, got none; there are: {listed(others)}"
            return [Check("plans", Verdict.FAIL, found, why, f"-p {shlex.quote(others[0])}" if others else self._plan())]
        except (ValueError, KeyError, TypeError) as error:
            found = f"[{file}] expected plans of nnU-Net, got {type(error).__name__}: {error}"
            return [Check("plans", Verdict.FAIL, found, why, self._plan())]
        if self.configuration is not None and self.configuration not in configurations:
            found = f"[{file}] expected the configuration {self.configuration!r}, got: {listed(known)}"
            return [Check("plans", Verdict.FAIL, found, why, f"-c {shlex.quote(known[0])}" if known else self._plan())]
        faults, missing = [], []
        for name in known if self.configuration is None else [self.configuration]:
            try:
                settings = resolved(configurations, name)
                problem = fault(settings)
            except ValueError as error:
                problem = str(error)
            if problem:
                faults.append(f"{name}: {problem}")
                continue
            configuration = Configuration(name, self.folder / settings["data_identifier"], settings)
            if configuration.folder.is_dir() and any(configuration.folder.iterdir()):
                self.configurations.append(configuration)
            else:
                missing.append(configuration)
        described = ", ".join(f"{c.name} (batches of {c.settings['batch_size']} x {c.patch_size})" for c in self.configurations)
        checks = [Check("plans", Verdict.OK, f"{self.plans_name}: {described or 'no configuration that is preprocessed'}")]
        if faults:
            checks = [Check("plans", Verdict.FAIL, f"[{file}] {len(faults)} faulty", why, self._plan(), tuple(faults))]
        if missing:
            wanted = self.configuration is not None or not self.configurations
            checks.append(
                Check(
                    "preprocessed cases",
                    Verdict.FAIL if wanted else Verdict.NOTE,
                    f"none of {', '.join(c.name for c in missing)}",
                    "A configuration is trained from its preprocessed cases.",
                    "\n".join(self._preprocess(c.name) for c in missing),
                )
            )
        return checks

    def read_description(self) -> Check:
        """dataset.json: channels and labels."""
        assert self.folder is not None
        name, file = "dataset.json", self.folder / "dataset.json"
        mend = f"{self._plan()}    (after correcting the raw data set's)"
        why = "The network's inputs and outputs are made from it."
        try:
            description = content(file)
            channels = description["channel_names"] if "channel_names" in description else description["modality"]
            labels: dict[str, Any] = description["labels"]
            faults = label_faults(labels, description.get("regions_class_order"))
            count, names = len(channels), ", ".join(map(str, channels.values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            found = f"[{file}] expected channel_names and labels, got {type(error).__name__}: {error}"
            return Check(name, Verdict.FAIL, found, why, mend)
        faults += [
            f"{c.name}: expected {c.channels} channels, as the plans normalize, got {count}: {names}"
            for c in self.configurations
            if c.channels != count
        ]
        if faults:
            return Check(name, Verdict.FAIL, f"[{file}] {len(faults)} faults", why, mend, tuple(faults))
        values = label_values(labels)
        self.labels = frozenset(values)
        regions = [value for value in labels.values() if isinstance(value, list) and len(value) > 1]
        self.regions = sum(key not in ("background", "ignore") for key in labels) if regions else 0
        kind = f"{self.regions} regions of labels" if regions else "labels"
        ignore = f", {labels['ignore']} is ignored" if "ignore" in labels else ""
        return Check(name, Verdict.OK, f"channels: {names}; {kind} {sorted(values)}{ignore}")

    def read_splits(self) -> Check:
        """The cross-validation, and whether its cases are there."""
        assert self.folder is not None
        name, file = "splits", self.folder / "splits_final.json"
        cases = {c.name: files.case_names(c.folder) for c in self.configurations}
        if not file.is_file():
            few = [f"{c}: {len(names)} cases" for c, names in cases.items() if len(names) < 5]
            found = "none yet; the first training writes them"
            if few:
                why = "A cross-validation of 5 folds needs 5 cases."
                return Check(name, Verdict.WARNING, found, why, "fastnnunet train DATASET CONFIG all", tuple(few))
            return Check(name, Verdict.OK, found)
        remove = f"rm {shlex.quote(str(file))}    (the next training makes a new one)"
        try:
            splits = content(file)
            folds = [(list(split["train"]), list(split["val"])) for split in splits]
        except (ValueError, KeyError, TypeError) as error:
            found = f"[{file}] expected a list of folds with train and val, got {type(error).__name__}: {error}"
            return Check(name, Verdict.FAIL, found, "A training reads it first.", remove)
        wrong, doubtful = [], []
        for number, (train, val) in enumerate(folds):
            for role, names in (("training", train), ("validation", val)):
                if not names:
                    wrong.append(f"fold {number}: no case for {role}")
            both = sorted(set(train) & set(val))
            if both:
                doubtful.append(f"fold {number}: for training and for validation: {', '.join(both)}")
        wanted = sorted({case for fold in folds for names in fold for case in names})
        for configuration, there in cases.items():
            wrong += [f"{configuration}: case {case} is in the splits, but not on disk" for case in wanted if case not in there]
            unused = sorted(there - set(wanted))
            if unused:
                doubtful.append(
                    f"{configuration}: on disk, but in no fold: {', '.join(unused[:10])}{' ...' * (len(unused) > 10)}"
                )
        found = f"{len(folds)} folds of {len(wanted)} cases"
        details = tuple(wrong + doubtful)
        if wrong:
            mend = f"{self._preprocess(self.configurations[0].name)}\nor {remove}"
            return Check(name, Verdict.FAIL, found, "A training of such a fold stops when it comes to the case.", mend, details)
        if doubtful:
            why = "A validation on training cases says nothing; cases in no fold are not used."
            return Check(name, Verdict.WARNING, found, why, remove, details)
        return Check(name, Verdict.OK, found)

    def memory(self, configuration: Configuration) -> Check:
        """Whether the batches and the threads' working memory fit the default budget."""
        name = f"memory, {configuration.name}"
        threads, now = default_threads(), memory()
        budget = default_budget() // 2  # of each of the two loaders
        needed = loader_memory(configuration, self.regions, threads)
        found = (
            f"the training loader needs about {in_units(needed)} with {threads} thread{'s' * (threads > 1)} and may take "
            f"{in_units(budget)} of the {in_units(now.available)} that are free ({now.source})"
        )
        if needed <= budget:
            return Check(name, Verdict.OK, found)
        fitting = next((n for n in range(threads - 1, 0, -1) if loader_memory(configuration, self.regions, n) <= budget), 0)
        # The figure is an estimate; trainers differ.
        verdict = Verdict.FAIL if needed > 1.3 * now.available else Verdict.WARNING
        why = "A training goes on with what its batches need at least; where even that is not free, the system ends it."
        mend = f"fastnnunet train ... --threads {fitting}" if fitting else "docker run --memory=...    (more memory)"
        return Check(name, verdict, found, why, mend)

    def previous_stage(self, configuration: Configuration) -> Check:
        """Whether a cascade has the predictions of the stage before, of any trainer."""
        assert self.folder is not None
        name, previous = f"cascade, {configuration.name}", configuration.settings["previous_stage"]
        results = Path(os.environ.get("nnUNet_results", "")) / self.folder.name
        pattern = f"*__{self.plans_name}__{previous}/predicted_next_stage/{configuration.name}"
        folders = sorted(results.glob(pattern)) if results.is_dir() else []
        why = f"It is trained with the predictions of {previous}, which the end of each of its folds writes."
        mend = shlex.join(["fastnnunet", "train", self.folder.name, str(previous), "FOLD"]) + "    (all folds)"
        if not folders:
            return Check(name, Verdict.NOTE, f"no predictions of {previous} yet", why, mend)
        wanted = files.case_names(configuration.folder)
        lacking = {folder: sorted(wanted - files.case_names(folder)) for folder in folders}
        details = tuple(f"[{folder}] no prediction of: {', '.join(cases)}" for folder, cases in lacking.items() if cases)
        if details:
            return Check(name, Verdict.WARNING, f"predictions of {previous} are incomplete", why, mend, details)
        return Check(name, Verdict.OK, f"predictions of {previous} of all cases in {listed([str(f) for f in folders])}")

    def gpu_memory(self) -> Check:
        """What the planner aimed at, and what the GPU has."""
        planner = str(self.plans.get("experiment_planner_used", "unknown"))
        target = PLANNERS.get(planner)
        plan = f"planned by {planner}" + (f" for about {target} GiB" if target else "")
        if not torch.cuda.is_available():
            return Check("GPU memory", Verdict.OK, f"{plan}; no GPU here to compare with")
        least = min(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
        found = f"{plan}; the smallest GPU has {in_units(least)}"
        if target and least < target * GIB * 0.9:
            why = "The training is likely to end with 'CUDA out of memory'."
            return Check("GPU memory", Verdict.WARNING, found, why, f"{self._plan()} -gpu_memory_target {int(least / GIB)}")
        return Check("GPU memory", Verdict.OK, found)

    def files(self, configurations: list[Configuration]) -> list[Check]:
        """Every file of the cases that these configurations share."""
        first = configurations[0]
        own = next((c for c in configurations if "inherits_from" not in self.plans["configurations"][c.name]), first)
        expected = files.Expected(
            channels=own.channels,
            labels=self.labels,
            spacing=tuple(float(s) for s in own.settings["spacing"]),
            transpose=tuple(int(a) for a in self.plans.get("transpose_forward", (0, 1, 2))),
            # A preprocessor of somebody's own may cut and resample as it likes.
            resampled=own.settings.get("preprocessor_name") == "DefaultPreprocessor"
            and str(own.settings.get("resampling_fn_data", "")).startswith("resample_"),
        )
        title = ", ".join(c.name for c in configurations)
        return files.check_folder(own.folder, title, expected, self._preprocess(own.name), self.threads, self.quick)
