"""`fastnnunet predict` and the options of nnU-Net's two commands: a model by its name, or by its folder alone."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.inference import predict_from_raw_data as theirs
from prediction_runs import TIES, assert_same_segmentations, environment, nnunet_predict
from raw_images import copy_images

from fastnnunet_loader.cli import command as cli
from fastnnunet_loader.cli import predict
from nnunet.programs import RUN, SCRIPTS, call, needs_the_installed_package, printed

CITATION = "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation."


class _Seen(Exception):
    """Carries a parser out of the command that made it."""


def parser_of(command: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    def parse_args(self: argparse.ArgumentParser, *_: Any) -> None:
        raise _Seen(self)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(_Seen) as seen:
            command()
    parser: argparse.ArgumentParser = seen.value.args[0]
    return parser


@pytest.mark.parametrize("command", [theirs.predict_entry_point, theirs.predict_entry_point_modelfolder])
def test_all_of_nnunets_options_are_taken(command: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    wanted = parser_of(command, monkeypatch)
    ours = argparse.ArgumentParser(allow_abbrev=False)
    predict.add_arguments(ours)
    named = {option: action for action in ours._actions for option in action.option_strings}
    left_open = {"-p": "nnUNetPlans", "-tr": "nnUNetTrainer"}  # None where a folder is named instead
    for action in wanted._actions:
        for option in set(action.option_strings) - {"-h", "--help"}:
            assert option in named, option
            assert named[option].nargs == action.nargs, option
            assert named[option].default == (None if option in left_open else action.default), option
            assert left_open.get(option, action.default) == action.default, option


def test_citation_is_nnunets(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for command in (theirs.predict_entry_point, theirs.predict_entry_point_modelfolder):
        capsys.readouterr()
        parser_of(command, monkeypatch)
        assert capsys.readouterr().out == predict.citation(command) + "\n"
        assert CITATION in predict.citation(command)
    assert CITATION in predict.citation(lambda: None)


def test_a_folder_alone_is_enough(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    dataset, model = trained()
    images = copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    common = ["-i", str(images), "-f", "0", "-device", "cpu", "--disable_tta", "-step_size", "1"]
    trainer, plans, configuration = model.name.split("__")
    named = ["-d", dataset.name, "-tr", trainer, "-p", plans, "-c", configuration]
    monkeypatch.setenv("nnUNet_results", str(model.parents[1]))
    assert cli.main(["predict", *common, *named, "-o", str(tmp_path / "named")]) == 0
    exported = tmp_path / "a model's own folder"
    shutil.copytree(model, exported)
    for name in ("nnUNet_results", "nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.delenv(name, raising=False)
    capsys.readouterr()
    assert cli.main(["predict", *common, "-m", str(exported), "-o", str(tmp_path / "alone")]) == 0
    assert capsys.readouterr().out.count(predict.citation(theirs.predict_entry_point)) == 1
    assert_same_segmentations(tmp_path / "alone", tmp_path / "named")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["-m", "MODEL", "-d", "1", "-c", "3d_fullres"], "[-m] expected the folder of a model alone, got also -d, -c"),
        ([], "[-d, -c] expected -d DATASET and -c CONFIG, or -m FOLDER"),
        (["-c", "3d_fullres"], "[-d] expected -d DATASET and -c CONFIG"),
        (["-m", "MODEL/fold_0"], "expected plans.json in MODEL/fold_0, got none\n  it is in: MODEL"),
        (["-m", "MODEL/.."], "expected plans.json in MODEL/.., got none\n  it is in: "),
        (["-m", "nowhere"], "expected a trained model in nowhere, got no such folder"),
        (["-m", "MODEL", "-f", "7"], "expected checkpoint_final.pth in MODEL/fold_7, got none\n  it is in: fold_0"),
    ],
)
def test_what_is_missing_is_named(trained: Any, tmp_path: Path, capsys: Any, more: list[str], said: str) -> None:
    _, model = trained()
    arguments = [word.replace("MODEL", str(model)) for word in more]
    folder = tmp_path / "images"
    folder.mkdir()
    assert cli.main(["predict", "-i", str(folder), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert said.replace("MODEL", str(model)) in capsys.readouterr().err


@pytest.mark.slow
def test_nnunets_command_for_folders_runs_under_this_package(trained: Any, tmp_path: Path) -> None:
    needs_the_installed_package()
    dataset, model = trained()
    images = copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    nnunet_predict(dataset, model, images, tmp_path / "theirs", "--disable_tta", "-npp", "0", "-nps", "0")
    program = [sys.executable, SCRIPTS / "nnUNetv2_predict_from_modelfolder"]
    options = ["-i", images, "-m", model, "-f", "0", "-device", "cpu", "--disable_tta"]
    variables = {**os.environ, **environment(dataset, model), "nnUNet_results": ""}
    said = printed(call(*RUN, *program, *options, "-o", tmp_path / "ours", environment=variables))
    assert any(CITATION in line for line in said)
    assert_same_segmentations(tmp_path / "ours", tmp_path / "theirs", TIES)
