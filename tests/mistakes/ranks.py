"""Mistakes in what the ranks of nnU-Net's trainers share."""

from __future__ import annotations

from .mistake import PACKAGE, Mistake

_BATCHES = "tests/nnunet/test_global_batches.py"
_TORCHRUN = "tests/nnunet/test_torchrun.py"

RANKS = [
    Mistake(
        f"{PACKAGE}/nnunet/distributed/shares.py",
        "the last ranks make one sample more, not the first ones, if their number does not divide the batch",
        "tuple(least + (rank < more) for rank",
        "tuple(least + (rank >= ranks - more) for rank",
        _BATCHES,
    ),
    Mistake(
        f"{PACKAGE}/nnunet/distributed/shares.py",
        "the samples with foreground are counted in each rank's part of the batch",
        "    begins = first + round(",
        "    begins = round(",
        _BATCHES,
    ),
    Mistake(
        f"{PACKAGE}/loading/reading/source.py",
        "ranks begin as if all made as many samples of a batch",
        "return sum(self.sizes[: self.rank]) if self.sizes else batch_size * self.rank",
        "return batch_size * self.rank",
        _BATCHES,
    ),
    Mistake(
        f"{PACKAGE}/nnunet/checkpoint.py",
        "the batches of ranks that had random numbers of their own are said to go on",
        "    return same and (before == 1 or together)",
        "    return same and (before >= 1 or together)",
        _BATCHES,
    ),
    Mistake(
        f"{PACKAGE}/nnunet/distributed/meeting.py",
        "ranks take the name that a group before a restart left in torchrun's store",
        "                if to == word:\n",
        "                if to:\n",
        _TORCHRUN,
    ),
    Mistake(
        f"{PACKAGE}/nnunet/distributed/launch.py",
        "each attempt of torchrun takes itself for another one, and a restarted training begins anew",
        ".parents[2]}",
        ".parents[1]}",
        _TORCHRUN,
    ),
    Mistake(
        f"{PACKAGE}/nnunet/distributed/failures.py",
        "the error of another rank is not shown",
        "        self._show(failed, store)\n",
        "",
        _TORCHRUN,
    ),
    Mistake(
        f"{PACKAGE}/loading/sample_lines.py",
        "the line that makes a sample again makes it with the cases of rank 0",
        "return sample if share is None else replace(sample, rank=share.rank)",
        "return sample",
        _BATCHES,
    ),
]
