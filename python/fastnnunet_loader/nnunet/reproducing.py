"""One sample of a training, made again."""

from __future__ import annotations

from typing import Any

from ..loading.loader import DataLoader
from ..sample_id import role_number
from .distributed.shares import first_slot, shared
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
        slot: the position in it, in the batch of all ranks.
        role: "train", "val", or the number of a further loader.
        rank: of torch.distributed.
        ranks: how many ranks there were; each makes its share of a batch, and the slot has to be one of this rank's.
        attempt: how many times this sample was drawn before because its case was bad.
        check_finite: as the training had it.

    Returns:
        'data' (C, X, Y, Z) float32, 'target' (R, X, Y, Z) int16 or bool or a list of them, and 'key', the case. 2D samples have
        no X.

    Raises:
        SampleError: the error of the training.
        ValueError: the rank has no such slot.
    """
    source = open_source(dataset, configuration, fold, trainer, plans, rank=rank, ranks=ranks)
    cases = source.val if role_number(role) == 1 else source.train
    if ranks > 1:
        cases = shared(cases, source.trainer, rank, ranks)
    with DataLoader.from_nnunet(
        cases,
        threads=1,
        prefetch=1,
        seed=seed,
        rank=rank,
        role=role,
        check_finite=check_finite,
    ) as loader:
        first = first_slot(cases)
        if first and not first <= slot < first + loader.batch_size:
            last = first + loader.batch_size - 1
            raise ValueError(f"[slot] expected a number from {first} to {last}, as rank {rank} of {ranks} has them, got {slot}")
        return loader.sample(step, slot - first, attempt)
