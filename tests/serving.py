"""A server of files for tests: it lists folders, sends files whole, slowly if asked to, and counts what it sent."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK = 1 << 16


class Served:
    """A folder at an address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.sent: Counter[str] = Counter()
        """How often each file was sent, by its name."""
        self.delay = 0.0
        """Seconds before a file is sent."""
        self.rate = 0.0
        """Bytes per second that are sent of a file; 0 for as many as there are."""
        self.goes_on = threading.Event()
        """The second half of a file is sent when this is set."""
        self.goes_on.set()
        self.half_way = threading.Semaphore(0)
        """Released whenever half of a file was sent."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, served: Served) -> None:
        self._served = served
        super().__init__(*arguments, directory=str(served.folder))

    def do_GET(self) -> None:
        self._served.sent[Path(self.path).name] += 1
        time.sleep(self._served.delay)
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if isinstance(source, io.BytesIO):  # the names in a folder
            return super().copyfile(source, outputfile)
        left = os.fstat(source.fileno()).st_size // 2
        with contextlib.suppress(ConnectionError):  # whoever asked was killed
            while chunk := source.read(min(CHUNK, left) if left > 0 else CHUNK):
                outputfile.write(chunk)
                left -= len(chunk)
                if left == 0:
                    self._served.half_way.release()
                    self._served.goes_on.wait()
                if self._served.rate:
                    time.sleep(len(chunk) / self._served.rate)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve a folder over HTTP."""
    served = Served(folder)
    with listening(functools.partial(_Handler, served=served)) as served.address:
        try:
            yield served
        finally:
            served.delay = served.rate = 0.0
            served.goes_on.set()


@contextmanager
def listening(handler: Callable[..., Any], *, connections_stay: bool = False) -> Iterator[str]:
    """Answer requests on a port of this machine; yields the address. connections_stay: nobody waits for their end."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = connections_stay, not connections_stay
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
