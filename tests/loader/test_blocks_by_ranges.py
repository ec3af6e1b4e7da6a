"""Blocks of cases at an address, which are requested in place of whole files where that is less."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from small_folders import same, taken

import fastnnunet_loader as fl
from fastnnunet_loader.errors import BadCaseError
from fastnnunet_loader.loading.storage import cache as caches
from fastnnunet_loader.loading.storage import choice, partial
from fastnnunet_loader.loading.storage.choice import Volume, choose, samples_of_a_copy
from fastnnunet_loader.loading.storage.partial import Partial
from fastnnunet_loader.operating_system import bytes_on_disk
from serving import serving
from serving_ranges import RangesServed, serving_ranges

PACKAGE = Path(fl.__file__).parents[1]
CASES = 8
SIZE = "3MiB"  # of the cache: a third of the cases


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 1 MiB that do not compress; a patch of 12 voxels needs about a fifteenth of one."""
    folder, random = tmp_path_factory.mktemp("cases"), np.random.default_rng(3)
    for number in range(CASES):
        image = random.integers(0, 2**32, (1, 64, 64, 64), np.uint32).view(np.float32)
        image[~np.isfinite(image)] = number
        labels = np.zeros((1, 64, 64, 64), np.int8)
        labels[0, 10 : 20 + number, 30:40, 9:33] = 1
        for name, array in ((f"case_{number}", image), (f"case_{number}_seg", labels)):
            file = str(folder / f"{name}.b2nd")
            blosc2.asarray(array, urlpath=file, mode="w", chunks=(1, 32, 32, 64), blocks=(1, 16, 16, 16))
    return folder


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that count less, for files that are smaller than those of trainings."""
    for module in (choice, partial):
        monkeypatch.setattr(module, "REQUEST", 4096)


@pytest.fixture
def served(cases: Path, tmp_path: Path) -> Iterator[RangesServed]:
    (tmp_path / "cases").mkdir()
    for file in cases.iterdir():
        (tmp_path / "cases" / file.name).hardlink_to(file)
    with serving_ranges(tmp_path / "cases") as served:
        yield served


def opened(place: str | Path, **settings: Any) -> fl.DataLoader:
    given: dict[str, Any] = {"patch_size": (12, 12, 12), "batch_size": 2, "threads": 2, "seed": 7, "pin_memory": False}
    return fl.DataLoader.from_folder(place, **{**given, "oversample_foreground": 0.0, "cache": None, **settings})


def test_blocks_are_requested_where_copies_would_be_removed_before_they_pay() -> None:
    volume = Volume(bytes=80 << 20, shape=(1, 300, 512, 512), chunk=(64, 128, 128), block=(16, 32, 32))
    needed = volume.needed((64, 192, 160))
    # 4.94 of 19 blocks along X, 6.97 and 5.97 of 16 along Y and Z; two requests for 1.98 x 2.49 x 2.24 chunks, and the ends.
    assert needed == pytest.approx(volume.bytes * 4.94 / 19 * 6.97 / 16 * 5.97 / 16 + 23.1 * 4096, rel=0.01)
    assert volume.needed((300, 512, 512)) > volume.bytes
    assert samples_of_a_copy(100, 100e9, 100 << 30) == np.inf
    assert samples_of_a_copy(100_000, 10e12, 200 << 30) == pytest.approx(1.02, abs=0.01)
    # A short training: 200 samples of 100 cases read 87 of them, 2.3 times each. A long one reads all of them often.
    assert samples_of_a_copy(100, 100e9, 100 << 30, 200) == pytest.approx(2.3, abs=0.05)
    assert samples_of_a_copy(100, 100e9, 100 << 30, 500_000) == 5000
    assert samples_of_a_copy(100_000, 10e12, 200 << 30, 500_000) == pytest.approx(1.02, abs=0.01)
    assert choose(volume.bytes, needed, 1.02).blocks
    assert choose(volume.bytes, needed, 20.0).blocks
    assert not choose(volume.bytes, needed, 25.0).blocks
    assert not choose(volume.bytes, volume.needed((300, 512, 512)), 1.02).blocks


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_those_of_whole_files_for_fewer_bytes(
    cases: Path, served: RangesServed, tmp_path: Path, threads: int
) -> None:
    wanted = taken(opened(cases))
    said: list[str] = []
    settings: dict[str, Any] = {"cache_dir": tmp_path / "cache", "cache_size": SIZE, "threads": threads, "report": said.append}
    loader = opened(served.address, **settings)
    assert same(taken(loader), wanted)
    assert len(said) == 1 and "blocks of cases are requested, not whole files: a sample needs about" in said[0]
    # Twelve samples (and those made ahead) need eight blocks each at the most, of 64 in a file.
    whole = sum(file.stat().st_size for file in cases.iterdir())
    assert 0 < sum(served.sent.values()) < whole / 3
    largest = max(end - begin for _, begin, end in served.requests)
    assert largest < (cases / "case_0.b2nd").stat().st_size / 2
    assert len(served.requests) == len(set(served.requests))
    # What is there is requested no more.
    before = list(served.requests)
    again = opened(served.address, **settings, prefetch=1)
    assert "blocks of cases are requested" in again.describe()
    assert same(taken(again, 2), wanted[:2])
    assert served.requests == before
    # Where the count of bytes is lost, parts count as far as they are there.
    used = tmp_path / "cache" / "fastnnunet_cache" / "used"
    used.unlink()
    caches.FileCache(tmp_path / "cache", None, said.append)
    assert int(used.read_text()) == sum(map(bytes_on_disk, (tmp_path / "cache").rglob("*.b2nd"))) < whole / 2


def test_whole_files_are_copied_where_the_cache_holds_them(cases: Path, served: RangesServed, tmp_path: Path) -> None:
    said: list[str] = []
    loader = opened(served.address, cache_dir=tmp_path / "cache", report=said.append)
    assert "blocks" not in loader.describe()
    assert same(taken(loader), taken(opened(cases)))
    assert not said and {begin for _, begin, _ in served.requests} == {0}
    # A loader with less room takes the copies that are there, and blocks of the others.
    wanted = taken(opened(cases, seed=8))
    loader = opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE, report=said.append, seed=8)
    assert same(taken(loader), wanted)
    assert len(said) == 1


def test_a_cache_that_is_far_too_small_gives_the_same_batches(
    cases: Path, served: RangesServed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "GRACE", 0.0)
    wanted = taken(opened(cases), 20)
    settings: dict[str, Any] = {"cache_dir": tmp_path / "cache", "memory_budget": "300MB"}
    assert same(taken(opened(served.address, cache_size="700KiB", **settings), 20), wanted)
    assert sum(map(bytes_on_disk, (tmp_path / "cache").rglob("*.b2nd"))) < 1 << 20
    # Whole files likewise: one of two is removed while a thread has it open.
    assert same(taken(opened(cases, cache_dir=tmp_path / "copies", cache_size="2200KB"), 20), wanted)


def test_a_full_disk_is_waited_for(cases: Path, served: RangesServed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no file that is always full")
    failed = []

    def write(self: Partial, parts: Any, write: Any = Partial.write) -> None:
        if len(failed) < 5:
            failed.append(self.place)
            Path("/dev/full").write_bytes(bytes(10))
        write(self, parts)

    monkeypatch.setattr(Partial, "write", write)
    loader = opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE)
    assert same(taken(loader), taken(opened(cases)))
    assert len(failed) == 5


def test_whole_files_are_copied_where_the_disk_has_no_sparse_files(
    cases: Path, served: RangesServed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on exFAT, where parts of a file would take as much room as all of it."""
    monkeypatch.setattr(caches, "GRACE", 0.0)
    monkeypatch.setattr(caches, "bytes_on_disk", lambda file: file.stat().st_size)
    said: list[str] = []
    loader = opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE, report=said.append)
    assert same(taken(loader), taken(opened(cases)))
    (only,) = said
    assert f"{tmp_path / 'cache'} is on a file system without sparse files" in only
    assert {begin for _, begin, _ in served.requests} == {0}


def test_a_server_without_ranges_sends_whole_files(cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "GRACE", 0.0)
    said: list[str] = []
    with serving(cases) as served:
        loader = opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE, report=said.append)
        assert same(taken(loader, 2), taken(opened(cases), 2))
    (only,) = said
    assert "whole files are copied, although blocks of them would do" in only
    assert "expected a server that sends parts of files, got answer 200" in only


def test_a_cut_connection_is_tried_again(cases: Path, served: RangesServed, tmp_path: Path) -> None:
    wanted = taken(opened(cases))
    served.cut = 1
    with opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE) as loader:
        batches = [next(loader) for _ in range(3)]
        served.cut = 2
        batches += [next(loader) for _ in range(3)]
    assert served.cut == 0
    assert same(batches, wanted)


def test_a_source_that_changes_is_named(cases: Path, served: RangesServed, tmp_path: Path) -> None:
    with opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE, patience=0) as loader:
        next(loader)
        for number in range(CASES):  # of the same size
            file, other = served.folder / f"case_{number}.b2nd", tmp_path / "other"
            other.write_bytes(file.read_bytes())
            other.replace(file)  # there is no moment without it
        with pytest.raises(BadCaseError, match="changed or replaced at its source") as error:
            for _ in range(30):
                next(loader)
    assert error.value.file.startswith(f"{served.address}/case_") and error.value.file.endswith(".b2nd")
    # The next loader takes them as they are now.
    assert same(taken(opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE)), taken(opened(cases)))


BATCHES = """
import hashlib, sys
import fastnnunet_loader as fl
from fastnnunet_loader.loading.storage import choice, partial
choice.REQUEST = partial.REQUEST = 4096
loader = fl.DataLoader.from_folder(
    sys.argv[1], patch_size=(12, 12, 12), batch_size=2, threads=2, seed=7, pin_memory=False, oversample_foreground=0.0,
    cache_dir=sys.argv[2], cache_size=sys.argv[3])
digest = hashlib.sha256()
for _ in range(6):
    digest.update(next(loader)["image"].numpy().tobytes())
    print("batch", flush=True)
loader.close()
print(digest.hexdigest(), flush=True)
"""


def other_process(address: str, cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    command = [sys.executable, "-c", BATCHES, address, str(cache), SIZE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=environment)


def test_two_processes_request_what_one_does_and_a_killed_one_leaves_nothing_wrong(
    cases: Path, served: RangesServed, tmp_path: Path
) -> None:
    wanted = taken(opened(cases))
    assert same(taken(opened(served.address, cache_dir=tmp_path / "alone", cache_size=SIZE)), wanted)
    of_one = sum(served.sent.values())
    # Killed while it waits for parts, others of which are written.
    killed = other_process(served.address, tmp_path / "cache")
    assert killed.stdout is not None and killed.stdout.readline() == "batch\n"
    served.hold.clear()
    time.sleep(0.1)
    killed.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    killed.communicate()
    served.hold.set()
    served.sent.clear()
    both = [other_process(served.address, tmp_path / "cache") for _ in range(2)]
    digests = {process.communicate(timeout=60)[0].splitlines()[-1] for process in both}
    assert len(digests) == 1
    assert sum(served.sent.values()) < 1.2 * of_one
    assert same(taken(opened(served.address, cache_dir=tmp_path / "cache", cache_size=SIZE)), wanted)
    from hashlib import sha256

    assert digests == {sha256(b"".join(batch["image"].numpy().tobytes() for batch in wanted)).hexdigest()}


def test_other_addresses_than_http(cases: Path, tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    for file in cases.iterdir():
        memory.pipe_file(f"/ranges/{file.name}", file.read_bytes())
    said: list[str] = []
    loader = opened("memory://ranges", cache_dir=tmp_path / "cache", cache_size=SIZE, report=said.append)
    assert same(taken(loader), taken(opened(cases)))
    assert len(said) == 1 and "blocks of cases are requested" in said[0]
    loader = opened("memory://ranges", cache_dir=tmp_path / "cache", cache_size=SIZE, seed=9, patience=0)
    with loader:
        for file in cases.iterdir():
            memory.pipe_file(f"/ranges/{file.name}", file.read_bytes())
        with pytest.raises(BadCaseError, match="changed or replaced at its source"):
            for _ in range(30):
                next(loader)
