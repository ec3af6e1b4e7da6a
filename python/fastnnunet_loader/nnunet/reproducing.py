"""One sample of a training, made again."""

from __future__ import annotations

from typing import Any

from ..loading.loader import DataLoader
from ..sample_id import role_number
from .sources import open_source

__all__ = ["reproduce"]


def reproduce(
    dataset: str,
    configuration: str,
    fold: int | str,
    *,
    seed: int,
    step: int,
    slot: int,
    role: str | int = "train",
    rank: int = 0,
    ranks: int = 1,
    attempt: int = 0,
    trainer: str = "nnUNetTrainer",
    plans: str = "nnUNetPlans",
    check_finite: bool = False,
) -> dict[str, Any]:
    """Make one sample of a training again, by the same code. Messages about errors and skipped cases contain the call.

    `dataset`, `configuration`, `fold`, `trainer` and `plans` are what nnUNetv2_train takes.

    Args:
        seed: of the training; its log has it.
        step: the number of the batch.
        slot: the position in it.
        role: "train", "val", or the number of a further loader.
        rank: of torch.distributed.
        ranks: how many ranks there were; each makes its share of a batch.
        attempt: how many times this sample was drawn before because its case was bad.
        check_finite: as the training had it.

    Returns:
        'data' (C, X, Y, Z) float32, 'target' (R, X, Y, Z) int16 or bool or a list of them, and 'key', the case. 2D samples have
        no X.

    Raises:
        SampleError: the error of the training.
    """
    source = open_source(dataset, configuration, fold, trainer, plans, rank=rank, ranks=ranks)
    with DataLoader.from_nnunet(
        source.val if role_number(role) == 1 else source.train,
        threads=1,
        prefetch=1,
        seed=seed,
        rank=rank,
        role=role,
        check_finite=check_finite,
    ) as loader:
        return loader.sample(step, slot, attempt)
