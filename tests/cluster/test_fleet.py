"""Predictions on a cluster of Ray's: a worker that is killed, a case that kills, and how a cluster is divided."""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from prediction_runs import OURS, labels, predict, run
from raw_images import copy_images

from fastnnunet_loader.cli.command import main
from fastnnunet_loader.cluster.fleet import Shares, shares
from fastnnunet_loader.errors import CommandError
from strikes import struck

FAST = ("--disable_tta", "-step_size", "1")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_worker_that_dies_loses_no_case_and_a_case_that_kills_is_given_up(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has written the files of brain_001, and is about to move them, is killed."""
    dataset, model = trained()
    images, ours, theirs = copy_images(dataset, tmp_path / "images", 4, (1, 1, 1)), tmp_path / "ours", tmp_path / "theirs"
    alone = copy_images(dataset, tmp_path / "alone", 1, (1, 1, 1))
    predict(dataset, model, alone, theirs, *FAST)
    ours.mkdir()
    done_before = ours / "brain_003.nii.gz"  # by a fleet that was ended
    done_before.write_bytes((theirs / "brain_000.nii.gz").read_bytes())
    stamp = done_before.stat().st_mtime_ns
    variables, record = struck(tmp_path / "site", r"brain_001\.nii\.gz", signal.SIGKILL)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = ("--ray", "local", "--ray-cpus", "1", "--ray-tries", "2", "--on-bad-case", "skip", "--continue_prediction")
    done = run(OURS, dataset, model, images, ours, *FAST, *options)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said[-3000:]
    assert len(set(record.read_text(encoding="utf-8").split())) == 2, said[-3000:]
    assert said.count("died with") == 2
    assert "1 bad cases were left out" in said and "2 cases predicted" in said
    assert "[brain_001]" in said and "2 workers died while they had the case" in said
    assert "3 of 3 cases (1 bad)" in done.stdout
    assert done_before.stat().st_mtime_ns == stamp
    names = {file.name for file in ours.iterdir() if file.name.endswith(".nii.gz") or file.name.startswith(".")}
    assert names == {"brain_000.nii.gz", "brain_002.nii.gz", "brain_003.nii.gz"}
    assert (labels(ours / "brain_000.nii.gz") == labels(theirs / "brain_000.nii.gz")).all()


@pytest.mark.parametrize(
    ("nodes", "device", "cpus", "wanted"),
    [
        ([{"CPU": 32.0, "GPU": 4.0}, {"CPU": 12.0, "GPU": 2.0}], "cuda", None, Shares(6, 6, 1, 4)),
        ([{"CPU": 32.0, "GPU": 4.0}, {"CPU": 64.0}], "cuda", None, Shares(4, 8, 1, 4)),
        ([{"CPU": 4.0, "GPU": 4.0}], "cuda", 2, Shares(2, 2, 1, 2)),
        ([{"CPU": 64.0}, {"CPU": 20.0}, {}], "cpu", None, Shares(10, 8, 0, 8)),
        ([{"CPU": 2.0}], "cpu", None, Shares(1, 2, 0, 1)),
        ([{"CPU": 2.0}], "cpu", 1, Shares(2, 1, 0, 2)),
    ],
)
def test_a_cluster_is_divided_by_gpus_or_processors(nodes: Any, device: str, cpus: int | None, wanted: Shares) -> None:
    assert shares(nodes, device, cpus) == wanted


def test_a_cluster_without_room_is_refused() -> None:
    with pytest.raises(CommandError, match=r"\[--ray\] expected machines with GPUs"):
        shares([{"CPU": 8.0}], "cuda", None)
    with pytest.raises(CommandError, match=r"\[--ray-cpus\] expected at most 8, as many as a machine has, got 9"):
        shares([{"CPU": 8.0}], "cpu", 9)


def test_what_ray_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["predict", "-i", str(tmp_path), "-o", str(tmp_path), "-m", str(tmp_path)]
    assert main([*common, "--ray-cpus", "2"]) == 2
    assert "[--ray-cpus] expected --ray with it" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main([*common, "--ray", "local"]) == 2
    assert "pip install ray" in capsys.readouterr().err
