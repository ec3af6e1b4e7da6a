"""Cases that were preprocessed here feed nnU-Net's own training, as those of nnU-Net feed ours (tests/nnunet/test_train.py)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from nnunet.programs import call
from nnunet.training_runs import TRAINERS, batches, output_folder

THEIRS = "from nnunetv2.run.run_training import run_training_entry as train; train()"


@pytest.mark.slow
def test_nnunets_own_training_takes_what_was_preprocessed_here(planned: Any, tmp_path: Path) -> None:
    dataset, folder = planned()
    results = tmp_path / "results"
    results.mkdir()
    variables = {
        **os.environ,
        **dataset.env,
        "nnUNet_preprocessed": str(folder.parent),
        "nnUNet_results": str(results),
        "nnUNet_extTrainer": str(TRAINERS),
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "RECORD_FILE": str(results / "batches.txt"),
    }
    for step in (["extract_fingerprint"], ["preprocess", "-c", "3d_fullres"]):
        done = call(sys.executable, "-m", "fastnnunet_loader.cli", *step, "-d", str(dataset.id), environment=variables)
        assert done.returncode == 0, done.stderr[-3000:]
    options = ["3d_fullres", "0", "-tr", "nnUNetTrainerRecording", "-device", "cpu"]
    done = call(sys.executable, "-c", THEIRS, str(dataset.id), *options, environment=variables)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "fastnnunet" not in done.stdout + done.stderr
    assert [line.split()[:2] for line in batches(results)] == [
        [phase, str(epoch)] for epoch in (0, 1) for phase in ("train", "train", "train", "val", "val")
    ]
    summary = json.loads((output_folder(dataset, results) / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert summary["metric_per_case"]
