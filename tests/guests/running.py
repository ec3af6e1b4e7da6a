"""Runs what a program does in a process of its own, and tells what was seen: processes, shared memory, results."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

import fastnnunet_loader
from nnunet.processes import SHORT_PROGRAMS, created_processes

from .environments import PACKAGE
from .guest import FIRST, LAST, PLAIN, RUN, Guest, Scene, Work

__all__ = ["Seen", "differing_voxels", "run"]

_HERE = Path(__file__).parent
_IMAGES = (".nii.gz", ".nii")
_LONGEST = 900
"""Seconds that a run may take. They are seconds on an idle machine; some programs can stand still for ever."""


@dataclass(frozen=True)
class Seen:
    """What a run did."""

    code: int
    seconds: float
    processes: collections.Counter[str]
    """Who started processes that are not over at once, by file and line, and how many; "?" for others' children."""
    own: int
    """How many of these the program starts for itself."""
    shared_memory: int
    """How often a file in /dev/shm was opened."""
    said: list[str]
    """What this package warned of."""
    left: list[str]
    """Names in nnU-Net that are not as they should be after uninstall()."""
    results: Path
    printed: str

    @property
    def workers(self) -> int:
        """Processes that nnU-Net started, or the program in its place."""
        return self.processes.total() - self.own

    @property
    def error(self) -> str:
        """The last line of what it printed, where it failed."""
        lines = [line for line in self.printed.splitlines() if line.strip()]
        return "" if self.code == 0 else next(iter(lines[-1:]), "nothing printed")


def run(guest: Guest, work: Work, scene: Scene, python: Path, order: str, environment: Mapping[str, str]) -> Seen:
    """Run it once, to its end."""
    name = re.sub(r"\W+", "_", work.what)
    folder = scene.folder / f"{name}_{order}"
    results = folder / "results"
    results.mkdir(parents=True)
    report, trace = folder / "report.jsonl", folder / "trace.txt"
    report.touch()
    traced = ["strace", "-f", "--seccomp-bpf", "-e", "trace=process,openat", "-o", str(trace)]
    under = [] if shutil.which("strace") is None else traced
    what = [order, ",".join(work.imports), work.call, *work.arguments(scene, results)]
    started = [*under, str(python), str(_HERE / "under.py"), *what]
    if order == RUN:  # which asks the program's Python, in a process of its own, whether it has this package
        started = [sys.executable, "-m", "fastnnunet_loader.cli", "run", *started]
    began = time.monotonic()
    with (folder / "printed.txt").open("w", encoding="utf-8") as printed:
        process = subprocess.Popen(
            started,
            env={
                **os.environ,
                **environment,
                "PATH": os.pathsep.join([str(scene.folder / "bin"), str(python.parent), os.environ["PATH"]]),
                "GUEST_REPORT": str(report),
                "GUEST_ORDER": order,
                PACKAGE: str(Path(fastnnunet_loader.__file__).parents[1]),
                # torch's threads that wait for each other leave the cores to the rest of the machine.
                "OMP_NUM_THREADS": "2",
                "OMP_WAIT_POLICY": "PASSIVE",
            },
            cwd=folder,
            stdout=printed,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(_LONGEST)
        except BaseException as stopped:
            # With all that it started, which would else stay behind.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(stopped, subprocess.TimeoutExpired):
                raise
            code = -signal.SIGKILL
            print(f"\nit did not end within {_LONGEST} seconds", file=printed)
    seconds = time.monotonic() - began
    entries = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    processes = _processes(entries, trace)
    return Seen(
        code=code,
        seconds=seconds,
        processes=processes,
        own=sum(count for by, count in processes.items() if by.startswith(guest.own)) if guest.own else 0,
        shared_memory=len(re.findall(r'openat\([^"]*"/dev/shm', trace.read_text(encoding="utf-8"))) if under else 0,
        said=[entry["said"] for entry in entries if "said" in entry],
        left=[name for entry in entries for name in entry.get("left", ())],
        results=results,
        printed=(folder / "printed.txt").read_text(encoding="utf-8"),
    )


def _processes(entries: list[dict[str, str]], trace: Path) -> collections.Counter[str]:
    by = {int(entry["started"]): entry["by"] for entry in entries if "started" in entry}
    if not trace.is_file():
        return collections.Counter(by.values())
    # A program that strace was told to run is no child of it.
    created = created_processes(trace.read_text(encoding="utf-8"))
    return collections.Counter(by.get(pid, "?") for pid, program in created.items() if program not in SHORT_PROGRAMS)


def differing_voxels(one: Seen, other: Seen) -> tuple[int, int]:
    """How many voxels of all images differ, and how many there are.

    Raises AssertionError where there are other files, or other shapes, or nothing but background.
    """
    images, others = (
        # Some programs name folders after the time.
        {re.sub(r"\d{4}(-\d\d){5}", "TIME", str(file.relative_to(seen.results))): file for file in _images(seen.results)}
        for seen in (one, other)
    )
    assert sorted(images) == sorted(others), f"expected {sorted(images)}, got {sorted(others)}"
    assert images, "expected images, got none"
    differing = voxels = foreground = 0
    for name in images:
        want, got = (np.asarray(nibabel.load(files[name]).dataobj) for files in (images, others))
        assert want.shape == got.shape, f"{name}: expected {want.shape}, got {got.shape}"
        differing += int(np.count_nonzero(want != got))
        foreground += int(np.count_nonzero(want))
        voxels += want.size
    assert foreground, "expected a segmentation, got background alone"
    return differing, voxels


def _images(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.name.endswith(_IMAGES))


def order_names(order: str) -> str:
    """An order, in words."""
    return {PLAIN: "nnU-Net alone", FIRST: "installed first", LAST: "installed last", RUN: "fastnnunet run"}[order]
