"""`fastnnunet auto` as a user runs it: to its end, ended in between and again, and with something that is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.nnunet.processes import SHORT_PROGRAMS, created_processes, small_shared_memory

from fastnnunet_loader.cli.command import main

OPTIONS = ("-c", "2d", "-f", "0", "-tr", "nnUNetTrainerDemo", "--device", "cpu", "--threads", "2")
COMMAND = (sys.executable, "-m", "fastnnunet_loader.cli", "auto")


@pytest.fixture
def planned(nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A data set whose folder of preprocessed files is the test's own, and has plans and splits only."""
    dataset = nnunet_dataset("default")
    made = tmp_path / "nnUNet_preprocessed" / dataset.name
    made.mkdir(parents=True)
    for file in (dataset.preprocessed / dataset.name).glob("*.json"):
        shutil.copy(file, made)
    monkeypatch.setenv("nnUNet_preprocessed", str(made.parent))
    for name, value in (("EPOCHS", "1"), ("ITERATIONS", "1"), ("VAL_ITERATIONS", "1")):
        monkeypatch.setenv(f"FASTNNUNET_DEMO_{name}", value)
    threads = torch.get_num_threads()
    yield dataset
    torch.set_num_threads(threads)


def model(dataset: Any, configuration: str = "2d") -> Path:
    return Path(dataset.results, dataset.name, f"nnUNetTrainerDemo__nnUNetPlans__{configuration}", "fold_0")


def end_in_second_epoch(command: list[str], checkpoint: Path) -> tuple[int, str, str]:
    """Send SIGTERM once there is a checkpoint; exit code, and what was printed."""
    variables = {**os.environ, "FASTNNUNET_DEMO_EPOCHS": "1000"}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        end = time.monotonic() + 240
        while not checkpoint.is_file() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")
def test_a_run_that_was_ended_goes_on_to_the_predictions(planned: Any, tmp_path: Path, capsys: Any) -> None:
    images, out, trace = tmp_path / "images", tmp_path / "segmentations", tmp_path / "trace.txt"
    images.mkdir()
    shutil.copy(min((planned.raw / planned.name / "imagesTr").iterdir()), images / "new_0000.nii.gz")
    arguments = [str(planned.id), *OPTIONS, "-i", str(images), "-o", str(out)]
    checkpoint = model(planned) / "checkpoint_best.pth"
    code, said, error = end_in_second_epoch([*COMMAND, *arguments], checkpoint)
    assert (code, error.strip().splitlines()[-1]) == (
        143,
        "fastnnunet: ended by SIGTERM; the same command goes on from there",
    ), said[-2000:] + error[-2000:]
    assert "preprocessing of 2d: done" in said
    epochs = torch.load(checkpoint, map_location="cpu", weights_only=False)["current_epoch"]

    under = small_shared_memory()
    if shutil.which("strace"):
        under += ["strace", "-f", "--seccomp-bpf", "-e", "trace=process", "-o", str(trace)]
    done = subprocess.run(
        [*under, *COMMAND, *arguments], env={**os.environ, "FASTNNUNET_DEMO_EPOCHS": str(epochs + 1)},
        capture_output=True, encoding="utf-8", check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("fastnnunet: ")]
    assert "fastnnunet: preprocessing of 2d: finished before" in lines
    assert "fastnnunet: training of 2d, fold 0: continues from its last checkpoint" in lines
    assert "Epoch 0" not in done.stdout
    assert [file.name for file in out.glob("*.nii.gz")] == ["new.nii.gz"]
    page = planned.results / planned.name / "auto" / "nnUNetTrainerDemo__nnUNetPlans" / "summary.html"
    text = page.read_text(encoding="utf-8")
    for picture in ("patches_2d.png", "validation.png", f"{model(planned).relative_to(page.parents[2])}/progress.png"):
        assert picture in text
        assert (page.parent / picture).is_file() or (page.parents[2] / picture).is_file()
    if trace.is_file():
        created = created_processes(trace.read_text(encoding="utf-8", errors="replace"))
        assert "hostname" in created.values(), "nnU-Net's look at the host's name must be seen, or nothing would be"
        assert set(created.values()) <= SHORT_PROGRAMS, created

    # Then there is one more image, and nothing else to do.
    trained, segmentation = (model(planned) / "checkpoint_final.pth").stat().st_mtime_ns, (out / "new.nii.gz").read_bytes()
    shutil.copy(images / "new_0000.nii.gz", images / "newer_0000.nii.gz")
    capsys.readouterr()
    assert main(["auto", *arguments]) == 0
    said = capsys.readouterr().out
    for step in ("preprocessing of 2d", "training of 2d, fold 0", "choice of the best configuration"):
        assert f"fastnnunet: {step}: finished before" in said
    assert "fastnnunet: 1 of 2 cases to predict" in said
    assert (model(planned) / "checkpoint_final.pth").stat().st_mtime_ns == trained
    assert [(out / f"{name}.nii.gz").read_bytes() for name in ("new", "newer")] == [segmentation] * 2


def test_a_training_that_fails_is_named_with_its_file(planned: Any, capsys: Any) -> None:
    folder = model(planned)
    folder.mkdir(parents=True)
    (folder / "checkpoint_latest.pth").write_bytes(b"no checkpoint")
    assert main(["auto", planned.name, *OPTIONS]) == 1
    error = capsys.readouterr().err
    (line,) = (line for line in error.splitlines() if line.startswith("fastnnunet: error: "))
    assert line.startswith(f"fastnnunet: error: training of 2d, fold 0: [{folder / 'checkpoint_latest.pth'}] expected a check")


def test_a_bad_raw_file_is_named_before_any_work(planned: Any, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    shutil.copytree(planned.raw / planned.name, tmp_path / "raw" / planned.name)
    bad = tmp_path / "raw" / planned.name / "labelsTr" / "brain_002.nii.gz"
    bad.write_bytes(bad.read_bytes()[:20])
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    assert main(["auto", planned.name, *OPTIONS]) == 2
    said = capsys.readouterr()
    assert "fastnnunet: error: check of machine and raw files: raw files: " in said.err
    assert str(bad) in said.err
    assert "fastnnunet: preprocessing" not in said.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-c", "3d_lowres"], "[-c] expected configurations of nnUNetPlans, got 3d_lowres; there are: 2d, 3d_fullres"),
        (["-i", "."], "[-i, -o] expected both, to predict, or neither, got one of them"),
        (["-f", "all", "0"], "[-f] expected numbers or 'all', got both"),
        (["-tr", "nnUNetTrainerNone"], "[-tr] expected a trainer of nnU-Net"),
        (["-pl", "NoPlanner"], "[-pl] expected a planner of nnU-Net, got 'NoPlanner'"),
    ],
)
def test_what_cannot_be_done_is_refused(planned: Any, capsys: Any, options: list[str], said: str) -> None:
    assert main(["auto", planned.name, "--device", "cpu", "-tr", "nnUNetTrainerDemo", *options]) == 2
    assert said in capsys.readouterr().err
    assert not planned.results.joinpath(planned.name).exists()


def test_cases_that_were_added_after_planning_are_told_of(
    planned: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw" / planned.name
    shutil.copytree(planned.raw / planned.name, raw)
    for folder, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        shutil.copy(raw / folder / f"brain_000{ending}", raw / folder / f"brain_100{ending}")
    monkeypatch.setenv("nnUNet_raw", str(raw.parent))
    assert main(["auto", planned.name, *OPTIONS]) == 2
    assert "expected a fingerprint of the 7 raw cases, got one of 6" in capsys.readouterr().err
