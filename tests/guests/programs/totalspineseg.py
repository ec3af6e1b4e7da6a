"""TotalSpineSeg, whose step with nnU-Net is a command of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..guest import FIRST, LAST, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]

_STEP = "Dataset101_TotalSpineSeg_step1"


def _prepare(scene: Scene) -> Mapping[str, str]:
    put_model(scene.model, scene.folder / "weights" / _STEP / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    return {}


def _predict(scene: Scene, results: Path) -> list[str]:
    (results.parent / "nnUNet_results").symlink_to(scene.folder / "weights")  # the command looks there, whatever is set
    return ["-i", str(scene.images[0].parent), "-o", str(results), "-d", "101", "-c", "3d_fullres", "-f", "0", "-device", "cpu"]


GUEST = Guest(
    name="TotalSpineSeg",
    distribution="totalspineseg==20260807",
    works=(Work("totalspineseg_predict_nnunet", "totalspineseg.utils.predict_nnunet:main", _predict, orders=(FIRST, LAST)),),
    prepare=_prepare,
    note="its other steps need the labels of a spine, which the network here does not know; this is its step with nnU-Net",
)
