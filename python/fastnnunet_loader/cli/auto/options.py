"""What a run of `auto` is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...settings import Settings

__all__ = ["Fold", "Options"]

Fold = int | str
"""A number, or "all"."""


@dataclass(frozen=True)
class Options:
    """One data set, and what is to be made of it."""

    dataset: str
    """As nnU-Net has it: DatasetXXX_NAME."""
    raw: Path
    """The data set's folder in nnUNet_raw, which may be gone once everything is preprocessed."""
    preprocessed: Path
    results: Path
    """Its folders in nnUNet_preprocessed and nnUNet_results."""
    device: str
    trainer: str = "nnUNetTrainer"
    planner: str | type[Any] = "ExperimentPlanner"
    """A class of nnU-Net's planners, or its name."""
    gpu_memory_target: float | None = None
    """Gigabytes; None for the planner's."""
    plans: str | None = None
    """Name of the plans; None for the planner's."""
    configurations: tuple[str, ...] | None = None
    """None for all that nnU-Net trains by default and the plans have."""
    folds: tuple[Fold, ...] = (0, 1, 2, 3, 4)
    ensembling: bool = True
    npz: bool = False
    """Whether probabilities are kept although no ensemble needs them."""
    images: Path | None = None
    output: Path | None = None
    """Folders of images to predict, and for their segmentations."""
    settings: Settings = field(default_factory=Settings)
    summary: Path | None = None
    """Folder of the summary; None for one in `results`."""
