"""What type checkers know of batches: mypy --strict over scripts of users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import torch
from small_folders import numpy_folder

import fastnnunet_loader as fl

SCRIPT = """
from __future__ import annotations

from typing import TypedDict

import torch

import fastnnunet_loader as fl


class Mine(TypedDict):
    scan: torch.Tensor
    mask: list[torch.Tensor]
    case: list[str]
    age: torch.Tensor


def train(loader: fl.DataLoader[fl.Batch]) -> float:
    total = 0.0
    for batch in loader:
        total += float(batch["image"].mean()) + float(batch["label"].float().mean())
        names: list[str] = batch["case"]
        assert names
    return total


with fl.DataLoader[fl.Batch].from_folder("cases", patch_size=(8, 8, 8), batch_size=2, batches_per_epoch=3, seed=1) as loader:
    train(loader)
with fl.DataLoader[Mine].from_folder(
    "cases", patch_size=(8, 8, 8), batch_size=2, image_key="scan", label_key="mask", per_case={"age": [1.0]}, num_workers=2
) as mine:
    ages: torch.Tensor = next(mine)["age"] + next(mine)["mask"][0]
loose = fl.DataLoader.from_arrays([torch.zeros(8, 8, 8)], patch_size=(8, 8, 8), batch_size=2, generator=torch.Generator())
anything: int = next(loose)["what I want"]
"""


def mypy(folder: Path, text: str) -> str:
    (folder / "script.py").write_text(text, encoding="utf-8")
    package = Path(fl.__file__).parents[1]
    # mypy finds what is installed by itself, and refuses to be told.
    path = "" if package.name == "site-packages" else f"mypy_path = {package}\n"
    (folder / "mypy.ini").write_text(f"[mypy]\n{path}", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=300, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_script_passes_strict_checks_and_its_mistakes_are_found(tmp_path: Path) -> None:
    assert "Success: no issues found" in mypy(tmp_path, SCRIPT)
    wrong = SCRIPT.replace('next(mine)["age"]', 'next(mine)["agee"]').replace('batch["image"].mean()', 'batch["case"].mean()')
    wrong = wrong.replace("num_workers=2", 'num_workers="2"')
    said = mypy(tmp_path, wrong)
    assert 'TypedDict "Mine" has no key "agee"' in said
    assert '"list[str]" has no attribute "mean"' in said
    assert 'Argument "num_workers" to "from_folder" of "DataLoader" has incompatible type "str"' in said
    assert "Found 3 errors" in said


def test_a_batch_is_of_the_type_that_is_told(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases")
    with fl.DataLoader[fl.Batch].from_folder(root, patch_size=(8, 8, 8), batch_size=2, threads=1, seed=1) as loader:
        assert type(loader) is fl.DataLoader
        batch = next(loader)
    told = get_type_hints(fl.Batch)
    assert set(batch) == set(told) == {"image", "label", "case"}
    assert isinstance(batch["image"], torch.Tensor)
    assert isinstance(batch["label"], torch.Tensor)
    assert isinstance(batch["case"], list)
