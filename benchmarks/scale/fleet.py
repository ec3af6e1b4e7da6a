"""Predictions on two Ray nodes of one machine, and what Ray costs beside the plain command."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import strikes

from .nodes import Cluster, cluster

DONE = re.compile(r"(\d+) of (\d+) cases")
LIMIT = 1800.0
"""Seconds for one command."""

Stamp = tuple[int, int]


@dataclass(frozen=True)
class Run:
    """A command from its start to its end."""

    name: str
    first: float
    """Seconds until the first case was there."""
    each: float
    """Seconds for each of the others."""
    seconds: float
    code: int


def stamps(output: Path) -> dict[str, Stamp]:
    """What tells each segmentation from another file of its name."""
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in output.glob("*.nii.gz")}


def predict(name: str, options: list[str]) -> tuple[Run, str]:
    """Run `fastnnunet predict`; return how long it took, and what it said."""
    command = [sys.executable, "-u", "-W", "ignore", "-m", "fastnnunet_loader.cli", "predict", *options]
    begin = time.monotonic()
    said, at = [], {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as process:
        watch = threading.Timer(LIMIT, process.kill)
        watch.start()
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line)
                found = DONE.match(line)
                if found and (count := int(found[1])) and count not in at:
                    at[count] = time.monotonic() - begin
            process.wait()
        finally:
            watch.cancel()
    seconds = time.monotonic() - begin
    text = "".join(said)
    if not at:
        raise RuntimeError(f"[fleet] expected cases that are predicted, got exit code {process.returncode}:\n{text[-3000:]}")
    first, last = min(at), max(at)
    each = (at[last] - at[first]) / max(1, last - first)
    return Run(name, at[first], each, seconds, process.returncode), text


def equal(ours: Path, theirs: Path) -> bool:
    """Whether every segmentation of one folder is in the other one, and no other, voxel for voxel."""
    import nibabel
    import numpy as np

    names = sorted(file.name for file in theirs.glob("*.nii.gz"))
    if names != sorted(file.name for file in ours.glob("*.nii.gz")):
        return False
    return all(
        np.array_equal(np.asarray(nibabel.load(ours / name).dataobj), np.asarray(nibabel.load(theirs / name).dataobj))
        for name in names
    )


def words(model: Path, images: Path, output: Path, *more: str) -> list[str]:
    """The options of `fastnnunet predict` for all commands here."""
    common = ["-i", str(images), "-m", str(model), "-f", "0", "-device", "cpu", "--disable_tta", "-step_size", "1"]
    return [*common, "-o", str(output), *more]


def on_ray(cluster: Cluster) -> list[str]:
    """The options of a prediction on a cluster."""
    return ["--ray", cluster.address, "--ray-cpus", "1"]


class NodeKilled:
    """A prediction on two nodes, one of which is killed in the middle: nothing is lost, and nothing computed again.

    The first node's worker writes the files of some cases, and is killed with its node when it is about to move those of the
    next one to their place. The other node's worker waits for that after its own first case, so that enough are left, however
    slowly the first one starts. folder: for what this writes.
    """

    DONE = 2
    """Cases that the first node finishes."""

    def __init__(self, folder: Path) -> None:
        name = r"[^.].*\.nii\.gz"
        self._killed_file = folder / "killed"
        first, self._first = strikes.held(folder / "first", name, self.DONE, self._killed_file)
        other, self._other = strikes.held(folder / "other", name, 1, self._killed_file)
        self._variables = (first, other)

    def cluster(self) -> contextlib.AbstractContextManager[Cluster]:
        """Two nodes with a processor each, as `cluster` gives them."""
        return cluster(1, self._variables)

    def run(self, nodes: Cluster, model: Path, images: Path, plain: Path, output: Path) -> tuple[Run, dict[str, bool]]:
        """Predict on nodes that `cluster` gave; return what holds.

        plain: folder with what the single process predicts. output: an empty folder.
        """
        cases = sorted(file.name.removesuffix("_0000.nii.gz") for file in images.iterdir())
        shutil.copy(plain / f"{cases[0]}.nii.gz", output)  # of an earlier run that was ended
        before, there = stamps(output), dict[str, Stamp]()
        incomplete, killed, ended = list[Path](), [0], threading.Event()

        def kill() -> None:
            while len(_moves(self._first)) <= self.DONE:
                if ended.wait(0.05):
                    return
            try:
                killed[0] = nodes.nodes[0].kill()
                there.update(stamps(output))
                incomplete.extend(output.glob(".*"))
            finally:
                self._killed_file.touch()

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            run, said = predict(
                "one of two nodes killed", words(model, images, output, *on_ray(nodes), "--continue_prediction")
            )
        finally:
            ended.set()
            killer.join()
        after, first, other = stamps(output), _moves(self._first), _moves(self._other)
        lost = first[self.DONE :]  # that the worker was about to move when it was killed
        return run, {
            "a node was killed in the middle, with a worker that had cases": killed[0] > 0
            and bool(incomplete)
            and len(lost) == 1
            and re.search(rf"died with [^:]*\b{lost[0].removesuffix('.nii.gz')}\b", said) is not None,
            "the command ends well": run.code == 0,
            "none is missing, and every output is the single process's": equal(output, plain),
            "what was there before is not computed again": all(after.get(name) == stamp for name, stamp in before.items()),
            "what was there when the node died is not computed again": len(there) > self.DONE
            and all(after.get(name) == stamp for name, stamp in there.items()),
            "no other is computed twice": sorted([*first[: self.DONE], *other]) == [f"{case}.nii.gz" for case in cases[1:]],
            "nothing incomplete is left": not list(output.glob(".*")),
        }


def _moves(file: Path) -> list[str]:
    """The segmentations that the processes of a node have moved to their place, or were about to."""
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def measure(model: Path, images: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Predict all cases of a folder in one process, on two nodes, and on two nodes of which one is killed in the middle."""
    with tempfile.TemporaryDirectory(prefix="fastnnunet-fleet-") as name:
        plain, whole, killed = (Path(name, output) for output in ("plain", "whole", "killed"))
        say("fleet: one process")
        alone, _ = predict("one process", words(model, images, plain))
        say("fleet: two nodes")
        with cluster(1) as nodes:
            both, _ = predict("two nodes of Ray", words(model, images, whole, *on_ray(nodes)))
        say("fleet: a node is killed")
        killed.mkdir()
        scene = NodeKilled(Path(name, "scene"))
        with scene.cluster() as nodes:
            lost, holds = scene.run(nodes, model, images, plain, killed)
        same = both.code == 0 and equal(whole, plain)
    return {
        "cases": len(list(images.iterdir())),
        "runs": [asdict(run) for run in (alone, both, lost)],
        "overhead": {"start_seconds": both.first - alone.first},
        "holds": {"two nodes: every output is the single process's": same, **holds},
    }
