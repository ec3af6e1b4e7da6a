"""The cache behind a slow server: every scene is checked, and what the server sent is counted there."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .server import Request, Server, bytes_of, sent_of, serving

STEPS, FEW_STEPS = 24, 8
SMALL_DISK = 0.6
"""Of the data set."""

LIMIT = 600.0
"""Seconds for a process that reads."""


@dataclass
class Row:
    """What came out of one scene."""

    scene: str
    seconds: float = 0.0
    requests: int = 0
    sent: int = 0
    """Bytes that the server sent."""
    holds: dict[str, bool] = field(default_factory=dict)

    def count(self, requests: list[Request]) -> list[Request]:
        """Add what the server did."""
        self.requests += len(requests)
        self.sent += bytes_of(requests)
        return requests


class ReadingFailed(RuntimeError):
    """A process that reads has ended with an error, whose text this has."""


class Reader:
    """A process that reads epochs; see benchmarks.scale.reader."""

    def __init__(
        self, *words: str, under: Callable[..., list[str]] = lambda *words: [*words], disk: tuple[Path, int] | None = None
    ):
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale.reader", *words]
        if disk is not None:  # its own, which nobody else sees and which goes with it
            mount = 'mount -t tmpfs -o "size=$1" none "$0" && shift && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", mount, str(disk[0]), str(disk[1]), *command]
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed at its end
        self.process = subprocess.Popen(
            under(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, encoding="utf-8"
        )

    def epoch(self) -> dict[str, Any]:
        """Wait for the next epoch."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self._said.seek(0)
            raise ReadingFailed(
                f"[reader] expected an epoch, got exit code {self.process.returncode}:\n{self._said.read()[-3000:]}"
            )
        told: dict[str, Any] = json.loads(line)
        return told

    def go_on(self) -> None:
        """Let it read another epoch."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=30)
        self.process.kill()
        self.process.communicate()
        self._said.close()


def copies(cache: Path) -> dict[str, Path]:
    """Whole copies in a cache, by the names of their sources."""
    files = (cache / "fastnnunet_cache" / "files").glob("*/*")
    return {f"{file.name.split('.')[0]}{file.suffix}": file for file in files if file.suffix != ".part"}


def incomplete(cache: Path) -> list[Path]:
    """What is being copied, or was when its process ended."""
    found = []
    for file in (cache / "fastnnunet_cache" / "files").glob("*/.*.part"):
        with contextlib.suppress(FileNotFoundError):  # it is whole by now
            if file.stat().st_size:
                found.append(file)
    return found


class Scenes:
    """Of one data set and one server. Each method is a scene."""

    def __init__(self, source: Path, scratch: Path, server: Server, patch: tuple[int, ...]) -> None:
        self._source, self._scratch, self._server = source, scratch, server
        self._words = ("--patch", *map(str, patch))
        self.files = sorted(file for file in source.iterdir() if file.is_file())
        self.data = sum(file.stat().st_size for file in self.files)
        self._local: dict[tuple[int, int], list[str]] = {}

    def reader(self, cache: Path | None, *words: str, disk: tuple[Path, int] | None = None, steps: int = STEPS) -> Reader:
        """Start one on the training's host; without a cache, one that reads the folder."""
        if cache is None:
            return Reader(str(self._source), *self._words, "--steps", str(steps), *words)
        place = f"{self._server.address}/{self._source.name}"
        given = ("--cache", str(cache), "--steps", str(steps))
        return Reader(place, *self._words, *given, *words, under=self._server.command, disk=disk)

    def local(self, epochs: int = 1, steps: int = STEPS) -> list[str]:
        """The digests of batches from the folder itself."""
        if (epochs, steps) not in self._local:
            found = []
            with self.reader(None, "--epochs", str(epochs), steps=steps) as reader:
                for number in range(epochs):
                    if number:
                        reader.go_on()
                    told = reader.epoch()
                    found.append(told["digest"])
            if steps == STEPS and len(told["cases"]) != len({file.stem for file in self._source.glob("*.pkl")}):
                raise RuntimeError(f"[storage] expected an epoch that uses every case, got {told['cases']}")
            self._local[epochs, steps] = found
        return self._local[epochs, steps]

    @staticmethod
    def once(sent: Counter[str], files: Iterable[Path]) -> bool:
        """Whether something of each of these files was sent, nothing of others, and no byte twice."""
        sizes = {file.name: file.stat().st_size for file in files}
        return sizes.keys() == sent.keys() and all(0 < count <= sizes[name] for name, count in sent.items())

    def cache(self, name: str) -> Path:
        """A new, empty one."""
        folder = self._scratch / name
        folder.mkdir()
        return folder

    def two_epochs(self) -> Iterator[Row]:
        """The second epoch, and a second run, request no voxel."""
        cache, wanted = self.cache("epochs"), self.local(2)
        row = Row("first epoch")
        with self.reader(cache, "--epochs", "2") as reader:
            told = reader.epoch()
            row.seconds = told["seconds"]
            sent = sent_of(row.count(self._server.requests()))
            row.holds["batches are those of the folder"] = told["digest"] == wanted[0]
            row.holds["no byte of a file is sent twice"] = self.once(sent, self.files)
            yield row
            row = Row("second epoch")
            reader.go_on()
            told = reader.epoch()
            row.seconds = told["seconds"]
            row.holds["nothing is requested"] = not row.count(self._server.requests())
            row.holds["batches are those of the folder"] = told["digest"] == wanted[1]
            yield row
        row = Row("first epoch of a second run")
        with self.reader(cache) as reader:
            told = reader.epoch()
        row.seconds = told["seconds"]
        row.holds["no file is sent"] = not sent_of(row.count(self._server.requests()))
        row.holds["batches are those of the folder"] = told["digest"] == wanted[0]
        yield row

    def killed(self) -> Iterator[Row]:
        """kill -9 while a file is being copied, then the same command again."""
        cache, wanted = self.cache("killed"), self.local()
        row = Row("kill -9 while copying")
        begin = time.monotonic()
        with self.reader(cache) as reader:
            while not incomplete(cache) or len(copies(cache)) < 2:
                if reader.process.poll() is not None or time.monotonic() - begin > LIMIT:
                    raise RuntimeError("[storage] expected a process that copies, got none")
                time.sleep(0.001)
            reader.process.kill()
            reader.process.wait()
        row.seconds = time.monotonic() - begin
        left, whole = incomplete(cache), copies(cache)
        row.count(self._server.requests())
        row.holds["a file is incomplete"] = bool(left)
        row.holds["whole copies are those of the source"] = all(
            file.read_bytes() == (self._source / name).read_bytes() for name, file in whole.items()
        )
        row.holds["not all was copied"] = len(whole) < len(self.files)
        yield row
        row = Row("the same command again")
        with self.reader(cache) as reader:
            told = reader.epoch()
        row.seconds = told["seconds"]
        sent = sent_of(row.count(self._server.requests()))
        row.holds["batches are those of the folder"] = told["digest"] == wanted[0]
        row.holds["whole copies are not sent again"] = not set(sent) & set(whole)
        row.holds["no byte of the others is sent twice"] = self.once(sent, [f for f in self.files if f.name not in whole])
        row.holds["nothing incomplete is left"] = not incomplete(cache)
        yield row

    def together(self) -> Iterator[Row]:
        """Two trainings on one machine, started at once."""
        cache, wanted = self.cache("together"), self.local()
        row = Row("two runs at once")
        with self.reader(cache) as first, self.reader(cache) as second:
            told = [reader.epoch() for reader in (first, second)]
        row.seconds = max(one["seconds"] for one in told)
        sent = sent_of(row.count(self._server.requests()))
        row.holds["batches are those of the folder"] = all(one["digest"] == wanted[0] for one in told)
        row.holds["no byte of a file is sent twice"] = self.once(sent, self.files)
        yield row

    def full(self) -> Iterator[Row]:
        """A disk that has room for a part of the data set: copies are removed for others."""
        cache, wanted = self.cache("full"), self.local(steps=FEW_STEPS)
        row = Row(f"a disk of {SMALL_DISK:.0%} of the data")
        begin = time.monotonic()
        disk = (cache, round(SMALL_DISK * self.data))
        with self.reader(cache, "--patience", "120", disk=disk, steps=FEW_STEPS) as reader:
            told = reader.epoch()
        row.holds["batches are those of the folder"] = told["digest"] == wanted[0]
        row.seconds = time.monotonic() - begin
        row.count(self._server.requests())
        yield row

    def changed(self) -> Iterator[Row]:
        """Two cases change places at the source after a run; sizes differ little, times and ETags do."""
        cache = self.cache("changed")
        with self.reader(cache) as reader:
            before = reader.epoch()["digest"]
        self._server.requests()
        names = [file.stem for file in self._source.glob("*.pkl")]
        names.sort()
        pair = names[:2]
        changed = set()
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            files = [self._source / f"{name}{ending}" for name in pair]
            contents = [file.read_bytes() for file in files]
            for file, content in zip(files, reversed(contents), strict=True):
                part = file.with_name(f"{file.name}.new")
                part.write_bytes(content)
                part.replace(file)
                changed.add(file.name)
        self._local.clear()
        wanted = self.local()
        row = Row("two cases changed at the source")
        with self.reader(cache) as reader:
            told = reader.epoch()
        row.seconds = told["seconds"]
        sent = sent_of(row.count(self._server.requests()))
        row.holds["batches are those of the changed folder, and not those of before"] = told["digest"] == wanted[0] != before
        row.holds["only what changed is sent, and no byte twice"] = self.once(sent, [self._source / name for name in changed])
        yield row


def measure(source: Path, patch: tuple[int, ...], megabits: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run all scenes on a copy of a folder of preprocessed cases."""
    with tempfile.TemporaryDirectory(prefix="fastnnunet-scale-") as name:
        scratch = Path(name)
        root = scratch / "served"
        shutil.copytree(source, root / "cases")
        (scratch / "nginx").mkdir()
        with serving(root, scratch / "nginx", megabits) as server:
            scenes = Scenes(root / "cases", scratch, server, patch)
            rows = []
            # The last one changes the source.
            for scene in (scenes.two_epochs, scenes.killed, scenes.together, scenes.full, scenes.changed):
                for row in scene():
                    say(f"storage: {row.scene}")
                    rows.append(row)
    return {
        "megabits_per_second": megabits,
        "files": len(scenes.files),
        "bytes": scenes.data,
        "steps": STEPS,
        "rows": [vars(row) for row in rows],
    }
