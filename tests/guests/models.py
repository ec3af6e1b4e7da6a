"""A trained network in the places and under the names that programs look for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["put_model"]


def put_model(
    model: Path,
    folder: Path,
    *,
    trainer: str = "nnUNetTrainer",
    fold: str = "0",
    mirrored: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Copy a trained model, with its first fold alone, as if another trainer had made it.

    Args:
        model: as nnU-Net wrote it.
        folder: where it is to be.
        trainer: a trainer's name that the program's nnU-Net knows.
        fold: the fold's name there.
        mirrored: whether the network may be given mirrored windows too, eight for each; it takes eight times as long.
        changes: of dataset.json.
    """
    (folder / f"fold_{fold}").mkdir(parents=True)
    for name in ("plans.json", "dataset_fingerprint.json"):
        if (model / name).is_file():
            shutil.copy(model / name, folder)
    dataset = json.loads((model / "dataset.json").read_text(encoding="utf-8"))
    (folder / "dataset.json").write_text(json.dumps({**dataset, **(changes or {})}), encoding="utf-8")
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    checkpoint["trainer_name"] = trainer
    if not mirrored:
        checkpoint["inference_allowed_mirroring_axes"] = None
    for name in ("final", "best"):
        torch.save(checkpoint, folder / f"fold_{fold}" / f"checkpoint_{name}.pth")
    return folder
