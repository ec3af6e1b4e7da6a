"""A file of nnU-Net's that a command cannot read is named in one sentence before anything is done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import fastnnunet_loader as fl
from fastnnunet_loader.checkpoints import naming_checkpoints
from fastnnunet_loader.cli import command as cli
from fastnnunet_loader.folders import check_dataset
from fastnnunet_loader.nnunet.distributed.spawning import InstalledRank
from fastnnunet_loader.settings import Settings

PLANS = {"configurations": {"2d": {"data_identifier": "nnUNetPlans_2d"}}}
FILES = ("nnUNetPlans.json", "dataset.json", "splits_final.json")
COMMANDS = {"train": ["-device", "cpu"], "bench": [], "preview": ["-o", "picture.png"]}
NO_JSON = {"nothing": b"", "cut": b'{"train": [', "not text": b"\xff\xfe{}"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set whose files are whole, as far as they are read here."""
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    dataset = tmp_path / "nnUNet_preprocessed" / "Dataset900_brains"
    (dataset / "nnUNetPlans_2d").mkdir(parents=True)
    (dataset / "nnUNetPlans_2d" / "a.pkl").touch()
    for name, content in zip(FILES, (PLANS, {}, [{"train": ["a"], "val": ["b"]}]), strict=True):
        (dataset / name).write_text(json.dumps(content), encoding="utf-8")
    return dataset


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    before, threads = torch.load, torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    fl.uninstall()
    assert torch.load is before


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_not_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, command: str, name: str, content: bytes
) -> None:
    monkeypatch.chdir(folder)
    (folder / name).write_bytes(content)
    assert cli.main([command, "900", "2d", "0", *COMMANDS[command]]) == 2
    (line,) = capsys.readouterr().err.splitlines()  # without a traceback
    assert line.startswith(f"fastnnunet: error: [{folder / name}] expected a JSON file, got ")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nnUNetPlans.json", [], "expected a JSON object, got a list"),
        ("dataset.json", [], "expected a JSON object, got a list"),
        ("dataset.json", None, "expected a JSON object, got null"),
        ("splits_final.json", {"train": []}, "expected a list of folds, got an object with train"),
        ("splits_final.json", "folds", "expected a list of folds, got a text"),
        ("splits_final.json", [["a"]], "expected 'train' and 'val', two lists of cases, in fold 0, got a list"),
        (
            "splits_final.json",
            [{"train": [], "validation": []}],
            "expected 'train' and 'val', two lists of cases, in fold 0, got an object with train, validation",
        ),
        (
            "splits_final.json",
            [{"train": [], "val": "a"}],
            "expected 'train' and 'val', two lists of cases, in fold 0, got an object with train, val",
        ),
    ],
)
def test_json_of_another_kind(folder: Path, capsys: Any, name: str, content: Any, said: str) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    assert cli.main(["train", "900", "2d", "0", "-device", "cpu"]) == 2
    assert capsys.readouterr().err == f"fastnnunet: error: [{folder / name}] {said}\n"


def test_only_files_that_nnunet_reads_are_looked_at(folder: Path) -> None:
    """Of the splits the fold that is trained, and none for "all"; a split that is not there is made."""
    splits = folder / "splits_final.json"
    splits.write_text(json.dumps([{}, {"train": [], "val": []}]), encoding="utf-8")
    check_dataset(folder, "nnUNetPlans", "2d", "1")
    check_dataset(folder, "nnUNetPlans", "2d", "2")
    with pytest.raises(fl.FastnnUNetError, match="in fold 0, got an object with none"):
        check_dataset(folder, "nnUNetPlans", "2d", "0")
    check_dataset(folder, "nnUNetPlans", "2d", "0", "Mine")  # which may split in a way of its own
    splits.write_text("no JSON", encoding="utf-8")
    check_dataset(folder, "nnUNetPlans", "2d", "all")
    splits.unlink()
    check_dataset(folder, "nnUNetPlans", "2d", "0")
    (folder / "dataset_fingerprint.json").write_text("no JSON", encoding="utf-8")  # which a training only copies
    check_dataset(folder, "nnUNetPlans", "2d", "0")
    (folder / "dataset.json").unlink()
    with pytest.raises(fl.FastnnUNetError) as raised:
        check_dataset(folder, "nnUNetPlans", "2d", "0")
    assert str(raised.value) == f"[{folder / 'dataset.json'}] expected a file, got none"


def cut(file: Path) -> None:
    torch.save({"network_weights": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": cut,
    "empty": lambda file: file.write_bytes(b""),
    "of something else": lambda file: file.write_bytes(b"no checkpoint"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.usefixtures("torch_as_it_was")
def test_a_checkpoint_that_torch_cannot_load(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    file = tmp_path / "checkpoint_final.pth"
    damage(file)
    for given in (file, str(file)):
        with pytest.raises(fl.StorageError) as raised, naming_checkpoints():
            torch.load(given, weights_only=False)
        assert str(raised.value).startswith(f"[{file}] expected a checkpoint, got ")
        assert raised.value.file == str(file)
        cause = raised.value.__cause__
        assert cause is not None
        assert f"{type(cause).__name__}: {cause}" in raised.value.reason


@pytest.mark.usefixtures("torch_as_it_was")
def test_errors_of_other_things_stay_as_they_are(tmp_path: Path) -> None:
    cut(tmp_path / "x.pth")
    with pytest.raises(ZeroDivisionError), naming_checkpoints():
        try:
            torch.load(tmp_path / "x.pth", weights_only=False)
        except Exception:
            torch.zeros(1) / (1 // 0)  # type: ignore[operator]
    with pytest.raises(FileNotFoundError), naming_checkpoints():
        torch.load(tmp_path / "none.pth")
    with naming_checkpoints():
        torch.save({"a": 1}, tmp_path / "x.pth")
        assert torch.load(tmp_path / "x.pth") == {"a": 1}


def load_in_a_rank(rank: int, file: Path) -> None:
    torch.load(file, weights_only=False)


@pytest.mark.usefixtures("torch_as_it_was")
def test_a_rank_names_it_too(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint_latest.pth"
    cut(file)
    in_rank = InstalledRank(lambda _: None, Settings(), False, load_in_a_rank)
    with pytest.raises(fl.StorageError, match=f"^{re.escape(f'[{file}] expected a checkpoint, got ')}"):
        in_rank(1, file)


@pytest.mark.parametrize("option", ["--c", "-pretrained_weights"])
@pytest.mark.usefixtures("torch_as_it_was")
def test_a_training_names_the_checkpoint_that_it_cannot_load(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, option: str
) -> None:
    dataset = nnunet_dataset("default")
    for name, value in {**dataset.env, "nnUNet_results": str(tmp_path / "results")}.items():
        monkeypatch.setenv(name, value)
    fold = tmp_path / "results" / dataset.name / "nnUNetTrainer__nnUNetPlans__2d" / "fold_0"
    fold.mkdir(parents=True)
    file = fold / "checkpoint_latest.pth"
    cut(file)
    more = [] if option == "--c" else [str(file)]
    assert cli.main(["train", dataset.name, "2d", "0", "-device", "cpu", "--threads", "1", option, *more]) == 1
    said = capsys.readouterr().err
    assert f"fastnnunet: error: [{file}] expected a checkpoint, got RuntimeError: " in said


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "fold_1/checkpoint_final.pth"])
@pytest.mark.usefixtures("torch_as_it_was")
def test_a_prediction_names_the_file_of_the_model(nnunet_dataset: Any, tmp_path: Path, capsys: Any, name: str) -> None:
    dataset, model = nnunet_dataset("default"), tmp_path / "T__P__2d"
    (model / "fold_1").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (model / "plans.json").write_text(json.dumps(dataset.plans), encoding="utf-8")
    (model / "dataset.json").write_text("{}", encoding="utf-8")
    cut(model / "fold_1" / "checkpoint_final.pth")
    (model / name).write_bytes(b"{")
    command = ["predict", "-i", str(tmp_path / "images"), "-o", str(tmp_path / "out"), "-m", str(model), "-f", "1"]
    assert cli.main([*command, "-device", "cpu"]) == (1 if name.endswith("pth") else 2)
    said = capsys.readouterr().err
    wanted = "checkpoint" if name.endswith("pth") else "JSON file"
    assert f"fastnnunet: error: [{model / name}] expected a {wanted}, got " in said
    assert ("Traceback" in said) == name.endswith("pth")
