"""nnU-Net's data loaders of a configuration, as its trainer makes them, without a training."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Source", "open_source"]


@dataclass(frozen=True)
class Source:
    """A trainer that has no network, and its two nnUNetDataLoader objects, which have started nothing."""

    trainer: Any
    train: Any
    val: Any

    @property
    def label_names(self) -> dict[int, str]:
        """Names by label, or by index where the labels are regions. Background and the ignore label are left out."""
        labels: dict[str, Any] = self.trainer.dataset_json["labels"]
        if self.trainer.label_manager.has_regions:
            return {i: name for i, name in enumerate(n for n in labels if n not in ("background", "ignore"))}
        return {int(label): name for name, label in labels.items() if name not in ("background", "ignore")}

    @property
    def label_values(self) -> dict[int, tuple[int, ...]]:
        """The labels in a segmentation that make up each entry of `label_names`."""
        manager = self.trainer.label_manager
        if not manager.has_regions:
            return {label: (label,) for label in self.label_names}
        regions = [r if isinstance(r, (tuple, list)) else (r,) for r in manager.foreground_regions]
        return {i: tuple(int(label) for label in region) for i, region in enumerate(regions)}

    @property
    def foreground_labels(self) -> list[int]:
        """All labels but the background and the ignore label, in the order of a cascade's one-hot channels."""
        return [int(label) for label in self.trainer.label_manager.foreground_labels]

    @property
    def spacing(self) -> list[float]:
        """Of the voxels of a patch, in millimetres, in the order of its axes."""
        return [float(s) for s in self.trainer.configuration_manager.spacing][
            -len(self.trainer.configuration_manager.patch_size) :
        ]


class _Unstarted:
    """Stands for the augmenter that get_dataloaders wraps around a data loader; it makes no batch."""

    def __init__(self, data_loader: Any, *_: Any, **__: Any) -> None:
        self.data_loader = data_loader

    def __next__(self) -> None:
        return None


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _first_of(answer: Any, *_: Any, **__: Any) -> Any:
    return answer


@contextlib.contextmanager
def _as_rank(rank: int, ranks: int) -> Iterator[None]:
    """Inside, whoever asks torch.distributed is told that this process is one of several ranks."""
    import torch.distributed as dist

    if ranks == 1:
        yield
        return
    answers = {"is_initialized": True, "get_rank": rank, "get_world_size": ranks}
    before = {name: getattr(dist, name) for name in answers}
    for name, answer in answers.items():
        setattr(dist, name, functools.partial(_first_of, answer))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the trainer of a rank expects a GPU, and is told that there is none
            yield
    finally:
        for name, function in before.items():
            setattr(dist, name, function)


def open_source(
    dataset: str,
    configuration: str,
    fold: int | str,
    trainer: str = "nnUNetTrainer",
    plans: str = "nnUNetPlans",
    *,
    rank: int = 0,
    ranks: int = 1,
) -> Source:
    """Return the loaders that a training of this configuration would use, or one rank of it.

    dataset: name or number. fold: number or "all". Needs nnUNet_preprocessed, and for a cascade nnUNet_results too, where
    it leaves nothing. What nnU-Net prints is not shown.
    """
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    results = os.environ.get("nnUNet_results")
    with contextlib.ExitStack() as stack:
        # A trainer makes its output folder and its log as soon as it exists.
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(_environment(nnUNet_results=scratch, nnUNet_n_proc_DA="0"))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(_as_rank(rank, ranks))
        if isinstance(module.nnUNet_results, str):  # nnU-Net 2.6 reads the variable when it is imported
            stack.callback(setattr, module, "nnUNet_results", module.nnUNet_results)
            module.nnUNet_results = scratch
        made = get_trainer_from_args(dataset, configuration, fold, trainer, plans, device=torch.device("cpu"))
        previous = made.folder_with_segs_from_previous_stage
        if previous is not None and results is not None:
            made.folder_with_segs_from_previous_stage = str(Path(results) / Path(previous).relative_to(scratch))
        # What initialize() does, but for the network.
        made._set_batch_size_and_oversample()
        original = module.SingleThreadedAugmenter
        module.SingleThreadedAugmenter = _Unstarted
        stack.callback(setattr, module, "SingleThreadedAugmenter", original)
        train, val = made.get_dataloaders()
    return Source(made, train.data_loader, val.data_loader)
