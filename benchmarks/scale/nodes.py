"""A Ray cluster of several nodes on one machine, each of which can be killed with all its processes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

OBJECT_STORE = 80 * 2**20
LIMIT = 300.0
"""Seconds for nodes to start."""


class Node:
    """A node of a Ray cluster: `ray start`, and all that it starts.

    words: for `ray start`. variables: of the environment of its processes.
    """

    def __init__(self, *words: str, variables: Mapping[str, str] | None = None) -> None:
        common = ["--block", "--object-store-memory", str(OBJECT_STORE), "--disable-usage-stats"]
        # By default, all nodes of a machine choose the same ports.
        common += ["--min-worker-port", "0", "--max-worker-port", "0", "--dashboard-agent-listen-port", "0"]
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed at its end
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *common, *words],
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(variables or {})},
            start_new_session=True,  # Ray's processes make groups of their own, and stay in the session
        )

    def processes(self) -> list[psutil.Process]:
        """All of them that live, also those whose parent is gone."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(process.pid) == self._process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def check(self) -> None:
        """Raise RuntimeError where it has ended by itself."""
        if self._process.poll() is not None:
            self._said.seek(0)
            raise RuntimeError(f"[ray start] expected a node, got exit code {self._process.returncode}:\n{self._said.read()}")

    def kill(self) -> int:
        """SIGKILL to every process of the node, its workers included; how many there were."""
        stopped: set[psutil.Process] = set()
        while new := set(self.processes()) - stopped:
            for process in new:  # one that is stopped starts no other
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
            stopped |= new
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        end = time.monotonic() + LIMIT
        while self.processes() and time.monotonic() < end:
            time.sleep(0.02)
        self._said.close()
        return len(stopped)


@dataclass
class Cluster:
    """A head without processors, and nodes with some."""

    address: str
    head: Node
    nodes: list[Node] = field(default_factory=list)

    def processes(self) -> list[psutil.Process]:
        """All that live of all nodes."""
        return [process for node in (self.head, *self.nodes) for process in node.processes()]

    def check(self) -> None:
        """Raise RuntimeError where a node has ended by itself."""
        for node in (self.head, *self.nodes):
            node.check()


@contextlib.contextmanager
def cluster(cpus: int, variables: Sequence[Mapping[str, str]] = ({}, {})) -> Iterator[Cluster]:
    """Yield a cluster of nodes that have started, and kill what is left of it at the end.

    cpus: processors that each node has for workers. variables: of the environment of each node.

    Raises:
        RuntimeError: a node has ended, or they take too long.
    """
    # Short, for the paths of sockets are limited.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as scratch:
        port = _free_port()
        address = f"127.0.0.1:{port}"
        head = ["--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false", "--temp-dir", scratch]
        # `ray start` wants a token where an earlier program has left one (~/.ray/auth_token), and other programs send none.
        before = os.environ.get("RAY_AUTH_MODE")
        os.environ["RAY_AUTH_MODE"] = "disabled"
        found = Cluster(address, Node(*head))
        try:
            with _Counting(found) as counting:
                for more in variables:
                    counting.wait()  # those that start at the same time may choose the same sockets
                    found.nodes.append(Node("--address", address, "--num-cpus", str(cpus), variables=more))
                counting.wait()
            yield found
        finally:
            for node in (*found.nodes, found.head):
                node.kill()
            if before is None:
                del os.environ["RAY_AUTH_MODE"]
            else:
                os.environ["RAY_AUTH_MODE"] = before


_COUNT = """\
import ray, sys, time
while True:
    try:
        ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
        break
    except (ConnectionError, RuntimeError) as error:  # the head is starting
        print(error, flush=True)
        time.sleep(0.2)
while True:
    print(sum(node["Alive"] for node in ray.nodes()), flush=True)
    time.sleep(0.1)
"""


class _Counting:
    """A process that counts the nodes of a cluster, one for all, since it takes long to import Ray."""

    def __init__(self, counted: Cluster) -> None:
        self._cluster = counted

    def __enter__(self) -> _Counting:
        command = [sys.executable, "-W", "ignore", "-c", _COUNT, self._cluster.address]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        self._limit = threading.Timer(3 * LIMIT, self._process.kill)  # for a Ray that says nothing more
        self._limit.start()
        return self

    def wait(self) -> None:
        """Wait until Ray counts all nodes that there are."""
        assert self._process.stdout is not None
        wanted, end = 1 + len(self._cluster.nodes), time.monotonic() + LIMIT
        said: deque[str] = deque(maxlen=20)
        for line in self._process.stdout:
            if line.strip() == str(wanted):
                return
            said.append(line)
            self._cluster.check()
            if time.monotonic() > end:
                break
        raise RuntimeError(f"[fleet] expected {wanted} nodes of Ray at {self._cluster.address}, got fewer:\n{''.join(said)}")

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        self._process.kill()
        self._process.communicate()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
