"""What `fastnnunet auto` takes for finished, and in which order it works."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastnnunet_loader.cli.auto.choosing import Chosen, chosen_before
from fastnnunet_loader.cli.auto.options import Options
from fastnnunet_loader.cli.auto.planning import Planned, in_order
from fastnnunet_loader.cli.auto.predicting import STAGES, Prediction
from fastnnunet_loader.cli.auto.steps import Record, Steps
from fastnnunet_loader.cli.auto.training import State, Training
from fastnnunet_loader.errors import CommandError, FastnnUNetError, PreprocessingError
from fastnnunet_loader.preprocessing.record import Record as Unfinished

CONFIGURATIONS: dict[str, Any] = {
    "2d": {"data_identifier": "nnUNetPlans_2d"},
    "3d_lowres": {"data_identifier": "nnUNetPlans_3d_lowres", "next_stage": "3d_cascade_fullres"},
    "3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"},
    "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
}


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Of a data set with plans and nothing else."""
    made = Options("Dataset001_x", tmp_path / "raw", tmp_path / "pre", tmp_path / "res", "cpu")
    made.preprocessed.mkdir()
    (made.preprocessed / "nnUNetPlans.json").write_text(json.dumps({"configurations": CONFIGURATIONS}), encoding="utf-8")
    (made.preprocessed / "dataset.json").write_text('{"file_ending": ".nii.gz"}', encoding="utf-8")
    return made


def test_stages_of_a_cascade_come_first_and_once() -> None:
    assert in_order(CONFIGURATIONS, ["3d_cascade_fullres", "2d"]) == ["3d_lowres", "3d_cascade_fullres", "2d"]
    assert in_order(CONFIGURATIONS, ["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]) == [
        "2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres",
    ]  # fmt: skip
    circle = {"a": {"previous_stage": "b"}, "b": {"previous_stage": "a"}}
    with pytest.raises(CommandError, match="a -> b -> a"):
        in_order(circle, ["a"])


def test_a_cascade_has_the_cases_of_the_configuration_it_inherits_from(options: Options) -> None:
    planned = Planned(options, {}, "nnUNetPlans")
    assert planned.owner("3d_cascade_fullres") == "3d_fullres"
    assert planned.chosen() == ["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]


def test_cases_are_preprocessed_if_none_is_missing_and_no_run_has_begun(options: Options) -> None:
    planned = Planned(options, {"a": {}, "b": {}}, "nnUNetPlans")
    folder = planned.folder("2d")
    folder.mkdir()
    for name in ("a.pkl", "a.b2nd", "b.pkl"):
        (folder / name).touch()
    assert not planned.is_preprocessed("2d")  # b has properties and no voxels
    (folder / "b.b2nd").touch()
    assert planned.is_preprocessed("2d")
    Unfinished(folder, "").file.touch()
    assert not planned.is_preprocessed("2d")


def test_half_of_a_plans_file_is_none(options: Options) -> None:
    planned = Planned(options, {}, "nnUNetPlans")
    assert planned.has_plans()
    planned.file.write_text(planned.file.read_text(encoding="utf-8")[:40], encoding="utf-8")
    assert not planned.has_plans()


def test_a_training_is_finished_with_everything_that_others_need_of_it(options: Options) -> None:
    training = Training(options, "nnUNetPlans", "3d_lowres", 0, npz=True, next_stages=("3d_cascade_fullres",))
    assert training.state() is State.NEW
    training.summary.parent.mkdir(parents=True)
    training.summary.touch()  # of an untrained network, or of another training
    (training.folder / "checkpoint_best.pth").touch()
    assert training.state() is State.BEGUN
    os.utime(training.summary, (1, 1))
    (training.folder / "checkpoint_final.pth").touch()
    assert training.state() is State.TRAINED  # the validation is older than the network
    (training.summary.parent / "case.nii.gz").touch()
    training.summary.unlink()
    training.summary.touch()
    assert training.state() is State.TRAINED  # no probabilities
    for ending in (".npz", ".pkl"):
        (training.summary.parent / f"case{ending}").touch()
    assert training.state() is State.TRAINED  # nothing for the next stage
    folder = training.model / "predicted_next_stage" / "3d_cascade_fullres"
    folder.mkdir(parents=True)
    (folder / "case.b2nd").touch()
    assert training.state() is State.FINISHED


def test_an_error_has_the_name_of_its_step() -> None:
    stream = io.StringIO()
    steps = Steps(stream)
    bad = PreprocessingError(case="a", stage="read", file="a.nii.gz", reason="expected numbers, got NaN")
    sentence = r"^preprocessing of 2d: \[a\] a.nii.gz: expected numbers, got NaN$"
    with pytest.raises(FastnnUNetError, match=sentence) as raised, steps.step("preprocessing of 2d"):
        raise bad
    assert raised.value.__cause__ is bad
    with pytest.raises(FastnnUNetError, match=r"^training: RuntimeError: out of memory$"), steps.step("training"):
        raise RuntimeError("out of memory")
    with pytest.raises(CommandError, match=r"^plans: \[-p\] expected"), steps.step("plans"):
        raise CommandError("[-p] expected")
    with pytest.raises(KeyboardInterrupt), steps.step("training"):
        raise KeyboardInterrupt
    assert "done" not in stream.getvalue()
    assert set(steps.record.seconds) == {"preprocessing of 2d", "training", "plans"}


def test_times_of_all_runs_are_added(tmp_path: Path) -> None:
    file = tmp_path / "new" / "record.json"
    for run in range(2):
        steps = Steps(io.StringIO())
        steps.record.add("check", 1.5)  # before there is a file
        steps.keep(file)
        steps.record.add("training", 10.0)
        steps.note("training", f"run {run}")
        steps.record.save()
    record = Record(file)
    assert record.seconds == {"check": 3.0, "training": 20.0}
    assert record.notes == {"training": "run 1"}
    file.write_text("{", encoding="utf-8")
    assert Record(file).seconds == {}


def test_progress_is_said_now_and_then() -> None:
    stream = io.StringIO()
    with Steps(stream, quiet_seconds=1000).step("training") as step:
        step.progress("epoch 1 of 2")
        step.result = "Dice 0.5"
    with Steps(stream, quiet_seconds=0).step("more") as step:
        step.progress("epoch 1 of 2")
    assert stream.getvalue().splitlines() == [
        "fastnnunet: training ...",
        "fastnnunet: training: done in 0 s, Dice 0.5",
        "fastnnunet: more ...",
        "fastnnunet: more: epoch 1 of 2",
        "fastnnunet: more: done in 0 s",
    ]


@pytest.fixture
def chosen(options: Options) -> Chosen:
    """A choice among one model of one fold, with its files."""
    training = Training(options, "nnUNetPlans", "2d", 0)
    training.summary.parent.mkdir(parents=True)
    for file in (training.summary, training.folder / "checkpoint_final.pth"):
        file.touch()
    result = training.model / "crossval_results_folds_0"
    result.mkdir()
    for name in ("postprocessing.pkl", "plans.json"):
        (result / name).touch()
    best = {
        "result_on_crossval_pre_pp": 0.5,
        "result_on_crossval_post_pp": 0.6,
        "postprocessing_file": str(result / "postprocessing.pkl"),
        "some_plans_file": str(result / "plans.json"),
        "selected_model_or_models": [{"configuration": "2d", "trainer": "nnUNetTrainer", "plans_identifier": "nnUNetPlans"}],
    }
    information = {
        "folds": [0],
        "considered_models": [{"plans": "nnUNetPlans", "configuration": "2d", "trainer": "nnUNetTrainer"}],
        "ensembling_allowed": False,
        "all_results": {"nnUNetTrainer__nnUNetPlans__2d": 0.5},
        "best_model_or_ensemble": best,
    }
    (options.results / "inference_information.json").write_text(json.dumps(information), encoding="utf-8")
    return Chosen(information)


def test_a_choice_holds_for_these_models_until_one_is_validated_again(options: Options, chosen: Chosen) -> None:
    options = replace(options, folds=(0,))
    trainings = [Training(options, "nnUNetPlans", "2d", 0)]

    def before(options: Options = options, names: tuple[str, ...] = ("2d",), ensembling: bool = False) -> Chosen | None:
        return chosen_before(options, "nnUNetPlans", names, trainings, ensembling)

    assert before() == chosen
    assert before(names=("2d", "3d_fullres")) is None
    assert before(replace(options, folds=(0, 1))) is None
    assert before(replace(options, trainer="nnUNetTrainerOther")) is None
    assert before(ensembling=True) is None
    later = (options.results / "inference_information.json").stat().st_mtime + 10
    os.utime(trainings[0].summary, (later, later))
    assert before() is None
    os.utime(trainings[0].summary, (1, 1))
    chosen.postprocessing.unlink()
    assert before() is None


def test_a_segmentation_is_finished_for_this_image_and_this_model(options: Options, chosen: Chosen, tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "a_0000.nii.gz").touch()
    options = replace(options, folds=(0,), images=images, output=output)

    def prediction() -> Prediction:
        return Prediction(options, "nnUNetPlans", chosen)

    def finish() -> None:
        stamps = prediction()._stamps()
        prediction()._write(stamps, stamps)
        (output / "a.nii.gz").touch()
        assert prediction().is_finished()

    assert [file.name for file in prediction().segmentations] == ["a.nii.gz"]
    assert not prediction().is_finished()
    finish()
    (output / "a.nii.gz").unlink()
    assert not prediction().is_finished()
    for changed in (images / "a_0000.nii.gz", Training(options, "nnUNetPlans", "2d", 0).folder / "checkpoint_final.pth"):
        finish()
        changed.write_bytes(b"another")
        assert not prediction().is_finished()
    finish()
    (images / "b_0000.nii.gz").touch()
    assert not prediction().is_finished()
    (output / STAGES / "auto.json").write_text("[", encoding="utf-8")
    assert not prediction().is_finished()
