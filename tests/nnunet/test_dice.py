"""Training with this loader ends where training with nnU-Net's own does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SEEDS = (1, 2, 3)
EPOCHS, ITERATIONS = 4, 12

SCRIPT = """
import sys
import torch

if __name__ == "__main__":
    loader, seed, dataset = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if loader == "fastnnunet":
        import fastnnunet_loader
        fastnnunet_loader.install(threads=1, seed=seed)
    from nnunetv2.run.run_training import run_training
    torch.manual_seed(seed)
    run_training(dataset, "3d_fullres", 0, "nnUNetTrainerDemo", device=torch.device("cpu"))
"""


def final_dice(loader: str, seed: int, dataset: Any, folder: Path) -> float:
    """Train in a process of its own, and return the final validation's Dice."""
    folder.mkdir(parents=True)
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = {
        **os.environ, **dataset.env, "nnUNet_results": str(folder), "nnUNet_n_proc_DA": "1",
        "FASTNNUNET_DEMO_EPOCHS": str(EPOCHS), "FASTNNUNET_DEMO_ITERATIONS": str(ITERATIONS),
        "FASTNNUNET_DEMO_VAL_ITERATIONS": "1",
    }  # fmt: skip
    command = [sys.executable, str(script), loader, str(seed), dataset.name]
    run = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=900, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    said = "in-process" if loader == "fastnnunet" else "processes"
    assert ("fastnnunet_loader, training" in run.stdout) == (loader == "fastnnunet"), f"expected batches from {said}"
    (summary,) = folder.glob("*/*/fold_0/validation/summary.json")
    return float(json.loads(summary.read_text(encoding="utf-8"))["foreground_mean"]["Dice"])


@pytest.mark.long
def test_final_dice_agrees_within_the_spread_of_seeds(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    dice = {
        loader: [final_dice(loader, seed, dataset, tmp_path / loader / str(seed)) for seed in SEEDS]
        for loader in ("fastnnunet", "nnunet")
    }
    mean = {loader: sum(values) / len(values) for loader, values in dice.items()}
    spread = max(max(values) - min(values) for values in dice.values())
    print(f"final Dice by seed: {dice}")
    assert abs(mean["fastnnunet"] - mean["nnunet"]) <= spread, dice
    # Trained networks, or the comparison would say nothing: untrained ones are below 0.1.
    assert min(mean.values()) > 0.4, dice
