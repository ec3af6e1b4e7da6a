"""nginx on a host of its own, a network namespace behind a cable of limited rate. Needs root, nginx and iproute2."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hosts.namespaces import INTERFACE, Host, two_hosts

PORT = 8080

_CONFIGURATION = """\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  log_format sent '$request_method $status $body_bytes_sent $uri';
  access_log {folder}/access.log sent;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {address}:{port};
    root {root};
    autoindex on;
  }}
}}
"""


@dataclass(frozen=True)
class Request:
    """One that nginx has answered, or gave up."""

    method: str
    status: int
    bytes: int
    """Of the body, as far as it was sent."""
    name: str
    """Of the file; "" for a folder."""


class Server:
    """A folder at an address, with what was asked for."""

    def __init__(self, root: Path, host: Host, client: Host, log: Path) -> None:
        self.root = root
        self.address = f"http://{host.address}:{PORT}"
        self._client = client
        self._log = log
        self._read = 0

    def command(self, *words: str) -> list[str]:
        """A command that runs on the host of the training."""
        return self._client.command(*words)

    def requests(self) -> list[Request]:
        """Those since the last call, when no more come."""
        before = -1
        while (size := self._log.stat().st_size) != before:
            before = size
            time.sleep(0.5)
        with self._log.open(encoding="utf-8") as log:
            log.seek(self._read)
            lines = log.read().splitlines()
            self._read = log.tell()
        found = []
        for line in lines:
            method, status, sent, path = line.split(" ", 3)
            found.append(Request(method, int(status), int(sent), "" if path.endswith("/") else path.rpartition("/")[2]))
        return found


def bytes_of(requests: list[Request]) -> int:
    """Of bodies, listings included."""
    return sum(request.bytes for request in requests)


def sent_of(requests: list[Request]) -> Counter[str]:
    """Bytes of each file that were sent."""
    sent: Counter[str] = Counter()
    for request in requests:
        if request.method == "GET" and request.name and request.status < 300:
            sent[request.name] += request.bytes
    return sent


def missing_program() -> str | None:
    """Say what the machine lacks."""
    for program, package in (("nginx", "nginx"), ("ip", "iproute2"), ("tc", "iproute2"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            return f"expected the program {program}, got none\n  apt-get install {package}"
    return None


@contextlib.contextmanager
def serving(root: Path, scratch: Path, megabits: int) -> Iterator[Server]:
    """Serve a folder over a cable that carries so many megabits per second."""
    with two_hosts() as (host, client):
        limit = ["root", "tbf", "rate", f"{megabits}mbit", "burst", "64kb", "latency", "100ms"]
        subprocess.run(host.command("tc", "qdisc", "add", "dev", INTERFACE, *limit), check=True)
        file = scratch / "nginx.conf"
        text = _CONFIGURATION.format(folder=scratch, address=host.address, port=PORT, root=root)
        file.write_text(text, encoding="utf-8")
        process = subprocess.Popen(host.command("nginx", "-c", str(file), "-p", str(scratch)))
        try:
            _wait(process, client, host)
            (scratch / "access.log").write_text("", encoding="utf-8")
            yield Server(root, host, client, scratch / "access.log")
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], client: Host, host: Host) -> None:
    """Until it listens."""
    look = f"import socket; socket.create_connection(({host.address!r}, {PORT}), 1).close()"
    end = time.monotonic() + 20
    while subprocess.run(client.command(sys.executable, "-S", "-c", look), capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"[nginx] expected a server at {host.address}:{PORT}, got none")
        time.sleep(0.05)
