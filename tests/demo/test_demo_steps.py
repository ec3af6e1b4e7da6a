"""Each step of the demo gets what was asked for. What takes minutes, of nnU-Net and of this package, is not run here."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.experiment_planning import plan_and_preprocess_api as nnunet

from fastnnunet_loader import demo as demo_package
from fastnnunet_loader.bench import measure as measure_module
from fastnnunet_loader.bench.measure import Measurement
from fastnnunet_loader.cli import command as cli
from fastnnunet_loader.cli import demo
from fastnnunet_loader.cli.auto.steps import Steps
from fastnnunet_loader.demo.planning import DemoPlanner, plan_and_preprocess
from fastnnunet_loader.loading import loader as loader_module
from fastnnunet_loader.threads import ThreadPool

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def parsed(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(list(options))


def recorder(calls: list[dict[str, Any]], function: Callable[..., Any], result: Any = None) -> Callable[..., Any]:
    """Keeps the arguments of each call under the function's own names."""
    signature = inspect.signature(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(dict(signature.bind(*args, **kwargs).arguments))
        return result

    return call


@pytest.fixture
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def steps() -> Steps:
    return Steps(io.StringIO())


@pytest.mark.usefixtures("environment")
def test_the_data_set_is_the_one_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []
    folder = tmp_path / "nnUNet_raw" / "Dataset900_Brains"
    monkeypatch.setattr(demo_package, "build_dataset", recorder(built, demo_package.build_dataset, folder))
    for name in FOLDERS:  # of an earlier demo, and of somebody who has put something beside it
        for other in ("Dataset900_Brains", "Dataset901_Mine"):
            (tmp_path / name / other).mkdir(parents=True)
    for name in ("images", "predicted", "summary"):
        (tmp_path / name).mkdir()
    args = parsed("--cases", "6", "--resolution", "5", "--seed", "7")
    assert demo._make(tmp_path, args, steps()) == "Dataset900_Brains"
    assert built == [
        {"raw": tmp_path / "nnUNet_raw", "dataset_id": 900, "name": "Brains", "cases": 6, "resolution": 5, "seed": 7}
    ]
    for name in FOLDERS:
        assert os.environ[name] == str(tmp_path / name)
        assert [path.name for path in (tmp_path / name).iterdir()] == ["Dataset901_Mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FOLDERS)
    assert Path(os.environ["nnUNet_extTrainer"], "nnUNetTrainerDemo.py").is_file()


def test_the_demo_is_auto_on_its_data(tmp_path: Path) -> None:
    options = demo._options("Dataset900_Brains", parsed("-device", "cpu", "--threads", "3", "--seed", "7"), tmp_path)
    assert (options.planner, options.gpu_memory_target) == (DemoPlanner, 0.05)
    assert (options.configurations, options.folds, options.trainer) == (("3d_fullres",), (0,), "nnUNetTrainerDemo")
    assert (options.device, options.settings.threads, options.settings.seed) == ("cpu", 3, 7)
    for name, folder in zip(FOLDERS, (options.raw, options.preprocessed, options.results), strict=True):
        assert folder == tmp_path / name / "Dataset900_Brains"


def test_a_case_of_the_validation_is_predicted(tmp_path: Path) -> None:
    options = demo._options("Name", parsed("-device", "cpu"), tmp_path)
    (options.raw / "imagesTr").mkdir(parents=True)
    options.preprocessed.mkdir(parents=True)
    splits = [{"train": ["a"], "val": ["b", "c"]}, {"train": ["b"], "val": ["a"]}]
    (options.preprocessed / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    for case in "abc":
        (options.raw / "imagesTr" / f"{case}_0000.nii.gz").write_text(case, encoding="utf-8")
    assert demo._choose_image(options) == tmp_path / "predicted" / "b.nii.gz"
    assert options.images is not None
    assert [(file.name, file.read_text(encoding="utf-8")) for file in options.images.iterdir()] == [("b_0000.nii.gz", "b")]
    assert not (tmp_path / "predicted").exists()  # until the prediction makes it


@pytest.mark.parametrize(("options", "workers"), [((), 5), (("--threads", "3"), 3)])
def test_both_loaders_are_measured_with_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], workers: int
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(measure_module, "measure", recorder(calls, measure_module.measure, "measured"))
    monkeypatch.setattr(loader_module, "default_threads", lambda: 5)
    measured = demo._measure("Name", parsed("--seconds", "2.5", "--seed", "4", *options), steps())
    assert measured == ["measured", "measured"]
    common = {"dataset": "Name", "configuration": "3d_fullres", "workers": workers, "seconds": 2.5,
              "trainer": "nnUNetTrainerDemo", "seed": 4}  # fmt: skip
    assert calls == [{"loader": loader, **common} for loader in ("fastnnunet", "nnunet")]


@pytest.mark.parametrize(("before", "after", "code"), [(0.1, 0.8, 0), (0.4, 0.4, 2), (0.8, 0.1, 2)])
def test_a_network_that_learns_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, before: float, after: float, code: int
) -> None:
    done: list[str] = []
    figures = Measurement("fastnnunet", 1, 2, (16, 20, 24), 50, 12.34, 0.05, 1.234, 300 * 2**20, {})
    learned = demo._Result(before, after, "a report", Path("predicted"), Path("picture"), Path("page"))
    results = {"_make": "Name", "_learn": learned, "_measure": [figures, figures]}
    for name, result in results.items():

        def step(*_: Any, name: str = name, result: Any = result) -> Any:
            print(f"words of {name}")  # which go to the log
            done.append(name)
            return result

        monkeypatch.setattr(demo, name, step)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "-o", "new"]) == code
    assert done == list(results)
    said = capsys.readouterr()
    assert f"validation Dice: {before:.3f} before the training, {after:.3f} after it" in said.out
    for words in ("a report", "predicted", "picture", "page"):
        assert words in said.out
    assert "words of" not in said.out
    log = tmp_path / "new" / "nnunet.log"
    assert log.read_text(encoding="utf-8").splitlines() == [f"words of {name}" for name in results]
    wanted = f"[demo] expected validation Dice to rise above {before:.3f}, got {after:.3f}; see {log}"
    assert (wanted in said.err) == (code != 0)


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--seconds", "nan"], ["--seconds", "-1"], ["--cases", "0"]])
def test_numbers_that_are_none_are_refused_at_once(options: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        parsed(*options)
    assert f"argument {options[0]}: expected " in capsys.readouterr().err


@pytest.mark.parametrize("progress", [True, False])
def test_nnunet_plans_with_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, progress: bool) -> None:
    calls: dict[str, list[Any]] = {
        name: [] for name in ("extract_fingerprint_dataset", "plan_experiment_dataset", "preprocess_dataset")
    }
    plans = {"configurations": {"2d": {}, "3d_fullres": {}, "3d_cascade_fullres": {"inherits_from": "3d_fullres"}}}
    pools: list[Any] = []
    for name, kept in calls.items():
        record = recorder(kept, getattr(nnunet, name), (plans, "Mine"))

        def call(*args: Any, record: Any = record, **kwargs: Any) -> Any:
            from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
            from nnunetv2.preprocessing.preprocessors import default_preprocessor

            pools.extend(module.multiprocessing for module in (fingerprint_extractor, default_preprocessor))
            return record(*args, **kwargs)

        monkeypatch.setattr(nnunet, name, _with_signature(call, getattr(nnunet, name)))
    asked = ("3d_fullres", "3d_cascade_fullres")
    assert plan_and_preprocess(900, asked, gpu_memory_target_in_gb=0.3, threads=3, progress=progress) == plans
    assert calls["extract_fingerprint_dataset"] == [
        {"dataset_id": 900, "num_processes": 3, "clean": True, "show_progress_bar": progress}
    ]
    assert list(calls["plan_experiment_dataset"][0].values()) == [900, DemoPlanner, 0.3]
    assert calls["preprocess_dataset"] == [
        {"dataset_id": 900, "plans_identifier": "Mine", "configurations": ["3d_fullres"], "num_processes": [3],
         "show_progress_bar": progress}
    ]  # fmt: skip
    assert all(pool.Pool is ThreadPool and pool.get_context("spawn").Pool is ThreadPool for pool in pools)
    with pytest.raises(RuntimeError, match=r"expected nnU-Net to plan \['3d_lowres'\], got \['2d', '3d_cascade_fullres', '3d_"):
        plan_and_preprocess(900, ("3d_fullres", "3d_lowres"))
    import multiprocessing

    from nnunetv2.preprocessing.preprocessors import default_preprocessor

    assert default_preprocessor.multiprocessing is multiprocessing  # put back, also after an error


def _with_signature(call: Callable[..., Any], of: Callable[..., Any]) -> Callable[..., Any]:
    call.__signature__ = inspect.signature(of)  # type: ignore[attr-defined]
    return call


def test_a_trainer_of_the_demo_takes_its_lengths_from_the_environment(
    nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastnnunet_loader.demo.trainers.nnUNetTrainerDemo import nnUNetTrainerDemo

    dataset = nnunet_dataset("default")
    description = json.loads((dataset.preprocessed / dataset.name / "dataset.json").read_text(encoding="utf-8"))

    def lengths() -> tuple[int, int, int]:
        import torch

        with contextlib.redirect_stdout(None):
            made: Any = nnUNetTrainerDemo(
                {**dataset.plans, "continue_training": False}, "2d", 0, description, torch.device("cpu")
            )
        return made.num_epochs, made.num_iterations_per_epoch, made.num_val_iterations_per_epoch

    for number, name in enumerate(("EPOCHS", "ITERATIONS", "VAL_ITERATIONS"), start=5):
        monkeypatch.setenv(f"FASTNNUNET_DEMO_{name}", str(number))
    assert lengths() == (5, 6, 7)
