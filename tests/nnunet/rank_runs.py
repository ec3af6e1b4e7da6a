"""Runs nnU-Net's own `-num_gpus 2` in processes of its own: two ranks, which compute on the CPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_runs import TRAINERS

ON_CPU = Path(__file__).parent / "on_cpu"
TRAINER = "nnUNetTrainerRanks"

# Another way than the command: a script of a user.
SCRIPT = """
import sys
import torch
import fastnnunet_loader as fl

if __name__ == "__main__":
    fl.install(threads=1, on_bad_case="skip", max_skipped=1, stall_after=0.5, memory_budget="400MB")
    from nnunetv2.run.run_training import run_training

    run_training(sys.argv[1], "3d_fullres", 0, "nnUNetTrainerRanks", num_gpus=2, device=torch.device("cuda"))
"""


@dataclass(frozen=True)
class RankRun:
    """One training of two ranks; `results` is its own folder."""

    dataset: Any
    results: Path
    name: str = "run"

    @property
    def output(self) -> Path:
        """nnU-Net's folder of it."""
        return self.results / self.dataset.name / f"{TRAINER}__nnUNetPlans__3d_fullres" / "fold_0"

    def environment(self, **asked: Any) -> dict[str, str]:
        """The variables of its processes; `asked` is for the trainer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        python = [str(ON_CPU), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        return {
            **os.environ,
            **self.dataset.env,
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": str(TRAINERS),
            "RANKS": json.dumps(asked),
            "RANKS_RECORD": str(self.folder),
            "PYTHONPATH": os.pathsep.join(python),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "TMPDIR": str(self.folder),  # torch leaves files there
        }

    def command(self, *options: str) -> list[str]:
        """`fastnnunet train` with two ranks."""
        place = [self.dataset.name, "3d_fullres", "0", "-tr", TRAINER]
        return [sys.executable, "-m", "fastnnunet_loader.cli", "train", *place, "-num_gpus", "2", "--threads", "1", *options]

    def train(self, *options: str, under: Sequence[str] = (), **asked: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return self._run([*under, *self.command(*options)], asked)

    def script(self, **asked: Any) -> subprocess.CompletedProcess[str]:
        """Run SCRIPT to its end."""
        file = self.results / "script.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SCRIPT, encoding="utf-8")
        return self._run([sys.executable, str(file), self.dataset.name], asked)

    def _run(self, command: list[str], asked: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment(**asked), capture_output=True, encoding="utf-8", timeout=900, check=False
        )  # fmt: skip

    @property
    def folder(self) -> Path:
        """Where the ranks write down what they did."""
        return self.results / self.name

    def entries(self, rank: int, key: str) -> list[dict[str, Any]]:
        """What a rank wrote down that has a key."""
        file = self.folder / f"{rank}.jsonl"
        if not file.exists():
            return []
        return [entry for line in file.read_text(encoding="utf-8").splitlines() if key in (entry := json.loads(line))]

    def loaders(self, rank: int) -> list[dict[str, Any]]:
        """What a rank wrote down of its two loaders when its first epoch began."""
        return self.entries(rank, "loader")[:2]

    def digests(self, rank: int) -> list[tuple[str, int, str]]:
        """(phase, epoch, digest) of a rank's batches."""
        return [(entry["phase"], entry["epoch"], entry["digest"]) for entry in self.entries(rank, "digest")]

    def copy(self, results: Path, name: str) -> RankRun:
        """The same training so far, in another folder, where it goes on under another name."""
        shutil.copytree(self.results, results)
        return RankRun(self.dataset, results, name)


def of_session(session: int) -> list[str]:
    """The command lines of all living processes of a session."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of, *_ = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(of) == session and state != "Z":
                found.append((process / "cmdline").read_text(encoding="utf-8").replace("\0", " "))
        except OSError:  # it ended meanwhile
            continue
    return found


def wait_until_gone(session: int, seconds: float) -> list[str]:
    """Wait for the end of all processes of a session, and return those that are left."""
    end = time.monotonic() + seconds
    while (left := of_session(session)) and time.monotonic() < end:
        time.sleep(0.2)
    return left
