"""MONAI's nnunet_bundle: nnU-Net's trainer and loaders in MONAI's engine, nnU-Net's predictor as a network of MONAI's."""

from __future__ import annotations

from collections.abc import Mapping

from ..guest import FIRST, LAST, Guest, Scene, Work
from ..models import put_model

__all__ = ["GUEST"]


def _prepare(scene: Scene) -> Mapping[str, str]:
    results = scene.folder / "nnUNet_results"
    put_model(scene.model, results / scene.dataset.name / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    return {**scene.dataset.env, "nnUNet_results": str(results), "nnUNet_n_proc_DA": "2"}


GUEST = Guest(
    name="MONAI nnunet_bundle",
    distribution="monai==1.6.1",
    requirements=("pytorch-ignite",),
    nnunet="2.6.4",
    note="with nnU-Net 2.8.1 its predictor fails by itself: build_network_architecture() takes other arguments there",
    works=(
        Work(
            "get_nnunet_trainer in a SupervisedTrainer",
            "monai_bundle_works:train",
            lambda scene, results: [str(scene.dataset.id)],
            orders=(FIRST, LAST),
            compared=False,
        ),
        Work(
            "get_nnunet_monai_predictor",
            "monai_bundle_works:predict",
            lambda scene, results: [str(scene.dataset.id), str(results), str(scene.images[0])],
            orders=(FIRST, LAST),
        ),
    ),
    prepare=_prepare,
)
