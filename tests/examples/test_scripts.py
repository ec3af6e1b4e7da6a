"""The examples that are scripts run as their first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets import Dataset

EXAMPLES = Path(__file__).parents[2] / "examples"


def output_of(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        env={**os.environ, "EPOCHS": "1", "ITERATIONS": "2", "nnUNet_compile": "f"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def test_transforms_by_hand() -> None:
    printed = output_of("transforms_by_hand.py")
    assert "SpatialTransform" in printed
    assert printed.endswith("image (1, 48, 48, 48) segmentation (1, 48, 48, 48)\n")


@pytest.mark.slow
def test_a_training_in_a_script(nnunet_dataset: Callable[[str], Dataset]) -> None:
    dataset = nnunet_dataset("default")
    assert "seed 1234" in output_of("training_script.py", dataset.name, "3d_fullres", "0", "cpu")
    (folder,) = (dataset.results / dataset.name).iterdir()
    assert (folder / "fold_0" / "validation" / "summary.json").is_file()
