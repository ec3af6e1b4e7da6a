"""Networks for the tests of prediction: trained for a moment on a data set, kept in a folder between runs.

`python tests/prediction/models.py NAME CONFIGURATION FOLD` trains one where nnU-Net's environment says.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

TRAINER = "nnUNetTrainerDemo"
ITERATIONS = 30


def model_folder(dataset: Any, cache: Path, configuration: str = "3d_fullres", folds: tuple[int, ...] = (0,)) -> Path:
    """The folder of a trained configuration, with its folds: nnUNet_results / data set / the name that nnU-Net gives it."""
    # A retrained data set has another folder name, so a model belongs to the data it saw.
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    results = cache / f"models-{recipe}" / dataset.preprocessed.parent.name
    folder = results / dataset.name / f"{TRAINER}__nnUNetPlans__{configuration}"
    for fold in folds:
        if (folder / f"fold_{fold}" / "checkpoint_final.pth").is_file():
            continue
        if configuration == "3d_cascade_fullres" and not folder.is_dir():
            replace(dataset, results=results).add_previous_stage(TRAINER)
        environment = {**os.environ, **dataset.env, "nnUNet_results": str(results)}
        command = [sys.executable, __file__, dataset.name, configuration, str(fold)]
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return folder


def _train(name: str, configuration: str, fold: int) -> None:
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    import fastnnunet_loader as fl

    torch.manual_seed(fold)
    torch.set_num_threads(2)
    fl.install(seed=fold)
    trainer = get_trainer_from_args(name, configuration, fold, TRAINER, "nnUNetPlans", False, torch.device("cpu"))
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.02
    for _ in range(ITERATIONS):
        trainer.train_step(next(trainer.dataloader_train))
    # As a finished training leaves it; nnU-Net would save an unfinished epoch under another name.
    folder = Path(trainer.output_folder)
    trainer.save_checkpoint(str(folder / "unfinished.pth"))
    (folder / "unfinished.pth").rename(folder / "checkpoint_final.pth")
    trainer.dataloader_train._finish()
    trainer.dataloader_val._finish()


if __name__ == "__main__":
    _train(sys.argv[1], sys.argv[2], int(sys.argv[3]))
