"""HD-BET, which gives nnU-Net lists of files, whose names are not nnU-Net's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ..guest import FIRST, LAST, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]


def _prepare(scene: Scene) -> Mapping[str, str]:
    # It gives whole names of files to nnU-Net, as "truncated" ones: the data set's own ending is empty.
    put_model(
        scene.model, scene.folder / "hd-bet_params" / "release_2.0.0", fold="all", mirrored=True, changes={"file_ending": ""}
    )
    images = scene.folder / "images"
    images.mkdir()
    for image in scene.images:
        shutil.copy(image, images / image.name.replace("_0000", ""))
    return {"HOME": str(scene.folder)}


def _arguments(*options: str) -> Callable[[Scene, Path], list[str]]:
    def arguments(scene: Scene, results: Path) -> list[str]:
        return ["-i", str(scene.folder / "images"), "-o", str(results), "-device", "cpu", "--save_bet_mask", *options]

    return arguments


GUEST = Guest(
    name="HD-BET",
    distribution="HD-BET==2.0.1",
    works=(
        Work("hd-bet (a folder, images and masks)", "HD_BET.entry_point:main", _arguments(), orders=(FIRST, LAST)),
        Work("hd-bet --disable_tta --no_bet_image", "HD_BET.entry_point:main", _arguments("--disable_tta", "--no_bet_image")),
    ),
    prepare=_prepare,
    own=("HD_BET/hd_bet_prediction.py",),  # a pool that applies the masks
)
