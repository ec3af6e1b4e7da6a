"""Planning and preprocessing by nnU-Net itself, with networks and patches small enough to train on a CPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

from ..threads import ThreadPool


def trainer_folder() -> Path:
    """Return the folder with nnUNetTrainerDemo, to be given to nnU-Net as ``nnUNet_extTrainer``."""
    return Path(__file__).parent / "trainers"


def nnunet_environment(root: Path) -> dict[str, str]:
    """Return the variables that make nnU-Net keep everything under root and find the demo's trainer."""
    return {
        "nnUNet_raw": str(root / "nnUNet_raw"),
        "nnUNet_preprocessed": str(root / "nnUNet_preprocessed"),
        "nnUNet_results": str(root / "nnUNet_results"),
        "nnUNet_extTrainer": str(trainer_folder()),
        # Compiling a network this small takes longer than training it.
        "nnUNet_compile": "f",
    }


class DemoPlanner(ExperimentPlanner):  # type: ignore[misc]
    """nnU-Net's planner with a quarter of the feature maps, and patches of about 32^3 for its default memory target."""

    def __init__(self, dataset_name_or_id: str | int, gpu_memory_target_in_gb: float = 0.02, **kwargs: Any) -> None:
        super().__init__(dataset_name_or_id, gpu_memory_target_in_gb, **kwargs)
        self.UNet_base_num_features = 8
        self.UNet_max_features_2d = 32
        self.UNet_max_features_3d = 32
        self.UNet_featuremap_min_edge_length = 4
        self.UNet_blocks_per_stage_encoder = (1,) * 14
        self.UNet_blocks_per_stage_decoder = (1,) * 13

    def get_plans_for_configuration(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Plan as nnU-Net does, with batches of two in 3D and of eight in 2D."""
        plan: dict[str, Any] = super().get_plans_for_configuration(*args, **kwargs)
        plan["batch_size"] = 2 if len(plan["patch_size"]) == 3 else min(8, int(plan["batch_size"]))
        return plan


class _Threads:
    """Stands for the module `multiprocessing` in the two modules of nnU-Net that start pools here."""

    Pool = ThreadPool

    @classmethod
    def get_context(cls, method: str | None = None) -> type[_Threads]:
        """Return what has the pool; the start method means nothing to threads."""
        return cls


@contextmanager
def _pools_on_threads() -> Iterator[None]:
    """Spare the seconds that every new process of nnU-Net's needs to import torch: the images here are small."""
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.preprocessing.preprocessors import default_preprocessor

    modules: tuple[Any, ...] = (fingerprint_extractor, default_preprocessor)
    before = [module.multiprocessing for module in modules]
    for module in modules:
        module.multiprocessing = _Threads
    try:
        yield
    finally:
        for module, original in zip(modules, before, strict=True):
            module.multiprocessing = original


def _progress_bars(function: Callable[..., Any], shown: bool) -> dict[str, bool]:
    """The argument that shows progress bars; nnU-Net 2.6 has them where it is not verbose."""
    if "show_progress_bar" in inspect.signature(function).parameters:
        return {"show_progress_bar": shown}
    return {"verbose": not shown}


def plan_and_preprocess(
    dataset_id: int,
    configurations: Sequence[str] = ("3d_fullres",),
    *,
    planner: type[ExperimentPlanner] = DemoPlanner,
    gpu_memory_target_in_gb: float | None = None,
    threads: int = 2,
    progress: bool = False,
) -> dict[str, Any]:
    """Run nnU-Net's fingerprint extraction, planning and preprocessing; return the plans.

    The nnUNet_* variables must be set. A cascade is planned where gpu_memory_target_in_gb is so small that a patch covers
    less than a quarter of the image: 0.005 for DemoPlanner and brains of 4 mm.

    Raises RuntimeError where nnU-Net plans no such configuration.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
        preprocess_dataset,
    )

    with _pools_on_threads():
        bars = _progress_bars(extract_fingerprint_dataset, progress)
        extract_fingerprint_dataset(dataset_id, num_processes=threads, clean=True, **bars)
        plans, identifier = plan_experiment_dataset(dataset_id, planner, gpu_memory_target_in_gb)
        if missing := sorted(set(configurations) - set(plans["configurations"])):
            raise RuntimeError(
                f"[plan_and_preprocess] expected nnU-Net to plan {missing}, got {sorted(plans['configurations'])}"
            )
        # A configuration that inherits its data from another needs no preprocessing of its own.
        own = [c for c in configurations if "inherits_from" not in plans["configurations"][c]]
        preprocess_dataset(dataset_id, identifier, own, [threads], **_progress_bars(preprocess_dataset, progress))
    return dict(plans)
