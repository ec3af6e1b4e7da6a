"""A server of files for tests that sends ranges of them, as object storages do, and counts what it sent."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving import listening


class RangesServed:
    """A folder at an address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.lock = threading.Lock()
        self.sent: Counter[str] = Counter()
        """Bytes of each file that were sent, by its name."""
        self.requests: list[tuple[str, int, int]] = []
        """The name of each file that was requested, and the bytes [begin, end)."""
        self.cut = 0
        """So many answers end after half of their bytes."""
        self.hold = threading.Event()
        """Unset, nothing but lists of files is sent."""
        self.hold.set()


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, served: RangesServed) -> None:
        self._served = served
        super().__init__(*arguments, directory=str(served.folder))

    def end_headers(self) -> None:
        file = Path(self.translate_path(self.path))
        if file.is_file():
            status = file.stat()
            self.send_header("ETag", f'"{status.st_size:x}-{status.st_mtime_ns:x}"')
        super().end_headers()

    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            super().do_GET()
            return
        self._served.hold.wait()
        data = file.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        begin, end = (int(found[1]), min(int(found[2]) + 1, len(data))) if found else (0, len(data))
        if begin >= len(data):
            self.send_error(416)
            return
        with self._served.lock:
            self._served.requests.append((file.name, begin, end))
            cut = self._served.cut > 0
            self._served.cut -= cut
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        part = data[begin : begin + (end - begin) // 2 if cut else end]
        with self._served.lock:
            self._served.sent[file.name] += len(part)
        self.wfile.write(part)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving_ranges(folder: Path) -> Iterator[RangesServed]:
    """Serve a folder over HTTP."""
    served = RangesServed(folder)
    with listening(functools.partial(_Handler, served=served), connections_stay=True) as served.address:
        try:
            yield served
        finally:
            served.hold.set()
