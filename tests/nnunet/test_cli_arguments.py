"""Each option of a command reaches what it is for, and each argument that is wrong is named before anything is done."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.run import run_training

import fastnnunet_loader as fl
from fastnnunet_loader import folders as folders_module
from fastnnunet_loader.bench.measure import Measurement
from fastnnunet_loader.cli import bench, demo, predict, preview
from fastnnunet_loader.cli import command as cli
from fastnnunet_loader.cli import run as run_module
from fastnnunet_loader.cli import train as train_module
from fastnnunet_loader.cli.openmp import sleeping
from fastnnunet_loader.errors import CommandError, FastnnUNetError, PredictionError, RankError, StorageError
from fastnnunet_loader.nnunet.runs import installation
from fastnnunet_loader.prediction.session import session as session_module


@pytest.fixture
def threads() -> Iterator[None]:
    """Torch's number of threads, and what is installed, as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    fl.uninstall()


# train


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, threads: None) -> list[dict[str, Any]]:
    """What nnU-Net's run_training was called with, by the names of its own parameters."""
    calls: list[dict[str, Any]] = []
    signature = inspect.signature(run_training.run_training)

    def run(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        assert installation() is not None
        calls.append(dict(bound.arguments))

    monkeypatch.setattr(run_training, "run_training", run)
    return calls


DEFAULTS = {
    "dataset_name_or_id": "Dataset900_brains", "configuration": "3d_fullres", "fold": "0",
    "trainer_class_name": "nnUNetTrainer", "plans_identifier": "nnUNetPlans", "pretrained_weights": None, "num_gpus": 1,
    "export_validation_probabilities": False, "continue_training": False, "only_run_validation": False,
    "disable_checkpointing": False, "val_with_best": False, "device": torch.device("cpu"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ([], {}),
        (["-tr", "nnUNetTrainerNoDA"], {"trainer_class_name": "nnUNetTrainerNoDA"}),
        (["-p", "Mine"], {"plans_identifier": "Mine"}),
        (["-pretrained_weights", "WEIGHTS"], {"pretrained_weights": "WEIGHTS"}),
        (["--npz"], {"export_validation_probabilities": True}),
        (["--c"], {"continue_training": True}),
        (["--val"], {"only_run_validation": True}),
        (["--val_best"], {"val_with_best": True}),
        (["--disable_checkpointing"], {"disable_checkpointing": True}),
        (["--val", "--val_best"], {"only_run_validation": True, "val_with_best": True}),
        (["--c", "--npz"], {"continue_training": True, "export_validation_probabilities": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_every_option_of_a_training_is_nnunets(
    folders: Path, trained: list[dict[str, Any]], tmp_path: Path, options: list[str], changed: dict[str, Any]
) -> None:
    weights = tmp_path / "weights.pth"
    weights.touch()
    trainer = changed.get("trainer_class_name", "nnUNetTrainer")
    output = tmp_path / "nnUNet_results" / folders.name / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_0"
    output.mkdir(parents=True)
    (output / "checkpoint_final.pth").touch()
    words = [str(weights) if word == "WEIGHTS" else word for word in options]
    assert cli.main(["train", "900", "3d_fullres", "0", "-device", "cpu", *words]) == 0
    wanted = {**DEFAULTS, **{name: str(weights) if value == "WEIGHTS" else value for name, value in changed.items()}}
    assert trained == [wanted]
    assert torch.get_num_threads() == fl.available_cores()
    assert os.environ["JOBLIB_MULTIPROCESSING"] == "0"


@pytest.mark.parametrize("fold", ["0", "4", "all"])
def test_what_is_trained_on_which_fold_with_which_loader(folders: Path, trained: list[dict[str, Any]], fold: str) -> None:
    assert cli.main(["train", folders.name, "3d_larger", fold, "-device", "cpu", "--threads", "3", "--seed", "7"]) == 0
    assert trained == [{**DEFAULTS, "configuration": "3d_larger", "fold": fold}]
    found = installation()
    assert found is not None
    assert (found.settings.threads, found.settings.seed) == (3, 7)


def test_a_module_that_fails_while_trainers_are_searched_for_is_no_missing_trainer(
    folders: Path, trained: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    (tmp_path / "theirs.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")', encoding="utf-8")
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    assert cli.main(["train", "900", "3d_fullres", "0", "-device", "cpu", "-tr", "nnUNetTrainerOfNobody"]) == 2
    said = capsys.readouterr().err
    assert "[-tr] expected trainers that can be imported, got an error of a module" in said
    assert "because: RuntimeError: operator torchvision::nms does not exist" in said
    assert trained == []


def test_a_trainer_that_does_not_exist_is_named(folders: Path, trained: Any, capsys: Any, monkeypatch: Any) -> None:
    for searched in ("not set", "/somewhere"):
        monkeypatch.setenv("nnUNet_extTrainer", "" if searched == "not set" else searched)
        assert not train_module._trainer_exists("nnUNetTrainerOfNobody")
        assert train_module._trainer_exists("nnUNetTrainerDA5")
        assert cli.main(["train", "900", "3d_fullres", "0", "-device", "cpu", "-tr", "nnUNetTrainerOfNobody"]) == 2
        said = capsys.readouterr().err
        assert f"[-tr] expected a trainer of nnU-Net, or of nnUNet_extTrainer ({searched}), got 'nnUNetTrainerOfNobody'" in said
    assert trained == []


def test_a_validation_needs_the_training_of_the_same_name(folders: Path, trained: Any, capsys: Any, tmp_path: Path) -> None:
    results = tmp_path / "nnUNet_results" / folders.name
    for name in ("nnUNetTrainer__nnUNetPlans__3d_fullres/fold_1", "nnUNetTrainer__Mine__3d_fullres/fold_0"):
        (results / name).mkdir(parents=True)
        (results / name / "checkpoint_final.pth").touch()
    wanted = results / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_0"
    assert cli.main(["train", "900", "3d_fullres", "0", "-device", "cpu", "--val"]) == 2
    assert f"[--val] expected a finished training in {wanted}, got no checkpoint_final.pth" in capsys.readouterr().err
    assert cli.main(["train", "900", "3d_fullres", "1", "-device", "cpu", "--val"]) == 0
    assert cli.main(["train", "900", "3d_fullres", "0", "-device", "cpu", "--val", "-p", "Mine"]) == 0
    assert [(call["fold"], call["plans_identifier"]) for call in trained] == [("1", "nnUNetPlans"), ("0", "Mine")]


def test_a_cascade_needs_the_predictions_of_its_stage_before(folders: Path, trained: Any, capsys: Any, tmp_path: Path) -> None:
    previous = tmp_path / "nnUNet_results" / folders.name / "nnUNetTrainer__nnUNetPlans__3d_lowres"
    command = ["train", "900", "3d_cascade_fullres", "0", "-device", "cpu"]
    (previous / "fold_0").mkdir(parents=True)
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    wanted = previous / "predicted_next_stage" / "3d_cascade_fullres"
    assert f"[CONFIG] expected predictions of 3d_lowres in {wanted}, got none" in said
    assert "3d_cascade_fullres comes after it: train all folds of 3d_lowres first" in said
    wanted.mkdir(parents=True)
    assert cli.main(command) == 0
    assert [call["configuration"] for call in trained] == ["3d_cascade_fullres"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--c", "-pretrained_weights", __file__], "[-pretrained_weights] expected a new training, got --c"),
        (["-pretrained_weights", "nowhere.pth"], "[-pretrained_weights] expected a file, got nowhere.pth"),
        (["-num_gpus", "2", "-device", "mps"], "[-num_gpus] expected -device cuda with several, got -device mps"),
        (["--c", "--val"], "[--c, --val] expected one of them, got both"),
        (["-num_gpus", "99"], "[-device] expected 99 CUDA device(s), got "),
    ],
)
def test_options_that_exclude_each_other(folders: Path, trained: Any, capsys: Any, options: list[str], said: str) -> None:
    assert cli.main(["train", "900", "3d_fullres", "0", *options]) == 2
    assert said in capsys.readouterr().err
    assert trained == []


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, threads: None) -> list[int]:
    """Two GPUs as far as torch is asked; the numbers of threads between operations that were set."""
    between = [4]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "set_num_interop_threads", between.append)
    monkeypatch.setattr(torch, "get_num_interop_threads", lambda: between[-1])
    return between


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_training_has_as_many_gpus_as_it_asks_for(
    folders: Path, trained: Any, gpus: list[int], capsys: Any, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    torch.set_num_threads(2)
    for _ in range(2):
        code = cli.main(["train", "900", "3d_fullres", "0", "-num_gpus", str(count)])
    if count <= 2:
        assert code == 0
        assert trained == [{**DEFAULTS, "num_gpus": count, "device": torch.device("cuda")}] * 2
        assert torch.get_num_threads() == 1
        assert gpus == [4, 1], "torch accepts it once"
        return
    assert (code, trained) == (2, [])
    assert "[-device] expected 3 CUDA device(s), got 2; -device cpu trains without" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["train", "900", "3d_fullres", "0"]) == 2
    assert "[-device] expected 1 CUDA device(s), got 0;" in capsys.readouterr().err


# Folders


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("3d_fullres", "data_identifier", "nnUNetPlans_3d_fullres"),
        ("3d_larger", "data_identifier", "nnUNetPlans_3d_fullres"),
        ("3d_larger", "batch_size", 4),
        ("3d_cascade_fullres", "previous_stage", "3d_lowres"),
        ("3d_fullres", "previous_stage", None),
        ("one", "batch_size", None),  # each inherits from the other
        ("none", "batch_size", None),
    ],
)
def test_what_a_configuration_inherits(folders: Path, name: str, key: str, value: Any) -> None:
    configurations = folders_module.read_json(folders / "nnUNetPlans.json")["configurations"]
    assert folders_module.inherited(configurations, name, key) == value


def test_folders_that_are_not_named_are_told_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("nnUNet_preprocessed", "nnUNet_results")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError) as raised:
        folders_module.nnunet_folders(names)
    assert str(raised.value) == (
        "[nnUNet_preprocessed, nnUNet_results] expected the environment to name nnU-Net's folders, got nothing\n"
        "  export nnUNet_preprocessed=/path/to/nnUNet_preprocessed"
    )
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="to name nnU-Net's folder, got nothing\n  export nnUNet_results="):
        folders_module.nnunet_folders(names)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "made later"))
    with pytest.raises(CommandError, match=rf"^\[nnUNet_preprocessed\] expected a folder, got {tmp_path}/none$"):
        folders_module.nnunet_folders(names)
    (tmp_path / "none").mkdir()
    assert folders_module.nnunet_folders(names) == {names[0]: tmp_path / "none", names[1]: tmp_path / "made later"}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_a_json_file_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(CommandError) as raised:
        folders_module.read_json(tmp_path / "x.json")
    assert str(raised.value).startswith(f"[{tmp_path / 'x.json'}] expected a JSON file, got ")
    assert isinstance(raised.value.__cause__, ValueError)
    (tmp_path / "x.json").write_text("[1]", encoding="utf-8")
    assert folders_module.read_json(tmp_path / "x.json") == {}
    (tmp_path / "x.json").write_text('{"a": "\N{LATIN SMALL LETTER U WITH DIAERESIS}"}', encoding="utf-8")
    assert folders_module.read_json(tmp_path / "x.json") == {"a": "\N{LATIN SMALL LETTER U WITH DIAERESIS}"}


def test_plans_and_configurations_that_exist_are_listed(folders: Path) -> None:
    folders_module.check_plans(folders, "Mine", "3d_larger")
    with pytest.raises(CommandError) as raised:
        folders_module.check_plans(folders, "Other", "3d_fullres")
    assert str(raised.value) == (
        "[-p] expected plans of Dataset900_brains, got 'Other'\n  there are: Mine, nnUNetPlans"  # and not dataset.json
    )
    with pytest.raises(CommandError, match="expected a configuration of Mine, got '4d'\n  there are: 2d, 3d_cascade_fullres, "):
        folders_module.check_plans(folders, "Mine", "4d")
    for configuration, folder in (("2d", "nnUNetPlans_2d"), ("3d_lowres", "nnUNetPlans_3d_lowres")):
        with pytest.raises(CommandError) as raised:
            folders_module.check_plans(folders, "Mine", configuration)
        assert f"cases of {configuration} in {folders / folder}, got none\n" in str(raised.value)
        assert str(raised.value).endswith(f"nnUNetv2_preprocess -d 900 -plans_name Mine -c {configuration}")
    assert (folders_module.listed([]), folders_module.listed(["b", "a"])) == ("none", "b, a")


# predict


ARGUMENTS = ["-i", "IMAGES", "-o", "OUT", "-m", "MODEL", "-device", "cpu"]


def parsed(arguments: list[str], tmp_path: Path, command: Any = predict) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    places = {"IMAGES": tmp_path / "images", "OUT": tmp_path / "out", "MODEL": tmp_path / "model"}
    return parser.parse_args([str(places.get(word, word)) for word in arguments])


@pytest.mark.parametrize(
    ("options", "changed", "folds", "checkpoint"),
    [
        ([], {}, (0, 1, 2, 3, 4), "checkpoint_final.pth"),
        (["-f", "3", "1"], {}, (3, 1), "checkpoint_final.pth"),
        (["-f", "all"], {}, ("all",), "checkpoint_final.pth"),
        (["-chk", "checkpoint_best.pth"], {}, (0, 1, 2, 3, 4), "checkpoint_best.pth"),
        (["-step_size", "0.75"], {"tile_step_size": 0.75}, (0, 1, 2, 3, 4), "checkpoint_final.pth"),
        (["--disable_tta"], {"use_mirroring": False}, (0, 1, 2, 3, 4), "checkpoint_final.pth"),
        (["--not_on_device"], {"perform_everything_on_device": False}, (0, 1, 2, 3, 4), "checkpoint_final.pth"),
        (["--verbose"], {"verbose": True, "verbose_preprocessing": True}, (0, 1, 2, 3, 4), "checkpoint_final.pth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_option_reaches_the_predictor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: None,
    options: list[str], changed: dict[str, Any], folds: tuple[Any, ...], checkpoint: str,
) -> None:  # fmt: skip
    from tqdm import tqdm

    calls: list[Any] = []
    signature = inspect.signature(predict_from_raw_data.nnUNetPredictor)

    class Predictor:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            calls.append(dict(bound.arguments))

        def initialize_from_trained_model_folder(self, *args: Any) -> None:
            calls.append(args)

    monkeypatch.setattr(predict_from_raw_data, "nnUNetPredictor", Predictor)
    monkeypatch.setattr(tqdm, "_lock", threading.RLock(), raising=False)
    predict._load_predictor(parsed([*ARGUMENTS, *options], tmp_path), tmp_path / "model")
    wanted = {
        "tile_step_size": 0.5, "use_gaussian": True, "use_mirroring": True, "perform_everything_on_device": True,
        "device": torch.device("cpu"), "verbose": False, "verbose_preprocessing": False, "allow_tqdm": False,
    }  # fmt: skip
    assert calls == [{**wanted, **changed}, (str(tmp_path / "model"), folds, checkpoint)]
    assert torch.get_num_threads() == fl.available_cores()


def test_a_prediction_on_a_gpu_leaves_the_work_to_it(
    tmp_path: Path, gpus: list[int], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from tqdm import tqdm

    devices: list[torch.device] = []

    class Predictor:
        def __init__(self, **kwargs: Any) -> None:
            devices.append(kwargs["device"])

        def initialize_from_trained_model_folder(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(predict_from_raw_data, "nnUNetPredictor", Predictor)
    monkeypatch.setattr(tqdm, "_lock", threading.RLock(), raising=False)
    args = parsed([*ARGUMENTS, "-device", "cuda"], tmp_path)
    torch.set_num_threads(2)
    for _ in range(2):
        predict._load_predictor(args, tmp_path / "model")
    assert devices == [torch.device("cuda")] * 2
    assert torch.get_num_threads() == 1
    assert gpus == [4, 1], "torch accepts it once"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CommandError, match=r"^\[-device\] expected a CUDA device, got none; -device cpu predicts without"):
        predict._load_predictor(args, tmp_path / "model")


class Cases:
    """Stands for a session: the cases that it was given, of which those in `refused` and `failing` are bad."""

    def __init__(self, refused: tuple[str, ...] = (), failing: tuple[str, ...] = ()) -> None:
        self.refused, self.failing, self.failures, self.ran = refused, failing, [], []
        self.checked: list[str] | None = None

    def check(self, cases: list[Any]) -> Any:
        self.checked = [Path(case.target).name for case in cases]
        bad = [case for case in cases if Path(case.target).name in self.refused]
        errors = [PredictionError(case=Path(case.target).name, stage="check", reason="refused") for case in bad]
        return [(case, None) for case in cases if case not in bad], errors

    def run_files(self, checked: list[Any]) -> None:
        self.ran = [Path(case.target).name for case, _ in checked]
        self.failures = [PredictionError(case=n, stage="predict", reason="failed") for n in self.ran if n in self.failing]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("images", "out", "model", "before"):
        (tmp_path / name).mkdir()
    for case in "abcdefg":
        (tmp_path / "images" / f"{case}_0000.nii.gz").touch()
    for name in ("plans.json", "dataset.json"):
        (tmp_path / "model" / name).write_text("{}", encoding="utf-8")
    return tmp_path


def predicted(tmp_path: Path, session: Cases, *options: str, previous: str | None = None) -> tuple[int, argparse.Namespace]:
    predictor = SimpleNamespace(
        dataset_json={"file_ending": ".nii.gz", "z": 1, "a": 2},
        configuration_manager=SimpleNamespace(previous_stage_name=previous),
        label_manager=SimpleNamespace(num_segmentation_heads=3),
        plans_manager=SimpleNamespace(plans={"plans_name": "P"}),
    )
    args = parsed([*ARGUMENTS, *options], tmp_path)
    return predict._predict_cases(args, session, predictor), args  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "cases"),
    [
        ([], "abcdefg"),
        (["-num_parts", "3", "-part_id", "0"], "adg"),
        (["-num_parts", "3", "-part_id", "1"], "be"),
        (["-num_parts", "3", "-part_id", "2"], "cf"),
        (["--continue_prediction"], "bcdefg"),
        (["--c", "-num_parts", "3", "-part_id", "0"], "dg"),
        (["--c", "--save_probabilities"], "abcdefg"),  # a's probabilities are not there
    ],
    ids=" ".join,
)
def test_which_cases_are_predicted(images: Path, capsys: Any, options: list[str], cases: str) -> None:
    (images / "out" / "a.nii.gz").write_bytes(b"whole")
    session = Cases()
    code, args = predicted(images, session, *options)
    assert (code, "".join(session.checked or []), "".join(session.ran)) == (0, cases, cases)
    said = capsys.readouterr()
    assert said.out == f"fastnnunet: {len(cases)} of 7 cases to predict\nfastnnunet: {len(cases)} cases predicted\n"
    assert said.err == ""
    given = json.loads((images / "out" / "predict_from_raw_data_args.json").read_text(encoding="utf-8"))
    assert given == {
        "list_of_lists_or_source_folder": str(images / "images"),
        "output_folder_or_list_of_truncated_output_files": str(images / "out"),
        "save_probabilities": "--save_probabilities" in options,
        "overwrite": not args.continue_prediction,
        "num_processes_preprocessing": 3,
        "num_processes_segmentation_export": 3,
        "folder_with_segs_from_prev_stage": None,
        "num_parts": args.num_parts,
        "part_id": args.part_id,
    }
    assert list(json.loads((images / "out" / "dataset.json").read_text(encoding="utf-8"))) == ["file_ending", "z", "a"]
    assert json.loads((images / "out" / "plans.json").read_text(encoding="utf-8")) == {"plans_name": "P"}


def test_the_numbers_of_processes_and_the_stage_before_are_noted(images: Path) -> None:
    predicted(images, Cases(), "-npp", "1", "-nps", "2", "-prev_stage_predictions", str(images / "before"))
    given = json.loads((images / "out" / "predict_from_raw_data_args.json").read_text(encoding="utf-8"))
    assert (given["num_processes_preprocessing"], given["num_processes_segmentation_export"]) == (1, 2)
    assert given["folder_with_segs_from_prev_stage"] == str(images / "before")


@pytest.mark.parametrize("previous", [None, "3d_lowres"])
def test_segmentations_of_the_stage_before_are_a_cascades(images: Path, previous: str | None) -> None:
    seen: list[Any] = []

    class Seeing(Cases):
        def check(self, cases: list[Any]) -> Any:
            seen.extend(cases)
            return super().check(cases)

    predicted(images, Seeing(), "-prev_stage_predictions", str(images / "before"), previous=previous)
    assert [str(case.previous) for case in seen] == [
        "None" if previous is None else str(images / "before" / f"{name}.nii.gz") for name in "abcdefg"
    ]
    assert [Path(case.target) for case in seen] == [images / "out" / name for name in "abcdefg"]


def test_a_bad_case_stops_before_the_first_prediction(images: Path, capsys: Any) -> None:
    for refused, lines in ((("c",), 0), (("c", "e"), 1)):
        session = Cases(refused)
        with pytest.raises(PredictionError, match=r"^\[c\] refused$"):
            predicted(images, session)
        assert session.ran == []
        said = capsys.readouterr().err
        assert said == "fastnnunet: 2 cases cannot be predicted: c, e\n" * lines
        assert list((images / "out").iterdir()) == []


def test_bad_cases_are_left_out_and_listed(images: Path, capsys: Any) -> None:
    session = Cases(("c",), ("e", "f"))
    code, _ = predicted(images, session, "--on-bad-case", "skip")
    assert (code, "".join(session.ran)) == (1, "abdefg")
    said = capsys.readouterr()
    assert said.out.endswith("fastnnunet: 4 cases predicted\n")
    assert said.err == "fastnnunet: 3 bad cases were left out:\n  [c] refused\n  [e] failed\n  [f] failed\n"
    session = Cases(tuple("abcdefg"))
    assert predicted(images, session, "--on-bad-case", "skip")[0] == 1
    assert session.ran == []


def test_no_image_is_an_error_that_names_the_ending(images: Path) -> None:
    for file in (images / "images").iterdir():
        file.unlink()
    with pytest.raises(CommandError, match=rf"^\[-i\] expected images that end with .nii.gz, got none in {images}/images$"):
        predicted(images, Cases())


def test_every_option_reaches_the_session(images: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    calls: list[Any] = []
    signature = inspect.signature(session_module.Session)
    predictor = SimpleNamespace(configuration_manager=SimpleNamespace(previous_stage_name=None))

    def session(*args: Any, **kwargs: Any) -> str:
        calls.append(dict(signature.bind(*args, **kwargs).arguments))
        return "session"

    from fastnnunet_loader.prediction.images import checks

    monkeypatch.setattr(session_module, "Session", session)
    monkeypatch.setattr(checks, "model_problem", lambda *args: calls.append(args))
    monkeypatch.setattr(predict, "_load_predictor", lambda *_: predictor)
    monkeypatch.setattr(predict, "_predict_cases", lambda *args: calls.append(args) or 5)
    options = ["--memory-budget", "3GB", "--on-bad-case", "skip", "--patience", "7", "--save_probabilities", "-f", "2"]
    args = parsed([*ARGUMENTS, *options, "--disable_progress_bar", "-chk", "best.pth"], images)
    assert predict.run(args) == 5
    checked, given, last = calls
    assert checked == (images / "model", [2], "best.pth")
    said = given.pop("say")
    assert given == {
        "predictor": predictor, "save_probabilities": True, "memory_budget": 3 * 2**30, "on_bad_case": "skip", "patience": 7.0,
        "progress": False, "model": images / "model",
    }  # fmt: skip
    assert last == (args, "session", predictor)
    capsys.readouterr()
    said("words")
    assert capsys.readouterr().out == "fastnnunet: words\n"
    calls.clear()
    assert predict.run(parsed(ARGUMENTS, images)) == 5
    _, given, _ = calls
    assert (given["progress"], given["save_probabilities"], given["memory_budget"]) == (True, False, None)
    assert (given["on_bad_case"], given["patience"]) == ("raise", 300.0)
    predictor.configuration_manager.previous_stage_name = "3d_lowres"
    with pytest.raises(CommandError, match=r"^\[-prev_stage_predictions\] expected a folder with segmentations of 3d_lowres"):
        predict.run(parsed(ARGUMENTS, images))
    assert predict.run(parsed([*ARGUMENTS, "-prev_stage_predictions", str(images / "before")], images)) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-num_parts", "2", "-part_id", "2"], "[-part_id] expected a number from 0 to 1, got 2"),
        (["-part_id", "-1"], "[-part_id] expected a number from 0 to 0, got -1"),
        (["-prev_stage_predictions", "nowhere"], "[-prev_stage_predictions] expected a folder, got nowhere"),
        (["-i", "nowhere"], "[-i] expected a folder, got nowhere"),
    ],
)
def test_arguments_of_a_prediction_are_checked_first(images: Path, options: list[str], said: str) -> None:
    with pytest.raises(CommandError) as raised:
        predict.run(parsed([*ARGUMENTS, *options], images))
    assert str(raised.value) == said


WRONG_NUMBERS = [("-f", "x"), ("-f", "-1"), ("-step_size", "0"), ("-step_size", "1.1"), ("-step_size", "x")]


@pytest.mark.parametrize(("option", "text"), WRONG_NUMBERS)
def test_numbers_of_a_prediction_that_are_none(images: Path, capsys: Any, option: str, text: str) -> None:
    with pytest.raises(SystemExit):
        parsed([*ARGUMENTS, option, text], images)
    assert f"argument {option}: expected " in capsys.readouterr().err
    assert parsed([*ARGUMENTS, "-step_size", "1"], images).step_size == 1


def test_the_model_is_found_by_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    (results / "Dataset007_B").mkdir(parents=True)
    (results / "Dataset008_C").mkdir()
    common = ["-i", "IMAGES", "-o", "OUT", "-c", "2d"]
    monkeypatch.delenv("nnUNet_results", raising=False)
    with pytest.raises(CommandError, match=r"^\[nnUNet_results\] expected the environment to name nnU-Net's folder"):
        predict._model_folder(parsed([*common, "-d", "7"], tmp_path))
    monkeypatch.setenv("nnUNet_results", str(results))
    names = (
        ([], "nnUNetTrainer__nnUNetPlans__2d"),
        (["-tr", "T"], "T__nnUNetPlans__2d"),
        (["-p", "P"], "nnUNetTrainer__P__2d"),
    )
    for given in ("7", "Dataset007_B"):
        for more, name in names:
            found = predict._model_folder(parsed([*common, "-d", given, *more], tmp_path))
            assert found == results / "Dataset007_B" / name
    with pytest.raises(CommandError) as raised:
        predict._model_folder(parsed([*common, "-d", "Dataset009_D"], tmp_path))
    assert f"got 'Dataset009_D'\n  in {results}: Dataset007_B, Dataset008_C" in str(raised.value)


def test_ctrl_c_in_another_program_is_that_programs(images: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The command's own process ends at once; a notebook goes on, and hears SIGTERM as before."""

    def interrupted(*_: Any) -> int:
        heard.append(signal.getsignal(signal.SIGTERM))
        raise KeyboardInterrupt

    heard: list[Any] = []
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(predict, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict.run(parsed(ARGUMENTS, images))
    assert "fastnnunet: interrupted; what was written is complete, --continue_prediction goes on" in capsys.readouterr().err
    assert heard == [before]
    assert signal.getsignal(signal.SIGTERM) is before


# bench, demo, preview


MEASURED = [
    Measurement("fastnnunet", 1, 2, (16, 20, 24), 50, 12.34, 0.05, 1.234, 300 * 2**20, {}),
    Measurement("nnunet", 4, 2, (16, 20, 24), 50, 6.17, 0.15, 12.5, 2**31, {}),
]


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_measured_and_told(folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, as_json: bool) -> None:
    from fastnnunet_loader.bench import measure as measure_module

    calls: list[dict[str, Any]] = []
    signature = inspect.signature(measure_module.measure)

    def measure(*args: Any, **kwargs: Any) -> Measurement:
        calls.append(dict(signature.bind(*args, **kwargs).arguments))
        return MEASURED[len(calls) - 1]

    monkeypatch.setattr(measure_module, "measure", measure)
    monkeypatch.setenv("COLUMNS", "200")
    command = ["bench", "900", "3d_fullres", "3", "--threads", "4", "--seconds", "2.5", "-tr", "T", "-p", "Mine", "--seed", "6"]
    assert cli.main([*command, *["--json"] * as_json]) == 0
    common = {"dataset": "Dataset900_brains", "configuration": "3d_fullres", "fold": "3", "workers": 4, "seconds": 2.5,
              "trainer": "T", "plans": "Mine", "seed": 6}  # fmt: skip
    assert calls == [{"loader": loader, **common} for loader in ("fastnnunet", "nnunet")]
    said = capsys.readouterr()
    assert "[1/2] this loader, 4 threads, 2.5 s" in said.err and "[2/2] nnU-Net, 4 processes, 2.5 s" in said.err
    if as_json:
        assert [entry["loader"] for entry in json.loads(said.out)] == ["fastnnunet", "nnunet"]
        return
    rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in said.out.splitlines() if row.startswith("│")]
    assert rows == [
        ["samples per second", "12.3", "6.2"], ["CPU seconds per sample", "0.0500", "0.1500"],
        ["first batch after, s", "1.23", "12.50"], ["peak memory of all processes, MiB", "300", "2048"],
    ]  # fmt: skip
    assert "batches of 2 x (16 x 20 x 24)" in said.out
    assert "this loader, 1 thread " in said.out and "nnU-Net, 4 processes" in said.out
    assert "3.0 times fewer CPU seconds per sample than nnU-Net's loader, 2.0 times its samples per second" in " ".join(
        said.out.split()
    )


def test_defaults_of_a_measurement(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnnunet_loader.bench import measure as measure_module
    from fastnnunet_loader.loading import loader as loader_module

    calls: list[Any] = []

    def fails(*args: Any, **kwargs: Any) -> None:
        calls.append((args, kwargs))
        raise RuntimeError("it fails")

    monkeypatch.setattr(measure_module, "measure", fails)
    monkeypatch.setattr(loader_module, "default_threads", lambda: 5)
    args = parsed(["900", "3d_fullres", "all"], folders, bench)
    with pytest.raises(CommandError, match=r"^it fails$"):
        bench.run(args)
    ((loader, name, configuration, fold), named) = calls[0]
    assert (loader, name, configuration, fold) == ("fastnnunet", "Dataset900_brains", "3d_fullres", "all")
    assert named == {"workers": 5, "seconds": 20.0, "trainer": "nnUNetTrainer", "plans": "nnUNetPlans", "seed": 0}


@pytest.mark.parametrize("fold", ["0", "12", "all"])
def test_folds_are_numbers_or_all(tmp_path: Path, fold: str) -> None:
    for module, more in ((bench, []), (preview, ["-o", "x.png"]), (train_module, [])):
        assert parsed(["1", "2d", fold, *more], tmp_path, module).fold == fold
        for wrong in ("ALL", "1.0", "", "a"):
            with pytest.raises(SystemExit):
                parsed(["1", "2d", wrong, *more], tmp_path, module)


def test_a_demo_checks_its_arguments_and_writes_nothing(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    for options, said in (
        (["-o", str(tmp_path / "new"), "--cases", "4"], "[--cases] expected at least 5, one for each fold, got 4"),
        (["-o", str(tmp_path / "file")], f"[-o] expected a folder, got the file {tmp_path / 'file'}"),
    ):
        assert cli.main(["demo", *options]) == 2
        assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    for wrong in (["--cases", "0"], ["--epochs", "0"], ["--threads", "0"], ["--resolution", "x"], ["-device", "mps"]):
        with pytest.raises(SystemExit):
            parsed(wrong, tmp_path, demo)
    args = vars(parsed([], tmp_path, demo))
    assert args == {"o": Path("fastnnunet_demo"), "cases": 8, "resolution": 3, "epochs": 8, "iterations": 20, "threads": None,
                    "seed": 0, "seconds": 10.0, "device": None}  # fmt: skip


def test_a_folder_that_is_not_a_demos_is_told_with_what_is_in_it(tmp_path: Path) -> None:
    for count, shown in ((1, "with f0\n"), (3, "with f0, f1, f2\n"), (4, "with f0, f1, f2, ...\n")):
        root = tmp_path / str(count)
        root.mkdir()
        for number in range(count):
            (root / f"f{number}").touch()
        with pytest.raises(CommandError) as raised:
            demo._own_folder(root)
        assert f"got {root} {shown}  fastnnunet demo -o {root}/fastnnunet_demo" in str(raised.value)
        assert not (root / demo.MARKER).exists()


# What a command says of an error


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def of_rank(because: str) -> RankError:
    error = RankError("[rank 1] [brain] expected one, got none")
    error.rank, error.because = 1, because
    return caused(error, RuntimeError("-- Process 1 terminated"))  # type: ignore[return-value]


STORAGE = StorageError("[f] expected a file", file="f", reason="expected a file")


@pytest.mark.parametrize(
    ("raised", "code", "because", "with_traceback"),
    [
        (FastnnUNetError("[x] wrong"), 1, None, False),
        (caused(FastnnUNetError("[x] wrong"), ValueError("a surprise")), 1, "ValueError: a surprise", True),
        (caused(FastnnUNetError("[x] wrong: a surprise"), ValueError("a surprise")), 1, None, True),
        (caused(FastnnUNetError("[x] wrong"), ValueError()), 1, None, True),
        (caused(FastnnUNetError("[x] wrong"), STORAGE), 1, "StorageError: [f] expected a file", False),
        (caused(CommandError("[x] wrong"), STORAGE), 2, "StorageError: [f] expected a file", False),
        (PredictionError(case="a", stage="check", reason="small"), 1, None, False),
        (caused(PredictionError(case="a", stage="check", reason="small"), KeyError("b")), 1, "KeyError: 'b'", False),
        (caused(PredictionError(case="a", stage="read", reason="small"), KeyError("b")), 1, "KeyError: 'b'", True),
        (of_rank("ArithmeticError: divided by nothing"), 1, "ArithmeticError: divided by nothing", True),
        (of_rank("ArithmeticError: got none"), 1, None, True),  # its words are in the message
        (of_rank(""), 1, None, True),
    ],
)  # fmt: skip
def test_the_cause_is_told_unless_the_message_has_it(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, raised: BaseException, code: int, because: str | None,
    with_traceback: bool,
) -> None:  # fmt: skip
    def failing(_: object) -> int:
        raise raised

    monkeypatch.setattr(train_module, "run", failing)
    for debug in ("", "0"):
        monkeypatch.setenv("FASTNNUNET_DEBUG", debug)
        assert cli.main(["train", "900", "3d_fullres", "0"]) == code
        said = capsys.readouterr().err
        lines = said[said.rindex("fastnnunet: error: ") :].splitlines()
        assert lines[0] == f"fastnnunet: error: {raised}"
        assert lines[1:] == ([] if because is None else [f"  because: {because}"])
        assert ("Traceback" in said) == with_traceback


def test_the_code_of_a_command_is_what_it_returns(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []
    for code in (0, 1, 2):
        monkeypatch.setattr(train_module, "run", lambda args, code=code: seen.append(args) or code)
        assert cli.main(["train", "900", "3d_fullres", "0"]) == code
    assert [args.own_process for args in seen] == [False] * 3  # this program goes on
    monkeypatch.setattr(sys, "argv", ["fastnnunet", "train", "900", "3d_fullres", "0"])
    assert cli.main() == 2
    assert seen[-1].own_process


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_what_other_programs_are_told_is_not_for_these(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that look at nnU-Net as it is hide the variable from the processes that they start, too."""
    stopped: list[bool] = []
    monkeypatch.setenv("FASTNNUNET_RUN", "--seed 3")
    monkeypatch.setitem(sys.modules, "fastnnunet_autoload", SimpleNamespace(stop=lambda: stopped.append(True)))
    cli._ignore_variable(name)
    assert stopped == [True]
    assert ("FASTNNUNET_RUN" in os.environ) == (name in ("train", "predict", "auto", "run", *cli.PLANNING))


def test_the_version_is_the_packages(capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"fastnnunet-loader {fl.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_tells_what_it_is_for(name: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "--debug" in said
    if name != "run":  # which says more
        assert cli.COMMANDS[name].split(":")[0].split(",")[0] in " ".join(said.split())
    module = cli.module_of(name)
    assert {"add_arguments", "run"} <= set(module.__all__)
    with pytest.raises(SystemExit) as stopped:
        cli.main([])
    assert stopped.value.code == 2


# openmp, run

CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["", "0", "active"])
def test_any_choice_of_a_user_is_left_as_it_is(name: str, value: str) -> None:
    assert sleeping({}) == sleeping({"OMP_NUM_THREADS": "3"}) == {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    assert sleeping({name: value}) == {}


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        ("python", [], []),
        ("python3.11", ["-s", "-E", "-c", "print()", "-I"], ["-s", "-E"]),
        ("python3", ["-sEIPS", "x.py"], ["-s", "-E", "-I", "-P", "-S"]),
        ("pythonw", ["-W", "error", "-I", "x.py"], ["-I"]),
        ("python3.13t", ["-X", "dev", "-Werror", "-Xdev", "-I", "x.py"], ["-I"]),
        ("python", ["-u", "-B", "-OO", "-v", "-I"], ["-I"]),
        ("python", ["x.py", "-I"], []),
        ("python", ["-m", "module", "-S"], []),
        ("python", ["-I", "-c", "-S"], ["-I"]),
        ("Python.exe", ["-I"], ["-I"]),
        ("ipython", ["-I"], None),
        ("python-config", [], None),
        ("bash", ["-s"], None),
    ],
)
def test_options_of_python_that_choose_what_it_finds(
    tmp_path: Path, program: str, arguments: list[str], expected: list[str] | None
) -> None:
    found = run_module.interpreter(tmp_path / program, arguments)
    assert found == (None if expected is None else [str(tmp_path / program), *expected])


def test_console_scripts_of_windows_are_run_by_the_python_beside_them(tmp_path: Path) -> None:
    assert run_module.interpreter(tmp_path / "tool.exe") is None
    (tmp_path / "python.exe").touch()
    for name in ("tool.exe", "tool.EXE"):
        assert run_module.interpreter(tmp_path / name) == [str(tmp_path / "python.exe")]


@pytest.mark.parametrize(
    ("name", "exists", "code", "said"),
    [
        ("mine.py", True, 127, "a program, got the script 'mine.py'; write: fastnnunet run python mine.py"),
        ("./mine.py", True, 126, "a program, got the script './mine.py'; write: fastnnunet run python ./mine.py"),
        ("./my own.py", True, 126, "a program, got the script './my own.py'; write: fastnnunet run python './my own.py'"),
        ("mine.py", False, 127, "a program that exists, got 'mine.py'"),
        ("./mine", True, 126, "a program that may be executed, got './mine'"),
        ("mine", True, 127, "a program that exists, got 'mine'"),  # a shell looks on PATH only
        ("./mine", False, 127, "a program that exists, got './mine'"),
    ],
)
def test_why_a_program_cannot_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str, exists: bool, code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if exists:
        Path(name).write_text("", encoding="utf-8")
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(["run", name]) == code
    assert capsys.readouterr().err == f"fastnnunet: error: [COMMAND] expected {said}\n"


def test_what_is_said_before_another_program_has_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program, its arguments and its environment, as they are handed over."""
    became: list[Any] = []

    def become(*given: Any) -> None:
        became.append(given)
        became.append([signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)])
        raise PermissionError(13, "Permission denied")

    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    before = [signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)]
    try:
        assert cli.main(["run", "--threads", "3", "mine", "--threads", "4"]) == 126
    finally:
        for number, handler in zip((signal.SIGPIPE, signal.SIGXFSZ), before, strict=True):
            signal.signal(number, handler)
    (found, command, environment), handlers = became
    assert (found, command) == (str(program), ["mine", "--threads", "4"])
    assert environment["FASTNNUNET_RUN"] == "--threads 3"
    assert (environment["OMP_WAIT_POLICY"], environment["KMP_BLOCKTIME"]) == ("PASSIVE", "0")
    assert handlers == [signal.SIG_DFL, signal.SIG_DFL]


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def test_an_environment_that_cannot_be_asked_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The program itself says what is the matter."""
    answers: list[Any] = [
        SimpleNamespace(returncode=1, stdout="True False\n"), SimpleNamespace(returncode=0, stdout="False\n"),
        SimpleNamespace(returncode=0, stdout="from a sitecustomize\nTrue True\n"),
        SimpleNamespace(returncode=0, stdout="True False\n"),
    ]  # fmt: skip
    for answer in answers:
        monkeypatch.setattr(run_module.subprocess, "run", lambda *_, answer=answer, **__: answer)
        run_module._check_environment(tmp_path / "python", ["python"], {})
    monkeypatch.setattr(run_module.subprocess, "run", raising(OSError(8, "Exec format error")))
    run_module._check_environment(tmp_path / "python", ["python"], {})
    assert capsys.readouterr().err == ""
    for stdout in ("False True\n", "False False\n"):
        done = SimpleNamespace(returncode=0, stdout=stdout)
        monkeypatch.setattr(run_module.subprocess, "run", lambda *_, done=done, **__: done)
        with pytest.raises(CommandError, match=rf"^\[python\] expected this package in the environment of {tmp_path}/python, "):
            run_module._check_environment(tmp_path / "python", ["python"], {})
        with pytest.raises(
            CommandError, match=r"^\[python\] expected a Python that looks into its environment, got the option -S$"
        ):
            run_module._check_environment(tmp_path / "python", ["python", "-S", "x.py"], {})


# Others


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_tells_each_default_once(name: str) -> None:
    parser = argparse.ArgumentParser()
    cli.module_of(name).add_arguments(parser)
    for action in parser._actions:
        words = str(action.help)
        assert words.count("(default:") + words.count("(the default)") <= 1, action.dest
        has_one = action.option_strings and action.default not in (None, False, (), argparse.SUPPRESS)
        assert not has_one or "default" in words or "no effect" in words, action.dest
        if action.option_strings and "choices" not in words:
            assert action.help is not None
            assert action.help[:1].islower() or action.help.startswith("PNG"), action.dest


def test_a_measurement_needs_linux_and_psutil(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = parsed(["900", "3d_fullres", "0"], folders, bench)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CommandError, match=r"^\[bench\] expected psutil, got no such package\n  pip install psutil$"):
        bench.run(args)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(CommandError, match=r"^\[bench\] expected Linux, .* got darwin$"):
        bench.run(args)


@pytest.mark.parametrize("missing", [("nnunetv2", "nilearn"), ("nilearn",), ("nnunetv2",)])
def test_a_demo_names_the_packages_that_it_needs(monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]) -> None:
    demo._check_demo_extra()
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else found(name))
    with pytest.raises(CommandError) as raised:
        demo._check_demo_extra()
    assert str(raised.value) == f"[demo] expected {' and '.join(missing)}, got none\n  pip install {' '.join(missing)}"
    old = ("nnunetv2.utilities.find_objects",)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in old else found(name))
    with pytest.raises(CommandError, match=r"finds trainers outside of its own folder, got 2\.\d"):
        demo._check_demo_extra()


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ([], ("nnUNetPlans", None, False, None)),
        (["-c", "2d", "-p", "Mine", "--quick", "--threads", "3"], ("Mine", "2d", True, 3)),
        (["--configuration", "3d_fullres"], ("nnUNetPlans", "3d_fullres", False, None)),
    ],
)
def test_what_the_doctor_looks_at(monkeypatch: pytest.MonkeyPatch, options: list[str], given: tuple[Any, ...]) -> None:
    from fastnnunet_loader.doctor import dataset

    seen: list[dict[str, Any]] = []
    signature = inspect.signature(dataset.DatasetChecks)

    def checks(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        seen.append(dict(bound.arguments))
        raise KeyboardInterrupt  # that is all

    monkeypatch.setattr(dataset, "DatasetChecks", checks)
    assert cli.main(["doctor", "Dataset001_A", *options]) == 130
    (found,) = seen
    plans, configuration, quick, threads = given
    assert list(found.values()) == ["Dataset001_A", plans, configuration, quick] + [threads] * (threads is not None)
    assert found.get("threads") == threads
