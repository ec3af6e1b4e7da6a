"""Copies of cases on a disk of the machine, and data sets at addresses that fsspec reads."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_folders import numpy_folder, open_folder, same, taken

import fastnnunet_loader as fl
from fastnnunet_loader.errors import StorageError
from fastnnunet_loader.loading.storage import cache as caches
from fastnnunet_loader.loading.storage import places
from fastnnunet_loader.loading.storage.cache import FileCache
from serving import Served, serving

PACKAGE = Path(fl.__file__).parents[1]


def kept(cache: Path) -> list[Path]:
    return sorted(file for file in (cache / "fastnnunet_cache" / "files").rglob("*") if file.is_file())


def whole_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A folder and its address."""
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as served:
        yield served


@pytest.mark.parametrize("ending", ["b2nd", "npz"])
def test_batches_from_copies_are_those_from_the_source(tmp_path: Path, ending: str) -> None:
    folder, cache = numpy_folder(tmp_path / "cases", ending), tmp_path / "cache"
    wanted = taken(open_folder(folder))
    loader = open_folder(folder, cache_dir=cache, cache_size="1GiB")
    assert "copied" in loader.describe()
    assert same(taken(loader), wanted)
    assert len(kept(cache)) == len([file for file in folder.iterdir() if file.is_file()])
    # The second run reads no voxel of the source.
    before = {file: file.stat().st_ino for file in kept(cache)}
    for file in folder.iterdir():
        if file.is_file():
            os.utime(file, ns=(0, file.stat().st_mtime_ns))
    assert same(taken(open_folder(folder, cache_dir=cache)), wanted)
    assert {file: file.stat().st_ino for file in kept(cache)} == before
    whole = open_folder(folder, cache_dir=cache)
    with whole:
        assert whole.dataset[1]["image"].shape == (1, 20, 24, 28)
        assert whole.patch(0, 0).image.shape == (1, 8, 8, 8)


def test_a_file_that_changed_at_the_source_is_copied_anew(tmp_path: Path) -> None:
    folder, cache = numpy_folder(tmp_path / "cases", "b2nd", cases=1), tmp_path / "cache"
    first = taken(open_folder(folder, cache_dir=cache))
    old = kept(cache)
    shutil.rmtree(folder)
    numpy_folder(folder, "b2nd", cases=2)
    for name in ("case_0.b2nd", "case_0_seg.b2nd"):
        (folder / name.replace("_0", "_1")).replace(folder / name)  # of the same size, as a source that was made again is
    wanted = taken(open_folder(folder))
    ours = taken(open_folder(folder, cache_dir=cache))
    assert same(ours, wanted) and not same(ours, first)
    assert len(kept(cache)) == len(old) and set(kept(cache)).isdisjoint(old)


def test_the_least_recently_used_are_removed_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for number in range(4):
        files.append(tmp_path / f"case_{number}.npy")
        files[-1].write_bytes(bytes(1000))
    said: list[str] = []
    cache = FileCache(tmp_path / "cache", 3100, said.append)
    copies = [cache.local(file) for file in files[:3]]
    assert all(copies) and not said
    # What was given out a moment ago may not be open yet: it stays, and the source is read.
    assert cache.local(files[3]) is None
    assert cache.local(files[3]) is None
    assert len(said) == 1 and "no room" in said[0] and str(tmp_path / "cache") in said[0]
    monkeypatch.setattr(caches, "GRACE", 0.0)
    assert cache.local(files[0]) == copies[0]  # used last
    assert cache.local(files[3]) is not None
    assert [copy is not None and copy.exists() for copy in copies] == [True, False, True]
    again = FileCache(tmp_path / "cache", 3100, said.append).local(files[1])
    assert again is not None and again.read_bytes() == bytes(1000)
    assert sum(file.stat().st_size for file in kept(tmp_path / "cache")) <= 3100


COPY = """
import sys, time
from pathlib import Path
from fastnnunet_loader.loading.storage import places
from fastnnunet_loader.loading.storage.cache import FileCache
slow = float(sys.argv[3])
write = places._write
def slowly(target, chunk):
    write(target, chunk)
    print("writing", flush=True)
    time.sleep(slow)
places._write = slowly
cache = FileCache(Path(sys.argv[1]), None, print)
print(cache.local(places.place_of(sys.argv[2])), cache.copied, flush=True)
"""


def copying(cache: Path, file: Path | str, slow: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    return subprocess.Popen(
        [sys.executable, "-c", COPY, cache, file, str(slow)], stdout=subprocess.PIPE, encoding="utf-8", env=environment
    )


def test_two_runs_copy_a_file_once_and_a_killed_one_leaves_nothing_behind(tmp_path: Path) -> None:
    file, cache = tmp_path / "case.npy", tmp_path / "cache"
    file.write_bytes(os.urandom(5 << 20))
    killed = copying(cache, file, 100.0)
    assert killed.stdout is not None and killed.stdout.readline() == "writing\n"
    second, third = copying(cache, file, 0.2), copying(cache, file, 0.2)
    time.sleep(0.5)
    assert second.poll() is None and third.poll() is None  # they wait
    assert [part.suffix for part in kept(cache)] == [".part"]
    killed.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    killed.communicate()
    lines = [process.communicate(timeout=60)[0].splitlines() for process in (second, third)]
    (copy,) = kept(cache)
    assert copy.read_bytes() == file.read_bytes()
    assert sorted(line[-1] for line in lines) == [f"{copy} 0", f"{copy} 1"]
    # What a killed process leaves of another file is removed when room is made.
    left = copy.with_name(".7.other.0123456789ab.npy.part")
    left.write_bytes(bytes(7))
    (cache / "fastnnunet_cache" / "used").write_text("", encoding="ascii")  # it was killed while it wrote this
    FileCache(cache, None, print)
    assert kept(cache) == [copy]
    assert int((cache / "fastnnunet_cache" / "used").read_text(encoding="ascii")) == file.stat().st_size


def test_a_run_is_killed_while_a_slow_server_sends_and_two_others_copy_the_file_once(served: Served, tmp_path: Path) -> None:
    file, cache, address = served.folder / "case.npy", tmp_path / "cache", f"{served.address}/case.npy"
    file.write_bytes(os.urandom(3 << 20))
    served.rate = 4e6
    served.goes_on.clear()
    killed = copying(cache, address, 0.0)
    assert served.half_way.acquire(timeout=60)
    killed.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    killed.communicate()
    assert [part.suffix for part in kept(cache)] == [".part"]
    served.goes_on.set()
    both = [copying(cache, address, 0.0) for _ in range(2)]
    lines = [process.communicate(timeout=60)[0].splitlines() for process in both]
    (copy,) = kept(cache)
    assert copy.read_bytes() == file.read_bytes()
    assert sorted(line[-1] for line in lines) == [f"{copy} 0", f"{copy} 1"]
    assert served.sent["case.npy"] == 2  # to the one that was killed, and to one of the others


def test_what_changed_at_an_address_is_sent_anew_and_nothing_else(served: Served, tmp_path: Path) -> None:
    folder, settings = numpy_folder(served.folder / "cases", "b2nd", cases=3), {"cache_dir": tmp_path / "cache"}
    address = f"{served.address}/cases"
    first = taken(open_folder(address, cache=tmp_path / "classes", **settings))
    served.sent.clear()
    changed = ("case_0.b2nd", "case_0_seg.b2nd")
    for name in changed:
        (folder / name).write_bytes((folder / name.replace("_0", "_1")).read_bytes())
        os.utime(folder / name, (0, time.time() + 60))  # a server tells whole seconds
    wanted = taken(open_folder(folder))
    ours = taken(open_folder(address, cache=tmp_path / "classes", **settings))
    assert same(ours, wanted) and not same(ours, first)
    assert {name: served.sent[name] for name in served.sent if name.endswith(".b2nd")} == dict.fromkeys(changed, 1)


def test_a_full_disk_goes_on_from_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = numpy_folder(tmp_path / "cases", "b2nd"), tmp_path / "cache"
    wanted = taken(open_folder(folder))
    written = [0]

    def write(target: Any, chunk: bytes, write: Any = places._write) -> None:
        written[0] += len(chunk)
        if written[0] > whole_size(folder) // 3:
            with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
                write(full, chunk)
        write(target, chunk)

    if not Path("/dev/full").exists():
        pytest.skip("this system has no file that is always full")
    monkeypatch.setattr(places, "_write", write)
    said: list[str] = []
    assert same(taken(open_folder(folder, cache_dir=cache, report=said.append)), wanted)
    assert len(said) == 1 and "No space left on device" in said[0]
    assert not [file for file in kept(cache) if file.suffix == ".part"]


def test_a_full_disk_is_waited_for_where_a_file_is_at_an_address(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has room again after a second: not the minute for which files of folders are read from where they are."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no file that is always full")
    numpy_folder(served.folder / "cases", "b2nd")
    wanted = taken(open_folder(served.folder / "cases"))
    refused: list[float] = []

    def copy(*given: Any, copy: Any = places.copy) -> None:
        now = time.monotonic()
        if not refused or now < refused[0] + 1:
            refused.append(now)
            Path("/dev/full").write_bytes(bytes(10))
        copy(*given)

    monkeypatch.setattr(places, "copy", copy)
    settings: dict[str, Any] = {"cache_dir": tmp_path / "cache", "cache": tmp_path / "classes"}
    assert same(taken(open_folder(f"{served.address}/cases", **settings)), wanted)
    assert refused and time.monotonic() < refused[0] + 30


def test_a_folder_may_be_at_an_address(served: Served, tmp_path: Path) -> None:
    root, address = served.folder, served.address
    numpy_folder(root / "cases", "b2nd")
    wanted = taken(open_folder(root / "cases"))
    settings: dict[str, Any] = {"cache_dir": tmp_path / "cache", "cache": tmp_path / "classes"}
    assert same(taken(open_folder(f"{address}/cases", **settings)), wanted)
    assert {name: count for name, count in served.sent.items() if name.endswith(".b2nd")} == {
        file.name: 1 for file in (root / "cases").glob("*.b2nd")
    }
    assert same(taken(open_folder(f"{address}/cases", **settings)), wanted)
    assert max(served.sent[file.name] for file in (root / "cases").glob("*.b2nd")) == 1
    assert same(taken(open_folder((root / "cases").as_uri())), wanted)  # file:// needs neither a cache nor fsspec


def test_a_server_that_is_away_is_waited_for(served: Served, tmp_path: Path) -> None:
    root, address = served.folder, served.address
    file = root / "case.npy"
    file.write_bytes(bytes(100))
    cache = FileCache(tmp_path / "cache", None, print)
    assert places.names(address) == ["case.npy"]
    with pytest.raises(StorageError) as gone:
        cache.local(f"{address}/other.npy")
    assert not gone.value.passing and gone.value.file == f"{address}/other.npy"
    with pytest.raises(StorageError) as away:
        cache.local("http://127.0.0.1:9/case.npy")
    assert away.value.passing


def test_cases_of_the_next_batches_are_copied_ahead(tmp_path: Path) -> None:
    folder, cache = numpy_folder(tmp_path / "cases", "b2nd", cases=16), tmp_path / "cache"
    with open_folder(folder, cache_dir=cache, batch_size=1, prefetch=1, threads=1) as loader:
        coming = [loader._opened().cases_of(step)[0] for step in range(40)]
        assert [loader.keys.index(next(loader)["case"][0]) for _ in range(3)] == coming[:3]
        wanted = {f"case_{number}{labels}" for number in coming for labels in ("", "_seg")}
        missing, end = wanted, time.monotonic() + 20
        while missing and time.monotonic() < end:
            time.sleep(0.05)
            missing = wanted - {file.name.split(".")[0] for file in kept(cache)}
        assert not missing


def test_closing_does_not_wait_for_a_copy(served: Served, tmp_path: Path) -> None:
    root, address = served.folder, served.address
    numpy_folder(root / "cases", "b2nd", cases=8)
    loader = open_folder(f"{address}/cases", cache_dir=tmp_path / "cache", oversample_foreground=0.0)
    next(loader)
    served.delay = 5.0
    begin = time.monotonic()
    loader.close()
    assert time.monotonic() - begin < 4
    served.delay = 0.0


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"\[cache_size\] expected a folder of the cache, cache_dir, with it, got none"):
        fl.install(cache_size="1GB")
    folder = numpy_folder(tmp_path / "cases", "b2nd")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"\[cache_dir\] expected a folder that can be written to, got .*file"):
        open_folder(folder, cache_dir=tmp_path / "file")
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for file in folder.glob("*.b2nd"):
        memory.pipe_file(f"/cases/{file.name}", file.read_bytes())
    with pytest.raises(ValueError, match=r"\[cache_dir\] expected a folder on a disk .* memory://cases/case_0.b2nd"):
        open_folder("memory://cases")
    with pytest.raises(ModuleNotFoundError, match=r"reads s3:// addresses.*\n  pip install 'fsspec\[s3\]'"):
        monkeypatch.setitem(sys.modules, "s3fs", None)
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # found by another test
        open_folder("s3://bucket/cases", cache_dir=tmp_path / "cache")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ModuleNotFoundError, match=r"reads memory:// addresses, got none: fsspec\n"):
        open_folder("memory://cases", cache_dir=tmp_path / "cache")
