"""The data sets of the benchmarks: brains of 1 mm with patches of the size that nnU-Net plans for most data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from scipy.spatial import cKDTree

from fastnnunet_loader import demo

PARCELS = 116


def hemispheres(labels: np.ndarray, anatomy: demo.Anatomy, _: np.random.Generator) -> np.ndarray:
    """Give grey and white matter of the left and right hemisphere a label each."""
    labels[(labels > 0) & (anatomy.left < 0.5)] += 2
    return labels


def parcels(tissue: np.ndarray, anatomy: demo.Anatomy, _: np.random.Generator) -> np.ndarray:
    """Divide grey (1) and white matter (2) by which of PARCELS / 2 places in the template is nearest."""
    inside = np.random.default_rng(0).uniform(0.15, 0.85, (PARCELS // 2, 3)) * anatomy.template
    labels = np.zeros_like(tissue)
    voxels = tissue > 0
    nearest = cKDTree(inside).query(anatomy.where[:, voxels].T)[1]
    labels[voxels] = 1 + nearest + (PARCELS // 2) * (tissue[voxels] == 2)
    return labels


VARIANTS: dict[str, demo.Variant] = {
    "brains128": demo.Variant(
        labels={"background": 0, "grey_left": 1, "white_left": 2, "grey_right": 3, "white_right": 4},
        relabel=hemispheres,
    ),
    "four_channels": demo.Variant(channels=("T1", "T1ce", "T2", "FLAIR"), air=0.0),
    "parcels": demo.Variant(
        labels={"background": 0, **{f"area_{number}": number for number in range(1, PARCELS + 1)}}, relabel=parcels
    ),
}


class BrainsPlanner(ExperimentPlanner):
    """nnU-Net's default planner with the 3D patch fixed at 128^3 and five poolings, as it plans for most data sets."""

    PATCH = (128, 128, 128)
    BATCH_2D = 50

    def get_plans_for_configuration(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Plan as nnU-Net does and then fix the patch in 3D, the batch in 2D."""
        plan: dict[str, Any] = super().get_plans_for_configuration(*args, **kwargs)
        if len(plan["patch_size"]) == 2:
            plan["batch_size"] = self.BATCH_2D
        else:
            plan["batch_size"] = 2
            plan["patch_size"] = np.array(self.PATCH)
            plan["architecture"]["arch_kwargs"].update(
                n_stages=6,
                features_per_stage=(32, 64, 128, 256, 320, 320),
                kernel_sizes=[[3, 3, 3]] * 6,
                strides=[[1, 1, 1]] + [[2, 2, 2]] * 4 + [[1 if size % 32 else 2 for size in self.PATCH]],
                n_conv_per_stage=(2,) * 6,
                n_conv_per_stage_decoder=(2,) * 5,
            )
        return plan


class ParcelsPlanner(BrainsPlanner):
    """The same with a smaller patch, as many labels make nnU-Net plan."""

    PATCH = (112, 128, 112)
