"""The final validation of a training against nnU-Net's own, voxel by voxel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import blosc2
import numpy as np
import pytest
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from models import TRAINER
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module
from prediction_runs import assert_same_segmentations, environment

import fastnnunet_loader as fl
from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.export.segmentation import logits_to_segmentation
from fastnnunet_loader.prediction.replacements.validation import _Course
from fastnnunet_loader.prediction.session.memory import Budget, Need
from fastnnunet_loader.prediction.session.session import Session
from fastnnunet_loader.prediction.sliding_window.windows import predict_planes

pytestmark = pytest.mark.slow

SMALL_PATCH = (8, 24, 16)  # an image is several of these long, so its logits need not be held
THEIRS = "import sys; from nnunetv2.run.run_training import run_training_entry as train; train()"


def validate(model: Path, configuration: str, save_probabilities: bool = False, memory_budget: str | None = None) -> Path:
    """Validate with this package, in this process, and return the folder of the fold; with a budget without mirroring."""
    from nnunetv2.run.run_training import get_trainer_from_args

    fl.install(threads=2, memory_budget=memory_budget)
    try:
        device = torch.device("cpu")
        trainer = get_trainer_from_args(model.parent.name, configuration, 0, TRAINER, "nnUNetPlans", False, device)
        trainer.load_checkpoint(str(model / "fold_0" / "checkpoint_final.pth"))
        if memory_budget is not None:
            trainer.inference_allowed_mirroring_axes = None
        if save_probabilities:

            class AlwaysWithProbabilities(type(trainer)):  # type: ignore[misc]
                """As users have them: what counts is what nnU-Net's own method is asked for."""

                def perform_actual_validation(self, save_probabilities: bool = False) -> None:
                    super().perform_actual_validation(True)

            trainer.__class__ = AlwaysWithProbabilities
        trainer.perform_actual_validation()
    finally:
        fl.uninstall()
    return Path(trainer.output_folder)


def nnunet_validate(dataset: Any, model: Path, configuration: str, *more: str) -> None:
    """Validate with nnU-Net's command."""
    command = [sys.executable, "-c", THEIRS, dataset.name, configuration, "0", "-tr", TRAINER, "--val", "-device", "cpu", *more]
    env = {**environment(dataset, model), "nnUNet_def_n_proc": "2"}
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


@pytest.fixture
def copies(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Path, Path]]:
    """Return a function that gives a data set, and two copies of a network's folder; nnUNet_results names the first."""

    def factory(variant: str, configuration: str, patch_size: Sequence[int] = ()) -> tuple[Any, Path, Path]:
        dataset, model = trained(variant, configuration)
        if patch_size:
            dataset = dataset.copy(tmp_path / "data")
            dataset.plans["configurations"][configuration]["patch_size"] = patch_size
            (dataset.preprocessed / dataset.name / "nnUNetPlans.json").write_text(json.dumps(dataset.plans), encoding="utf-8")
            monkeypatch.setenv("nnUNet_preprocessed", dataset.env["nnUNet_preprocessed"])
        found = [tmp_path / side / model.parent.name / model.name for side in ("ours", "theirs")]
        for copy in found:
            shutil.copytree(model, copy)
        monkeypatch.setenv("nnUNet_results", str(tmp_path / "ours"))
        return dataset, *found

    return factory


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("nnU-Net's own way was taken")


@pytest.mark.parametrize(
    ("variant", "patch_size", "probabilities"),
    [("default", SMALL_PATCH, True), ("regions", (), False), ("anisotropic", (), False)],
)
def test_final_validation_is_nnunets(
    copies: Any, monkeypatch: pytest.MonkeyPatch, variant: str, patch_size: Sequence[int], probabilities: bool
) -> None:
    dataset, ours, theirs = copies(variant, "3d_fullres", patch_size)
    nnunet_validate(dataset, theirs, "3d_fullres", *(["--npz"] if probabilities else []))
    streamed: list[Any] = []

    def counting(*args: Any, **kwargs: Any) -> None:
        streamed.append(args)
        predict_planes(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("fastnnunet_loader.prediction.session.session.predict_planes", counting)
        patch.setattr("fastnnunet_loader.prediction.export.export.Exporting._in_python", forbidden)
        validate(ours, "3d_fullres", probabilities)
    assert bool(streamed) == bool(patch_size)
    ours, theirs = ours / "fold_0" / "validation", theirs / "fold_0" / "validation"
    assert_same_segmentations(ours, theirs)
    summaries = [load_json(str(folder / "summary.json")) for folder in (ours, theirs)]
    assert summaries[0]["foreground_mean"] == summaries[1]["foreground_mean"]
    for file in theirs.glob("*.npz"):
        with np.load(ours / file.name) as got, np.load(file) as expected:
            np.testing.assert_allclose(got["probabilities"], expected["probabilities"], atol=2e-3)
    assert bool(list(ours.glob("*.npz"))) == probabilities


def test_functions_of_the_trainers_own_are_called_as_nnunet_calls_them(copies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours, _ = copies("default", "3d_fullres", SMALL_PATCH)
    logits: list[Any] = []
    export = module.export_prediction_from_logits

    def own(prediction: Any, *args: Any) -> Any:
        logits.append(prediction)
        return export(prediction, *args)

    loaded: list[str] = []

    class Reading(nnUNetDatasetBlosc2):
        def load_case(self, identifier: str) -> Any:
            loaded.append(identifier)
            return super().load_case(identifier)

    monkeypatch.setattr(module, "export_prediction_from_logits", own)
    monkeypatch.setattr(module, "infer_dataset_class", lambda _: Reading)
    folder = validate(ours, "3d_fullres") / "validation"
    assert all(isinstance(prediction, torch.Tensor) and prediction.ndim == 4 for prediction in logits)
    assert sorted(f"{case}.nii.gz" for case in loaded) == sorted(file.name for file in folder.glob("*.nii.gz"))
    assert len(logits) == len(loaded) > 0
    assert module.export_prediction_from_logits is own


def test_failed_export_leaves_nothing_incomplete(copies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours, _ = copies("default", "3d_fullres", SMALL_PATCH)

    def full(*_: Any) -> None:
        raise OSError("expected room on the disk")

    monkeypatch.setattr("fastnnunet_loader.prediction.export.export.Exporting._check_written", full)
    with pytest.raises(PredictionError, match=r"brain_\d+.*expected room on the disk"):
        validate(ours, "3d_fullres", save_probabilities=True)
    assert list((ours / "fold_0" / "validation").iterdir()) == []


def test_the_next_stage_of_a_cascade_gets_nnunets_labels(copies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, ours, theirs = copies("cascade", "3d_lowres")
    nnunet_validate(dataset, theirs, "3d_lowres")
    decided: list[Any] = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        decided.append(args)
        return logits_to_segmentation(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("fastnnunet_loader.prediction.export.conversion.logits_to_segmentation", counting)
        validate(ours, "3d_lowres")
    assert_same_segmentations(ours / "fold_0" / "validation", theirs / "fold_0" / "validation")
    folders = [model / "predicted_next_stage" / "3d_cascade_fullres" for model in (ours, theirs)]
    files = sorted(file.name for file in folders[1].iterdir())
    assert files
    validated = list((theirs / "fold_0" / "validation").glob("*.nii.gz"))
    assert len(decided) == 2 * len(validated), "each case for its own shape, and for the next stage's"
    assert files == sorted(file.name for file in folders[0].iterdir())
    for name in files:
        got, expected = (blosc2.open(urlpath=str(folder / name), mode="r") for folder in folders)
        assert np.count_nonzero(expected[:])
        assert (got.dtype, got.chunks, got.blocks) == (expected.dtype, expected.chunks, expected.blocks)
        assert np.array_equal(got[:], expected[:])


@pytest.mark.parametrize(
    ("variant", "configuration"),
    [("default", "3d_fullres"), pytest.param("cascade", "3d_lowres", id="whose logits a next stage needs")],
)
def test_cases_overlap_as_far_as_the_budget_holds_them(
    copies: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variant: str, configuration: str
) -> None:
    """A case is exported while the next one is predicted, but not where both do not fit; the results are the same."""
    _, ours, theirs = copies(variant, configuration)
    at_work: list[str] = []
    most: list[int] = []
    predict, export = _Course.predict, Session.export

    def predicting(self: Any, *args: Any) -> Any:
        at_work.append(self.loaded[0])
        most.append(len(at_work))
        return predict(self, *args)

    def exporting(self: Any, predicted: Any, properties: Any, target: Any) -> Any:
        time.sleep(2)  # longer than a prediction
        result = export(self, predicted, properties, target)
        at_work.remove(Path(target).name)
        return result

    monkeypatch.setattr(_Course, "predict", predicting)
    monkeypatch.setattr(Session, "export", exporting)
    validate(ours, configuration, memory_budget="20GB")
    assert max(most) > 1
    most.clear()
    monkeypatch.setenv("nnUNet_results", str(theirs.parents[1]))
    capsys.readouterr()
    validate(theirs, configuration, memory_budget="1MB")  # of the loaders: the validation refuses nothing
    assert max(most) == 1
    assert "needs about" in capsys.readouterr().out
    assert_same_segmentations(ours / "fold_0" / "validation", theirs / "fold_0" / "validation")


class Predicting:
    """In the place of a session: what it needs is in the properties, and what it exported is kept."""

    def __init__(self) -> None:
        self.exported: list[str] = []

    def need_of_prepared(self, case: str, properties: dict[str, Any]) -> Need:
        need: Need = properties["need"]
        return need

    def predict(self, case: str, image: Any, properties: dict[str, Any], target: str) -> str:
        return f"labels of {case}"

    def predict_sliding_window_return_logits(self, image: Any) -> str:
        return "logits"

    def export(self, prediction: str, properties: dict[str, Any], target: str) -> None:
        if properties.get("fails"):
            raise OSError("no room")
        self.exported.append(f"{prediction}, to {Path(target).name}")


@pytest.mark.parametrize("next_stage", [None, ["3d_cascade_fullres"]])
def test_a_case_holds_the_memory_of_the_stages_that_are_left(tmp_path: Path, next_stage: Any) -> None:
    """Also one that fails, and one that somebody has only looked at."""
    said: list[str] = []
    trainer = SimpleNamespace(output_folder=str(tmp_path), configuration_manager=SimpleNamespace(next_stage_names=next_stage))
    budget, session = Budget(100, given=False), Predicting()
    course = _Course(trainer, False, 1, said.append, module.export_prediction_from_logits, budget)
    course._session = session  # type: ignore[assignment]

    def load(case: str, need: Need, **more: Any) -> dict[str, Any]:
        properties = {"need": need, **more}
        course.loaded = (case, properties)
        course.reserve(case, properties)
        return properties

    def export(case: str, predicted: Any, properties: dict[str, Any]) -> None:
        course.export(predicted, properties, None, None, None, str(tmp_path / "validation" / case), False)

    load("a", Need(0, 40, 10))
    assert budget.reserved == 40
    of_b = load("b", Need(0, 30, 20))
    assert budget.reserved == 30, "a was not predicted"
    b = course.predict(session, torch.zeros(1))
    left = 20 if next_stage is None else 30  # logits are still to be resized, twice
    assert budget.reserved == left
    of_c = load("c", Need(0, 50, 50), fails=True)
    assert budget.reserved == left + 50
    c = course.predict(session, torch.zeros(1))
    export("b", b, of_b)
    assert session.exported == ["labels of b, to b" if next_stage is None else "logits, to b"]
    assert budget.reserved == 50
    with pytest.raises(PredictionError, match=r"^\[c\] export failed: OSError: no room"):
        export("c", c, of_c)
    assert budget.reserved == 0
    assert said == []
    load("d", Need(0, 101, 50))
    assert budget.reserved == 100
    (line,) = said
    assert line.startswith("warning: [d] needs about 101 bytes, more than the 100 bytes")
