"""What the command does where something is wrong, or where it is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from prediction_runs import OURS, environment, options
from raw_images import copy_images

from fastnnunet_loader import cli

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(trained: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Path]:
    """A data set and a network trained on it, which the command finds."""
    dataset, folder = trained()
    monkeypatch.setenv("nnUNet_results", str(folder.parents[1]))
    return dataset, folder


@pytest.fixture
def command(model: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process: exit code, output, errors."""

    def run(*more: str, images: Path = tmp_path / "images", output: Path = tmp_path / "out") -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["predict", *options(model[1], images, output, "--disable_tta", "-step_size", "1", *more)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def images(model: tuple[Any, Path], tmp_path: Path) -> Path:
    """Two good cases, one that is cut off, and one with two channels where the network takes one."""
    folder = copy_images(model[0], tmp_path / "images", 4, (1, 1, 1))
    cut = folder / "brain_001_0000.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-2000])
    shutil.copy(folder / "brain_002_0000.nii.gz", folder / "brain_002_0001.nii.gz")
    return folder


def segmentations(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.nii.gz"))


def test_bad_case_stops_everything_before_the_first_is_predicted(command: Command, images: Path, tmp_path: Path) -> None:
    code, _, said = command()
    assert code == 1
    assert f"[brain_001] {images / 'brain_001_0000.nii.gz'}: expected " in said
    assert "2 cases cannot be predicted: brain_001, brain_002" in said
    assert "Traceback" not in said
    assert segmentations(tmp_path / "out") == []


def test_bad_cases_are_skipped_and_listed(command: Command, images: Path, tmp_path: Path) -> None:
    code, out, said = command("--on-bad-case", "skip")
    assert code == 1
    assert segmentations(tmp_path / "out") == ["brain_000.nii.gz", "brain_003.nii.gz"]
    assert "2 cases predicted" in out
    assert "2 bad cases were left out:" in said
    assert "[brain_002]" in said
    assert "expected 1 channel (T1), got 2" in said
    assert not [file for file in (tmp_path / "out").iterdir() if file.name.startswith(".")]


def test_failure_on_the_way_is_skipped_and_listed(
    command: Command, model: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    copy_images(model[0], tmp_path / "images", 2, (1, 1, 1))
    original = nnUNetPredictor.predict_logits_from_preprocessed_data
    calls: list[int] = []

    def failing_once(self: Any, data: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return original(self, data)

    monkeypatch.setattr(nnUNetPredictor, "predict_logits_from_preprocessed_data", failing_once)
    code, _, said = command("--on-bad-case", "skip")
    assert code == 1
    assert segmentations(tmp_path / "out") == ["brain_001.nii.gz"]
    assert "[brain_000] expected to predict it, got RuntimeError: out of memory" in said


def test_case_beyond_the_budget_is_refused_by_name(command: Command, model: tuple[Any, Path], tmp_path: Path) -> None:
    copy_images(model[0], tmp_path / "images", 2, (1, 1, 1))
    large = tmp_path / "images" / "brain_001_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((300, 300, 300), np.uint8), np.eye(4) * 4), large)
    code, _, said = command("--on-bad-case", "skip", "--memory-budget", "200MB")
    assert code == 1
    assert segmentations(tmp_path / "out") == ["brain_000.nii.gz"]
    assert f"[brain_001] {large}: expected a memory budget of at least" in said
    assert command("--memory-budget", "200MB", output=tmp_path / "other")[0] == 1
    assert segmentations(tmp_path / "other") == []


def test_continued_prediction_leaves_what_is_there(command: Command, model: tuple[Any, Path], tmp_path: Path) -> None:
    copy_images(model[0], tmp_path / "images", 2, (1, 1, 1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "brain_000.nii.gz").write_bytes(b"there")
    code, out, _ = command("--continue_prediction")
    assert code == 0
    assert "1 of 2 cases to predict" in out
    assert (tmp_path / "out" / "brain_000.nii.gz").read_bytes() == b"there"
    assert segmentations(tmp_path / "out") == ["brain_000.nii.gz", "brain_001.nii.gz"]


def test_parts_share_the_cases(command: Command, model: tuple[Any, Path], tmp_path: Path) -> None:
    copy_images(model[0], tmp_path / "images", 3, (1, 1, 1))
    assert command("-num_parts", "2", "-part_id", "1")[0] == 0
    assert segmentations(tmp_path / "out") == ["brain_001.nii.gz"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-f", "3"), "expected checkpoint_final.pth in"),
        (("-chk", "other.pth"), "expected other.pth in"),
        (("-num_parts", "2", "-part_id", "2"), "[-part_id] expected a number from 0 to 1, got 2"),
        (("-prev_stage_predictions", "nowhere"), "[-prev_stage_predictions] expected a folder"),
        (("-d", "999"), "got '999'"),
        (("-tr", "Other"), "expected a trained model in"),
        (("-i", "nowhere"), "[-i] expected a folder, got nowhere"),
    ],
)
def test_wrong_arguments_are_named(command: Command, images: Path, more: tuple[str, ...], said: str) -> None:
    code, _, errors = command(*more)
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors


def test_output_that_cannot_be_written(command: Command, images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, errors = command(output=tmp_path / "file" / "below")
    assert code == 2
    assert "[-o] expected a folder that can be written to" in errors


def test_folder_without_images(command: Command, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    code, _, errors = command()
    assert code == 2
    assert "[-i] expected images that end with .nii.gz, got none" in errors


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_prediction_ends_at_once_and_leaves_whole_files(
    model: tuple[Any, Path], tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    folder, out = copy_images(model[0], tmp_path / "images", 6, (1.5, 1.5, 1.5)), tmp_path / "out"
    more = ("--save_probabilities", "-step_size", "0.3")
    process = subprocess.Popen(
        [*OURS, *options(model[1], folder, out, *more)],
        env=environment(*model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not segmentations(out) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(sent)
    stopped = time.monotonic()
    _, said = process.communicate()
    took = time.monotonic() - stopped
    assert process.returncode == code, said
    assert took < 2
    assert "Traceback" not in said
    assert 0 < len(segmentations(out)) < 6
    assert not [name for name in os.listdir(out) if name.startswith(".")]  # noqa: PTH208
    for file in out.glob("*.nii.gz"):
        np.asarray(nibabel.load(file).dataobj)
    for file in out.glob("*.npz"):
        with np.load(file) as archive:
            assert archive["probabilities"].ndim == 4
