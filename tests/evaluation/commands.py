"""Runs nnU-Net's commands in this process: `python commands.py DATASET REGIONS NAME ...`, in the folder of a scene.

Without FASTNNUNET_RUN they are nnU-Net's own, except that their pools call one function after another: their workers would
import torch for each pool, and do the same.
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

DATASET, *NAMES = sys.argv[1:]


class Serial:
    """A pool without workers."""

    def __init__(self, processes: int = 1) -> None:
        self._pool: list[Any] = []

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def starmap(self, function: Any, items: Any) -> list[Any]:
        return [function(*item) for item in items]

    def starmap_async(self, function: Any, items: Any) -> Any:
        results = self.starmap(function, items)
        return type("Result", (), {"get": lambda self: results})()

    def apply_async(self, function: Any, kwds: Any) -> Any:
        result = function(**kwds)
        return type("Result", (), {"get": lambda self: result})()


def entry(script: str, *arguments: str) -> None:
    (point,) = importlib.metadata.entry_points(group="console_scripts", name=script)
    sys.argv = [script, *arguments]
    point.load()()


def integrity() -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(Path("nnUNet_raw", DATASET).absolute()), 2)


def converter() -> None:
    from nnunetv2.dataset_conversion import Dataset119_ToothFairy2_All as module

    assert (type(module.multiprocessing).__name__ == "ThreadMultiprocessing") == ("FASTNNUNET_RUN" in os.environ)
    files = sorted(file.name for file in Path("mha").iterdir())
    module.process_labels(files, "mha", "converted", {0: 0, 1: 2, 2: 1}, 2)
    module.process_images(files, "mha", "converted_images", 2)


DESCRIBED = ("predictions/dataset.json", "predictions/plans.json")
COMMANDS: dict[str, Any] = {
    "evaluate_folder": lambda: entry(
        "nnUNetv2_evaluate_folder", "gt", "predictions", "-djfile", DESCRIBED[0], "-pfile", DESCRIBED[1], "-np", "2"
    ),
    "evaluate_simple": lambda: entry(
        "nnUNetv2_evaluate_simple", "gt", "predictions", "-l", "1", "2", "7", "-il", "3", "-o", "simple.json", "-np", "2"
    ),
    "ensemble": lambda: entry("nnUNetv2_ensemble", "-i", "predictions", "others", "-o", "ensemble", "-np", "2"),
    "ensemble with probabilities": lambda: entry(
        "nnUNetv2_ensemble", "-i", "predictions", "others", "-o", "ensemble_npz", "-np", "2", "--save_npz"
    ),
    "determine_postprocessing": lambda: entry(
        "nnUNetv2_determine_postprocessing", "-i", "predictions", "-ref", "gt", "-np", "2"
    ),
    "apply_postprocessing": lambda: entry(
        "nnUNetv2_apply_postprocessing",
        *("-i", "others", "-o", "postprocessed", "-pp_pkl_file", "predictions/postprocessing.pkl", "-np", "2"),
    ),
    "accumulate_crossval_results": lambda: entry(
        "nnUNetv2_accumulate_crossval_results", DATASET, "-c", "3d_fullres", "-f", "0", "1", "-o", "accumulated"
    ),
    "find_best_configuration": lambda: entry(
        "nnUNetv2_find_best_configuration", DATASET, "-c", "2d", "3d_fullres", "-f", "0", "1", "-np", "2"
    ),
    "plot_overlay_pngs": lambda: entry(
        "nnUNetv2_plot_overlay_pngs", "-d", DATASET, "-o", "raw_pictures", "--use_raw", "-np", "2"
    ),
    "plot_overlay_pngs of preprocessed": lambda: entry(
        "nnUNetv2_plot_overlay_pngs", "-d", DATASET, "-o", "pictures", "-np", "2"
    ),
    "verify_dataset_integrity": integrity,
    "convert_MSD_dataset": lambda: entry(
        "nnUNetv2_convert_MSD_dataset", "-i", "Task05_brain", "-overwrite_id", "205", "-np", "2"
    ),
    "convert_old_nnUNet_dataset": lambda: entry("nnUNetv2_convert_old_nnUNet_dataset", "Task05_brain", "Dataset206_old"),
    "a converter": converter,
}


def main() -> None:
    if os.environ.get("FASTNNUNET_RUN"):
        import fastnnunet_autoload  # noqa: F401 - what the .pth file imports in an installed package
    else:
        multiprocessing.Pool = Serial  # type: ignore[misc,assignment]
        multiprocessing.context.SpawnContext.Pool = lambda self, *args: Serial()  # type: ignore[method-assign]
    for name in NAMES or COMMANDS:
        print(f"## {name}", flush=True)
        COMMANDS[name]()
        assert not multiprocessing.active_children(), name


if __name__ == "__main__":
    main()
