"""TotalSegmentator, which replaces methods of nnUNetPredictor when it is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..guest import FIRST, LAST, RUN, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]

# The network for `--fast`. It knows three labels, which TotalSegmentator takes for spleen and kidneys.
_FOLDER = "Dataset297_TotalSegmentator_total_3mm_1559subj"
_TRAINER = "nnUNetTrainer_4000epochs_NoMirroring"


def _prepare(scene: Scene) -> Mapping[str, str]:
    weights, home = scene.folder / "weights", scene.folder / "home"
    put_model(scene.model, weights / _FOLDER / f"{_TRAINER}__nnUNetPlans__3d_fullres", trainer=_TRAINER)
    home.mkdir()
    settings = {"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0, "statistics_disclaimer_shown": True}
    (home / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return {
        "TOTALSEG_WEIGHTS_PATH": str(weights),
        "TOTALSEG_HOME_DIR": str(home),
        **dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), str(weights)),
    }


def _work(what: str, *options: str, file: bool, orders: tuple[str, ...] = (FIRST,)) -> Work:
    def arguments(scene: Scene, results: Path) -> list[str]:
        output = results / "segmentation.nii.gz" if file else results
        return ["-i", str(scene.images[0]), "-o", str(output), "--fast", "--device", "cpu", *options]

    return Work(
        what,
        "totalsegmentator.bin.TotalSegmentator:main",
        arguments,
        imports=("totalsegmentator.nnunet",),  # else it is imported where it is used
        orders=orders,
    )


GUEST = Guest(
    name="TotalSegmentator",
    distribution="TotalSegmentator==2.18.0",
    works=(
        _work("TotalSegmentator --fast -ml", "-ml", file=True, orders=(FIRST, LAST, RUN)),
        _work("TotalSegmentator --fast -ml -ho (its own export)", "-ml", "-ho", file=True, orders=(FIRST, LAST)),
        _work("TotalSegmentator --fast (a file for each class)", file=False),
    ),
    prepare=_prepare,
    own=("totalsegmentator/nnunet.py",),  # processes that write a file for each class
)
