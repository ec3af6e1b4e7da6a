"""Two hosts on one machine: network namespaces with a cable between them. Needs Linux, `ip` and root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INTERFACE = "cable"


@dataclass(frozen=True)
class Host:
    """A network namespace and its address."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """A command that runs there."""
        return ["ip", "netns", "exec", self.name, *words]


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make them; at the end they are gone."""
    own = os.getpid()
    hosts = Host(f"fastnnunet-{own}-a", "10.77.0.1"), Host(f"fastnnunet-{own}-b", "10.77.0.2")
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        first, second = (host.name for host in hosts)
        _ip("link", "add", INTERFACE, "netns", first, "type", "veth", "peer", "name", INTERFACE, "netns", second)
        for host in hosts:
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", INTERFACE)
            for interface in (INTERFACE, "lo"):
                _ip("-n", host.name, "link", "set", interface, "up")
        yield hosts
    finally:
        for host in hosts:
            _ip("netns", "del", host.name, check=False)
