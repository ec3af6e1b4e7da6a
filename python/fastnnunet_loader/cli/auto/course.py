"""The steps from raw images to predictions. Each looks first at what earlier runs have finished."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ... import doctor
from ...doctor import dataset as doctor_dataset
from ...doctor import machine, raw, software
from ...errors import CommandError, FastnnUNetError
from ...folders import inherited, listed
from ...nnunet import install, uninstall
from ...nnunet.runs import installation
from ...prediction.session.progress import duration
from ...preprocessing.reading import keeping
from ...system import available_cores, threads_of
from .choosing import Chosen, choose, chosen_before
from .options import Fold, Options
from .planning import Planned, cases_of, in_order, name_of_plans, planner_class
from .predicting import Prediction
from .steps import Steps
from .summary import PAGE, draw_patches, draw_validation, write_page
from .training import State, Training

__all__ = ["Course"]

ALL_FOLDS = 5
"""Of nnU-Net's cross-validation."""


class Course:
    """A run. `run` takes all steps; whoever calls them one by one calls them in this order, inside of `installed`.

    Args:
        options: what is asked for.
        steps: where they are shown and timed.
    """

    def __init__(self, options: Options, steps: Steps) -> None:
        self.options = options
        self.steps = steps
        self.trainings: list[Training] = []
        self.missing: list[Path] = []
        """Segmentations of images that were skipped."""
        self._planner = planner_class(options)
        self._plans_name = name_of_plans(options, self._planner)

    @functools.cached_property
    def _cases(self) -> dict[str, Any]:
        """Files of each raw case. nnU-Net looks for them in a pool, so not before `installed`."""
        return cases_of(self.options.raw)

    @functools.cached_property
    def planned(self) -> Planned:
        """What is planned and preprocessed."""
        return Planned(self.options, self._cases, self._plans_name)

    @property
    def summary(self) -> Path:
        """Folder of the summary."""
        return self.options.summary or self.options.results / "auto" / f"{self.options.trainer}__{self._plans_name}"

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, nnU-Net has this package under it. Afterwards everything is as it was."""
        before = installation()
        kept = None if before is None else before.settings
        install(self.options.settings)
        try:
            yield
        finally:
            uninstall() if kept is None else install(kept)

    def run(self) -> None:
        """Take all steps.

        Raises:
            CommandError, FastnnUNetError: see `Steps.step`. Also at the end, if images were skipped.
        """
        with self.installed():
            self.check()
            self.prepare()
            self.train()
            chosen = self.choose()
            self.predict(chosen)
        self.summarize(chosen)
        if self.missing:
            raise FastnnUNetError(f"prediction: no segmentation of {listed([file.name for file in self.missing])}")

    def check(self) -> None:
        """Look at the machine, the settings and the headers of the raw files."""
        with self.steps.step("check of machine and raw files"):
            tasks: list[doctor.Task] = [*software.tasks_in_this_process(), *machine.tasks()]
            if self._cases:
                threads = threads_of(available_cores(), beside=0)
                tasks.append(("raw files", partial(raw.check_raw, self.options.raw, {}, threads, quick=False)))
            self._judge(tasks)

    def prepare(self) -> None:
        """Fingerprint, plans and preprocessed cases. Then the trainings are known."""
        planned = self.planned
        with keeping():  # a case is read once for the fingerprint and all configurations, where memory allows
            # Without raw images, what was made of them is enough.
            self._step("fingerprint", not self._cases or planned.has_fingerprint(), planned.extract)
            self._step("plans", planned.has_plans(), lambda: planned.plan(self._planner))
            chosen = planned.chosen()
            order = in_order(planned.configurations, chosen)
            self._plan_trainings(chosen, order)
            for name in dict.fromkeys(planned.owner(name) for name in order):
                self._step(f"preprocessing of {name}", planned.is_preprocessed(name), partial(planned.preprocess, name))
        if not planned.has_ground_truth():
            self._step("copies of the labels", False, planned.copy_ground_truth)
        self.steps.keep(self.summary / "record.json")
        states = {name: [t.state() for t in self.trainings if t.configuration == name] for name in order}
        waiting = [name for name in order if any(state is not State.FINISHED for state in states[name])]
        if waiting:
            with self.steps.step("check of preprocessed files"):
                for name in waiting:
                    # All files once, and a few of them where a training has begun already.
                    begun = any(state is not State.NEW for state in states[name])
                    checks = doctor_dataset.DatasetChecks(self.options.dataset, planned.name, name, quick=begun)
                    self._judge([("data set", checks.find)])
                    self._judge(checks.tasks())

    def train(self) -> None:
        """Train what is not finished, in an order in which a cascade finds what it begins with."""
        for training in self.trainings:
            if training.state() is State.FINISHED:
                self.steps.finished(training.title)
                continue
            with self.steps.step(training.title) as step:
                if training.state() is not State.NEW:
                    self.steps.say(f"{training.title}: {_HOW[training.state()]}")
                step.result = training.run(step.progress)
                self.steps.note(training.title, step.result)

    def choose(self) -> Chosen:
        """Find the best configuration, or ensemble, and its postprocessing."""
        names = self.planned.chosen()
        ensembling = self._ensembles(names)
        competing = [training for training in self.trainings if training.configuration in names]
        competing = [training for training in competing if training.fold in self.options.folds]
        title = "choice of the best configuration"
        found = chosen_before(self.options, self.planned.name, names, competing, ensembling)
        if found is not None:
            self.steps.finished(title)
            return found
        with self.steps.step(title) as step:
            found = choose(self.options, self.planned.name, names, ensembling)
            step.result = found.described
        return found

    def predict(self, chosen: Chosen) -> None:
        """Predict the images, if there are any."""
        if self.options.images is None:
            return
        prediction = Prediction(self.options, self.planned.name, chosen)
        title = "prediction"
        if prediction.is_finished():
            self.steps.finished(title)
            return
        with self.steps.step(title) as step:
            self.missing = prediction.run()
            made = len(prediction.segmentations) - len(self.missing)
            step.result = f"{made} segmentation{'s' * (made != 1)} in {prediction.output}"

    def summarize(self, chosen: Chosen) -> Path:
        """Draw pictures and write the page. A picture that cannot be drawn is told of, and the rest goes on."""
        pictures: list[tuple[str, Path]] = []
        notes = [] if self.options.output is None else [f"Segmentations: {self.options.output}"]

        def draw(heading: str, file: Path, make: Callable[[Path], Path | None]) -> None:
            try:
                if not file.is_file() and make(file) is None:
                    return
                pictures.append((heading, file))
            except Exception as error:
                notes.append(f"no picture of {heading}: {type(error).__name__}: {error}")
                self.steps.say(notes[-1])

        plans = self.planned.name
        with self.steps.step("summary"):
            first = {training.configuration: training for training in reversed(self.trainings)}
            for name in self.planned.chosen():
                make = partial(draw_patches, self.options, plans, first[name])
                draw(f"augmented patches, {name}", self.summary / f"patches_{name}.png", make)
            worst = self.summary / "validation.png"
            if worst.is_file() and worst.stat().st_mtime < chosen.postprocessing.stat().st_mtime:  # of another choice
                worst.unlink()
            draw("worst and best case", worst, partial(draw_validation, self.options, plans, chosen))
            record, page = self.steps.record, self.summary / PAGE
            write_page(
                self.options, page, trainings=self.trainings, chosen=chosen, record=record, pictures=pictures, notes=notes
            )
        self.steps.say(f"best: {chosen.described}; all steps took {duration(sum(record.seconds.values()))}; {page}")
        return page

    def _step(self, title: str, finished: bool, work: Callable[[], None]) -> None:
        """Do the work unless it is finished."""
        if finished:
            self.steps.finished(title)
        else:
            with self.steps.step(title):
                work()

    def _ensembles(self, chosen: Sequence[str]) -> bool:
        return self.options.ensembling and len(chosen) > 1

    def _plan_trainings(self, chosen: Sequence[str], order: Sequence[str]) -> None:
        known = self.planned.configurations
        folds = self.options.folds
        cases, splits = len(self._cases), self.options.preprocessed / "splits_final.json"
        if 0 < cases < ALL_FOLDS and "all" not in folds and not splits.is_file():
            raise CommandError(f"[-f] expected at least {ALL_FOLDS} cases for {ALL_FOLDS} folds, got {cases}; use -f all")
        later = {name: inherited(known, name, "previous_stage") for name in order}
        self.trainings = []
        for name in order:
            next_stages = tuple(after for after, before in later.items() if before == name)
            of_name: Sequence[Fold] = folds if name in chosen else ()
            if next_stages and "all" not in folds:
                # Its validations predict every case, for the next stage trains on all of them.
                of_name = tuple(dict.fromkeys((*range(ALL_FOLDS), *of_name)))
            elif next_stages:
                of_name = folds
            npz = self.options.npz or (name in chosen and self._ensembles(chosen))
            self.trainings += [Training(self.options, self.planned.name, name, fold, npz, next_stages) for fold in of_name]
            self.steps.say(f"{name}: fold{'s' * (len(of_name) > 1)} {' '.join(map(str, of_name))}" + _because(next_stages))

    def _judge(self, tasks: Iterator[doctor.Task] | Sequence[doctor.Task]) -> None:
        """Show what is not well. Raises CommandError if something will fail."""
        from ...doctor.report import Verdict

        printer = doctor.Printer(sys.stdout)
        bad: list[doctor.Check] = []

        def show(check: doctor.Check) -> None:
            if check.verdict in (Verdict.WARNING, Verdict.FAIL):
                printer.check(check)
            if check.verdict is Verdict.FAIL:
                bad.append(check)

        doctor.run(tasks, show)
        if bad:
            first = bad[0]
            said = [first.found, *(f"  {line}" for line in first.details[:3])]
            raise CommandError(f"{first.name}: " + "\n".join(said))


_HOW = {
    State.BEGUN: "continues from its last checkpoint",
    State.TRAINED: "the final validation is missing or incomplete",
}


def _because(next_stages: Sequence[str]) -> str:
    return f" ({listed(list(next_stages))} trains on its predictions of all cases)" if next_stages else ""
