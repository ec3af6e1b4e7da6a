"""MONAI's nnUNetV2Runner, which runs nnU-Net's training command in a process of its own, and predicts in this one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..guest import FIRST, LAST, RUN, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]

# MONAI's runner asks for CUDA and has no option that says otherwise.
_COMMAND = """#!{python}
import os, sys
under = [sys.executable, {under!r}, os.environ["GUEST_ORDER"], "", "nnunetv2.run.run_training:run_training_entry"]
os.execv(sys.executable, [*under, *sys.argv[1:], "-device", "cpu"])
"""


def _prepare(scene: Scene) -> Mapping[str, str]:
    put_model(scene.model, scene.folder / "model")
    command = scene.folder / "bin" / "nnUNetv2_train"
    command.parent.mkdir()
    under = Path(__file__).parents[1] / "under.py"
    command.write_text(_COMMAND.format(python=scene.python, under=str(under)), encoding="utf-8")
    command.chmod(0o755)
    return {**scene.dataset.env, "nnUNet_n_proc_DA": "2"}


GUEST = Guest(
    name="MONAI nnUNetV2Runner",
    distribution="monai==1.6.1",
    requirements=("fire", "pyyaml"),
    works=(
        Work(
            "train_single_model (2 epochs, validation)",
            "monai_runner_works:train",
            lambda scene, results: [str(scene.dataset.id), str(results)],
            orders=(FIRST, RUN),
            compared=False,
        ),
        Work(
            "predict",
            "monai_runner_works:predict",
            lambda scene, results: [
                str(scene.dataset.id),
                str(results),
                str(scene.images[0].parent),
                str(scene.folder / "model"),
            ],
            orders=(FIRST, LAST),
        ),
    ),
    prepare=_prepare,
    own=("monai/",),  # nnUNetv2_train
)
