"""Starts the process that runs faults, and asks it for one after the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Faults", "Outcome"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    """What came of a fault."""

    seen: str
    kept: bool  # whether it is what was promised
    seconds: float
    threads: int  # that were left, as the next three
    handles: int
    buffers: int
    processes: int

    @property
    def good(self) -> bool:
        """Whether the promise was kept and nothing is left."""
        return self.kept and (self.threads, self.handles, self.buffers, self.processes) == (0, 0, 0, 0)


class Faults:
    """A context manager; `run` gives the outcome of a fault."""

    def __init__(self, dataset: str, environment: Mapping[str, str], folder: Path) -> None:
        """Dataset: its name. Environment: nnU-Net's. Folder: for the library that stands for a failing disk."""
        disk = folder / "disk.so"
        compiler = os.environ.get("CC") or next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
        if compiler is None:
            raise RuntimeError("[faults] expected a C compiler, got none")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", disk, _HERE / "disk.c", "-ldl"], check=True)
        paths = [str(_HERE.parent), *filter(None, sys.path)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{_HERE.name}.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={
                **os.environ,
                **environment,
                "FAULTS_DATASET": dataset,
                "LD_PRELOAD": str(disk),
                "PYTHONPATH": os.pathsep.join(paths),
                # A process with the threads of a pool must not fork.
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
        self._answer("ready")

    def _answer(self, what: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"[faults] expected {what}, got the end of the process with {self._process.wait()}")
        return line

    def run(self, name: str) -> Outcome:
        """Inject a fault in a process of its own."""
        assert self._process.stdin is not None
        print(name, file=self._process.stdin, flush=True)
        return Outcome(**json.loads(self._answer(name)))

    def __enter__(self) -> Faults:
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
