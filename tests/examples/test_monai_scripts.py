"""The scripts with MONAI's networks and transforms run as their first lines say, and learn something."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "examples" / "scripts"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a script in one folder, so that the brains are made once."""
    folder = tmp_path_factory.mktemp("scripts")

    def output_of(script: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(SCRIPTS / script), *arguments],
            cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    output_of.folder = folder  # type: ignore[attr-defined]
    return output_of


@pytest.mark.parametrize("network", ["segresnet", "unet"])
def test_from_nifti_to_a_picture(run: Callable[..., str], network: str) -> None:
    printed = run("segment_brains.py", "--network", network, "--iterations", "40")
    dice = [float(found) for found in re.findall(r"matter of brain_005: Dice ([\d.]+)", printed)]
    assert len(dice) == 2 and dice[0] > 0.4, printed
    picture = np.asarray(Image.open(run.folder / "prediction.png"))  # type: ignore[attr-defined]
    assert set(np.unique(picture[:, picture.shape[1] // 3 :])) <= {0, 120, 240}


def test_a_script_is_short() -> None:
    lines = (SCRIPTS / "segment_brains.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80


def test_beside_monais_own_loader(run: Callable[..., str]) -> None:
    lines = run("against_monai.py", "--iterations", "6").splitlines()
    figures = r" +\d+\.\d+ iterations/s +\d+\.\d+ CPU seconds an iteration"
    assert [bool(re.fullmatch(name + figures, line)) for name, line in zip(("MONAI", "fastnnunet_loader"), lines, strict=True)]


def test_a_lightning_module_learns_from_a_packed_folder(run: Callable[..., str]) -> None:
    printed = run("lightning_brains.py", "--epochs", "2", "--accelerator", "cpu")
    dice = [float(found) for found in re.findall(r"Dice of \w+ matter': ([\d.]+)", printed)]
    assert len(dice) == 2 and max(dice) > 0.3, printed


def test_slices_are_classified(run: Callable[..., str]) -> None:
    printed = run("classify_slices.py", "--iterations", "120")
    assert float(printed.split()[0]) > 0.7, printed
