"""nnInteractive, which builds on nnU-Net's plans and networks, and on nothing that this package replaces."""

from __future__ import annotations

from collections.abc import Mapping

from ..guest import FIRST, LAST, Guest, Scene, Work

__all__ = ["GUEST"]


def _prepare(scene: Scene) -> Mapping[str, str]:
    return {"nnUNet_compile": "f"}


GUEST = Guest(
    name="nnInteractive",
    distribution="nnInteractive==2.6.0",
    works=(
        Work(
            "a session with two clicks",
            "nninteractive_works:session",
            lambda scene, results: [str(scene.model), str(scene.images[0]), str(results)],
            orders=(FIRST, LAST),
        ),
    ),
    prepare=_prepare,
)
