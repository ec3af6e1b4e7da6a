"""Predictions on two Ray nodes of one machine, and what Ray costs beside the plain command."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

OBJECT_STORE = 80 * 2**20
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


def predict(name: str, words: list[str], seen: Callable[[int], None] = lambda _: None) -> tuple[Run, str]:
    """Run `fastnnunet predict`. seen: called with the number of finished cases."""
    command = [sys.executable, "-u", "-W", "ignore", "-m", "fastnnunet_loader.cli", "predict", *words]
    begin = time.monotonic()
    said, at = [], {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as process:
        watch = threading.Timer(LIMIT, process.kill)
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            found = DONE.match(line)
            if found and (count := int(found[1])) and count not in at:
                at[count] = time.monotonic() - begin
                seen(count)
        process.wait()
        watch.cancel()
    seconds = time.monotonic() - begin
    text = "".join(said)
    if not at:
        raise RuntimeError(f"[fleet] expected cases that are predicted, got exit code {process.returncode}:\n{text[-3000:]}")
    first, last = min(at), max(at)
    each = (at[last] - at[first]) / max(1, last - first)
    return Run(name, at[first], each, seconds, process.returncode), text


class Node:
    """A node of a Ray cluster: `ray start`, and all that it starts."""

    def __init__(self, *words: str) -> None:
        common = ["--block", "--object-store-memory", str(OBJECT_STORE), "--disable-usage-stats"]
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed at its end
        self._process = psutil.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *common, *words],
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    def processes(self) -> list[psutil.Process]:
        """All of them."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [*self._process.children(recursive=True), self._process]
        return []

    def kill(self) -> int:
        """SIGKILL to every process of the node, its workers included; how many there were."""
        found = self.processes()
        for process in found:  # none of them starts another one meanwhile
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._said.close()
        return len(found)


@contextlib.contextmanager
def cluster(cpus: int) -> Iterator[tuple[str, list[Node]]]:
    """Yield the address of a cluster of two nodes that have so many processors each, and a head without any."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as scratch:
        port = _free_port()
        address = f"127.0.0.1:{port}"
        head = ["--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false", "--temp-dir", scratch]
        # `ray start` wants a token where an earlier program has left one (~/.ray/auth_token), and other programs send none.
        before = os.environ.get("RAY_AUTH_MODE")
        os.environ["RAY_AUTH_MODE"] = "disabled"
        nodes = [Node(*head)]
        try:
            _alive(address, 1)
            for _ in range(2):
                nodes.append(Node("--address", address, "--num-cpus", str(cpus)))
                _alive(address, len(nodes))
            yield address, nodes[1:]
        finally:
            for node in reversed(nodes):
                node.kill()
            if before is None:
                del os.environ["RAY_AUTH_MODE"]
            else:
                os.environ["RAY_AUTH_MODE"] = before


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _alive(address: str, count: int) -> None:
    """Wait for so many nodes."""
    look = (
        "import ray, sys\n"
        f"ray.init(address={address!r}, log_to_driver=False, configure_logging=False)\n"
        "print(sum(node['Alive'] for node in ray.nodes()))\n"
    )
    end = time.monotonic() + 120
    while time.monotonic() < end:
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", look], capture_output=True, encoding="utf-8", check=False)
        if done.returncode == 0 and int(done.stdout.split()[-1]) >= count:
            return
        time.sleep(0.5)
    raise RuntimeError(f"[fleet] expected {count} nodes of Ray at {address}, got none:\n{done.stderr[-2000:]}")


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


def measure(model: Path, images: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Predict all cases of a folder in one process, on two nodes, and on two nodes of which one is killed in the middle."""
    cases = sorted(file.name.removesuffix("_0000.nii.gz") for file in images.iterdir())
    with tempfile.TemporaryDirectory(prefix="fastnnunet-fleet-") as name:
        scratch = Path(name)
        common = ["-i", str(images), "-m", str(model), "-f", "0", "-device", "cpu", "--disable_tta", "-step_size", "1"]

        def words(output: str, *more: str) -> list[str]:
            return [*common, "-o", str(scratch / output), *more]

        runs, holds = [], {}
        say("fleet: one process")
        plain, _ = predict("one process", words("plain"))
        runs.append(plain)
        with cluster(1) as (address, nodes):
            say("fleet: two nodes")
            whole, _ = predict("two nodes of Ray", words("whole", "--ray", address, "--ray-cpus", "1"))
            runs.append(whole)
            holds["two nodes: every output is the single process's"] = whole.code == 0 and equal(
                scratch / "whole", scratch / "plain"
            )

            say("fleet: a node is killed")
            output, killed, there = scratch / "killed", [0], {}
            output.mkdir()
            shutil.copy(scratch / "plain" / f"{cases[0]}.nii.gz", output)
            before = stamps(output)

            def kill(done: int) -> None:
                if done >= len(cases) // 3 and not there:
                    there.update(stamps(output))
                    killed[0] = nodes[0].kill()

            lost, said = predict(
                "one of two nodes killed", words("killed", "--ray", address, "--ray-cpus", "1", "--continue_prediction"), kill
            )
            runs.append(lost)
            after = stamps(output)
            holds["a node was killed in the middle, with a worker that had cases"] = killed[0] > 0 and any(
                f"died with {case}" in said for case in cases
            )
            holds["the command ends well"] = lost.code == 0
            holds["none is missing, and every output is the single process's"] = equal(output, scratch / "plain")
            holds["what was there before is not computed again"] = all(
                after.get(name) == stamp for name, stamp in before.items()
            )
            holds["what was there when the node died is not computed again"] = len(there) > 1 and all(
                after.get(name) == stamp for name, stamp in there.items()
            )
            holds["nothing incomplete is left"] = not list(output.glob(".*"))
    return {
        "cases": len(cases),
        "runs": [asdict(run) for run in runs],
        "overhead": {"start_seconds": whole.first - plain.first},
        "holds": holds,
    }
