"""Runs `torchrun ... -m fastnnunet_loader train` in processes of its own, with gloo on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training_runs import TRAINERS, output_folder

TRAINER = "nnUNetTrainerSlots"
Batches = list[tuple[str, int, list[str]]]
"""(phase, epoch, digests of all samples) of each global batch."""


def torchrun(
    dataset: Any,
    results: Path,
    *options: str,
    launcher: Sequence[str] = ("--standalone", "--nproc-per-node", "2"),
    **asked: Any,
) -> subprocess.CompletedProcess[str]:
    """Train to the end; `asked` is for the trainer."""
    command = [sys.executable, "-m", "torch.distributed.run", *launcher, "-m", "fastnnunet_loader", "train", dataset.name]
    return subprocess.run(
        [*command, "3d_fullres", "0", "-tr", TRAINER, "-device", "cpu", *options],
        env=environment(dataset, results, **asked), capture_output=True, encoding="utf-8", timeout=600, check=False,
    )  # fmt: skip


def environment(dataset: Any, results: Path, **asked: Any) -> dict[str, str]:
    """The variables of its processes."""
    results.mkdir(parents=True, exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("LOCAL_", "TORCHELASTIC_"))}
    return {
        **ours,
        **dataset.env,
        "nnUNet_results": str(results),
        "nnUNet_extTrainer": str(TRAINERS),
        "SLOTS": json.dumps(asked),
        "SLOTS_RECORD": str(results),
        "GLOO_SOCKET_IFNAME": "lo",
        "TMPDIR": str(results),  # torch leaves files there
    }


def output(dataset: Any, results: Path) -> Path:
    """nnU-Net's folder of the training."""
    return output_folder(dataset, results, trainer=TRAINER)


def entries(results: Path, rank: int) -> list[dict[str, Any]]:
    """What a rank wrote down, batch by batch."""
    return [json.loads(line) for line in (results / f"{rank}.jsonl").read_text(encoding="utf-8").splitlines()]


def global_batches(results: Path, ranks: int, attempt: int) -> Batches:
    """The global batches that all ranks of a machine have taken in one attempt of its torchrun."""
    return _together([[one for one in entries(results, rank) if one["attempt"] == attempt] for rank in range(ranks)])


def last_batches(results: Path, ranks: int, epochs: int, of_epoch: int) -> Batches:
    """The global batches of each epoch, `of_epoch` of them: the last ones, of those that were taken more than once."""
    parts = []
    for rank in range(ranks):
        taken = [[one for one in entries(results, rank) if one["epoch"] == epoch] for epoch in range(epochs)]
        parts.append([one for epoch in taken for one in epoch[-of_epoch:]])
    return _together(parts)


def _together(parts: list[list[dict[str, Any]]]) -> Batches:
    return [
        (of_ranks[0]["phase"], of_ranks[0]["epoch"], [slot for one in of_ranks for slot in one["slots"]])
        for of_ranks in zip(*parts, strict=False)
    ]
