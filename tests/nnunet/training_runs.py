"""Runs `fastnnunet train` as a user does: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

TRAINERS = Path(__file__).parent / "trainers"
SHORT = ("-tr", "nnUNetTrainerRecording", "-device", "cpu", "--threads", "2")


def train(
    dataset: Any,
    results: Path,
    *options: str,
    configuration: str = "3d_fullres",
    fold: str = "0",
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Train on a data set with the recording trainer; `under` is a command that runs the command, such as strace."""
    results.mkdir(parents=True, exist_ok=True)
    variables = {
        **os.environ,
        **dataset.env,
        "nnUNet_results": str(results),
        "nnUNet_extTrainer": str(TRAINERS),
        "RECORD_FILE": str(results / "batches.txt"),
        **(environment or {}),
    }
    command = [*under, sys.executable, "-m", "fastnnunet_loader.cli", "train", dataset.name, configuration, fold]
    return subprocess.run(
        [*command, *SHORT, *options], env=variables, capture_output=True, encoding="utf-8", timeout=600, check=False
    )


def output_folder(
    dataset: Any, results: Path, configuration: str = "3d_fullres", fold: str = "0", trainer: str = "nnUNetTrainerRecording"
) -> Path:
    """Where nnU-Net keeps a training's files."""
    return results / dataset.name / f"{trainer}__nnUNetPlans__{configuration}" / f"fold_{fold}"


def log_of(output: Path) -> str:
    """All of nnU-Net's own logs of a training."""
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(output.glob("training_log_*.txt")))


def batches(results: Path) -> list[str]:
    """The lines that the recording trainer wrote."""
    return (results / "batches.txt").read_text(encoding="utf-8").splitlines()


def checkpoint(output: Path, name: str = "checkpoint_final.pth") -> dict[str, Any]:
    """A checkpoint, read as nnU-Net reads it."""
    loaded: dict[str, Any] = torch.load(output / name, map_location="cpu", weights_only=False)
    return loaded


def assert_finished(run: subprocess.CompletedProcess[str], output: Path) -> None:
    """The training ended well, with its final validation."""
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    summary = json.loads((output / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert summary["metric_per_case"]
    assert 0 <= summary["foreground_mean"]["Dice"] <= 1
