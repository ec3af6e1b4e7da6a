"""MOOSE, which preprocesses in threads of its own and gives nnU-Net an iterator."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..guest import FIRST, LAST, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]

_MODEL, _FOLDER = "clin_ct_organs", "Dataset123_Organs"
_URL = "https://github.com/ENHANCE-PET/MOOSE/releases/download/moosez-v.3.1.3/clin_ct_organs_ras_07052025.zip"
"""MOOSE removes weights whose record names another address than its own list."""


def _prepare(scene: Scene) -> Mapping[str, str]:
    folder = scene.site / "moosez" / "models" / "nnunet_trained_models" / _FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    put_model(scene.model, folder / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    (folder / "model_version.json").write_text(json.dumps({"url": _URL}), encoding="utf-8")
    return {}


def _arguments(scene: Scene, results: Path) -> list[str]:
    subject = results / "subject"
    subject.mkdir()
    shutil.copy(scene.images[0], subject / "CT_brain.nii.gz")
    return ["-d", str(results), "-m", _MODEL, "-v-off"]


GUEST = Guest(
    name="MOOSE",
    distribution="moosez==3.2.2",
    works=(Work(f"moosez -m {_MODEL}", "moosez.moosez:main", _arguments, orders=(FIRST, LAST)),),
    prepare=_prepare,
    own=("moosez/",),  # dcm2niix and the like, which it asks for their versions
)
