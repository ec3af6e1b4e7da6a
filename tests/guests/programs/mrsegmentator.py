"""MRSegmentator, which predicts arrays, several at once or parts of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..guest import FIRST, LAST, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]


def _prepare(scene: Scene) -> Mapping[str, str]:
    return {"MRSEG_WEIGHTS_PATH": str(put_model(scene.model, scene.folder / "weights"))}


def _arguments(*options: str) -> Callable[[Scene, Path], list[str]]:
    def arguments(scene: Scene, results: Path) -> list[str]:
        return ["-i", str(scene.images[0].parent), "-o", str(results), "--cpu_only", "--fold", "0", *options]

    return arguments


GUEST = Guest(
    name="MRSegmentator",
    distribution="MRSegmentator==2.0.0",
    alone=("MRSegmentator==2.0.0",),
    requirements=("pydicom", "highdicom"),
    nnunet="2.8.0",
    works=(
        Work("mrsegmentator (arrays)", "mrsegmentator.main:main", _arguments(), orders=(FIRST, LAST)),
        Work("mrsegmentator --split_level 1 (an array at a time)", "mrsegmentator.main:main", _arguments("--split_level", "1")),
    ),
    prepare=_prepare,
    note="it asks for torch 2.10 at most, and runs with the one that is here",
)
