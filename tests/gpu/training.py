"""Trainings on a CUDA device, in processes of their own, as users start them."""

from __future__ import annotations

import os
import subprocess
import sys

import training_runs

from .check import Scene, check

INTERRUPTED = 130


def _train(scene: Scene, folder: str, *options: str, device: str = "cuda", ends: int = 0, **environment: str) -> None:
    run = training_runs.train(
        scene.dataset,
        scene.folder / folder,
        "-device",
        device,
        "--seed",
        "7",
        *options,
        environment={"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "nnUNet_compile": "f", **environment},
    )
    assert run.returncode == ends, run.stdout[-2000:] + run.stderr[-2000:]


@check("training: batches", "a training on the device gets the batches of one on the CPU, from pinned memory, resumed as well")
def batches_are_those_of_the_cpu(scene: Scene) -> str:
    _train(scene, "cpu", device="cpu")
    _train(scene, "stopped", RECORD_STOP_AFTER="1", ends=INTERRUPTED)
    _train(scene, "stopped", "--c")
    expected, got = training_runs.batches(scene.folder / "cpu"), training_runs.batches(scene.folder / "stopped")
    assert got == expected, f"{sum(a != b for a, b in zip(got, expected, strict=False))} of {len(expected)} batches differ"
    output = training_runs.output_folder(scene.dataset, scene.folder / "stopped")
    log = training_runs.log_of(output)
    assert "pinned memory" in log, log[-2000:]
    assert (output / "validation" / "summary.json").is_file()
    return f"{len(got)} batches, stopped after the first epoch and resumed, 0 differ; final validation done"


@check(
    "training: torch.compile", "nnU-Net's own command under `fastnnunet run` trains a compiled network to its final validation"
)
def compiled(scene: Scene) -> str:
    results = scene.folder / "results"
    results.mkdir()
    environment = {**os.environ, **scene.dataset.env, "nnUNet_results": str(results)}
    environment.update(nnUNet_extTrainer=str(training_runs.TRAINERS), RECORD_FILE=str(results / "batches.txt"))
    environment.update(CUBLAS_WORKSPACE_CONFIG=":4096:8", nnUNet_compile="t")
    nnunet = "from nnunetv2.run.run_training import run_training_entry as train; train()"
    command = [sys.executable, "-m", "fastnnunet_loader.cli", "run", "--seed", "7", sys.executable, "-c", nnunet]
    command += [scene.dataset.name, "3d_fullres", "0", "-tr", "nnUNetTrainerRecording"]
    run = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    output = training_runs.output_folder(scene.dataset, results)
    training_runs.assert_finished(run, output)
    log = training_runs.log_of(output)
    assert "pinned memory" in log, log[-2000:]
    assert "Using torch.compile" in run.stdout + log, run.stdout[-2000:]
    return f"{len(training_runs.batches(results))} batches; final validation done"
