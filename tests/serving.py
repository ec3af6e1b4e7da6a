"""A server of files for tests: it lists folders, sends files whole, and counts what it sent."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Served:
    """A folder at an address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.sent: Counter[str] = Counter()
        """How often each file was sent, by its name."""
        self.delay = 0.0
        """Seconds before a file is sent."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, served: Served) -> None:
        self._served = served
        super().__init__(*arguments, directory=str(served.folder))

    def do_GET(self) -> None:
        self._served.sent[Path(self.path).name] += 1
        time.sleep(self._served.delay)
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve a folder over HTTP."""
    served = Served(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, served=served))
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield served
    finally:
        served.delay = 0.0
        server.shutdown()
        server.server_close()
        thread.join()
