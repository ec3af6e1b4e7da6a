"""TotalSpineSeg, which runs two networks one after the other and works on probabilities and labels in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..guest import FIRST, LAST, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]

_STEPS = ("Dataset101_TotalSpineSeg_step1", "Dataset102_TotalSpineSeg_step2")


def _prepare(scene: Scene) -> Mapping[str, str]:
    for step in _STEPS:
        put_model(scene.model, scene.folder / "nnUNet" / "results" / step / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    return {"TOTALSPINESEG_DATA": str(scene.folder), "nnUNet_results": str(scene.folder / "nnUNet" / "results")}


def _arguments(*options: str) -> Callable[[Scene, Path], list[str]]:
    def arguments(scene: Scene, results: Path) -> list[str]:
        # It forks for its own work, and may stand still for ever, for torch has threads: it has an option against that.
        under = ["--device", "cpu", "--max-workers", "1", "--no-stalling"]
        return [str(scene.images[0]), str(results), *under, *options]

    return arguments


def _predict(scene: Scene, results: Path) -> list[str]:
    return ["-i", str(scene.images[0].parent), "-o", str(results), "-d", "101", "-c", "3d_fullres", "-f", "0", "-device", "cpu"]


GUEST = Guest(
    name="TotalSpineSeg",
    distribution="totalspineseg==20260807",
    works=(
        Work("totalspineseg --step1", "totalspineseg.inference:main", _arguments("--step1"), orders=(FIRST, LAST)),
        Work("totalspineseg_predict_nnunet", "totalspineseg.utils.predict_nnunet:main", _predict),
    ),
    prepare=_prepare,
    own=("totalspineseg/", "tqdm/"),  # process_map for everything but the networks
)
