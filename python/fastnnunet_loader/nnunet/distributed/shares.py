"""Which samples of a batch each rank of a trainer makes: nnU-Net's own split of the batch, by the slots of the whole of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...loading.reading.cases import read_off
from ...loading.reading.source import Share, Source

__all__ = ["first_slot", "share_of", "shared", "sizes"]


def sizes(global_batch_size: int, ranks: int) -> tuple[int, ...]:
    """Return how many samples each rank makes, as nnUNetTrainer._set_batch_size_and_oversample of nnU-Net 2.8.1 has it.

    The first ranks make one more, if the number of ranks does not divide the batch.
    """
    least, more = divmod(global_batch_size, ranks)
    return tuple(least + (rank < more) for rank in range(ranks))


def share_of(batch_size: int, global_batch_size: int, rank: int, ranks: int) -> Share | None:
    """Return what a rank makes of a batch; None if `batch_size` is not what nnU-Net's split gives it."""
    split = sizes(global_batch_size, ranks)
    return Share(rank, ranks, split) if batch_size == split[rank] else None


def shared(data_loader: Any, trainer: Any, rank: int, ranks: int, oversample: float | None = None) -> Any:
    """Return the source of a rank's part of the batch; an nnUNetDataLoader as it is if its batches are the rank's own.

    oversample: the trainer's share of samples with foreground in the whole batch, before nnU-Net divided it among the ranks;
        None if it is not known.

    Raises:
        NotSupportedError: as `read_off`.
    """
    if trainer is None:
        return data_loader
    whole = int(trainer.configuration_manager.batch_size)
    share = share_of(int(data_loader.batch_size), whole, rank, ranks)
    if share is None:
        return data_loader
    source = read_off(data_loader)
    return replace(source, share=share, sampling=_with_whole_share(source.sampling, share, oversample))


def first_slot(cases: Any) -> int:
    """Return the slot of the whole batch at which what `shared` returned begins."""
    if not isinstance(cases, Source) or cases.share is None:
        return 0
    return cases.share.first_slot(int(cases.sampling["batch_size"]))


def _with_whole_share(sampling: dict[str, Any], share: Share, oversample: float | None) -> dict[str, Any]:
    """Return the fields of SamplingOptions with the share of foreground that the whole batch has.

    nnU-Net gives each rank a share of its own, by which the last samples of the rank's part show foreground. The core counts
    slots of the whole batch: those from the first one with foreground on.
    """
    if sampling["probabilistic_oversampling"]:  # each sample for itself: the share is that of every rank
        return sampling
    size = sampling["batch_size"]
    first, whole = share.first_slot(size), share.global_batch_size(size)
    begins = first + round(size * (1 - sampling["oversample_foreground"]))
    if oversample is not None and begins == min(max(round(whole * (1 - oversample)), first), first + size):
        return {**sampling, "oversample_foreground": float(oversample)}
    return {**sampling, "oversample_foreground": 1 - begins / whole}  # a split of the trainer's own
