"""Properties of cases: what nnU-Net writes is read; no pickle runs code, takes memory by a number, or leaves anything."""

from __future__ import annotations

import collections
import errno
import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.loading.reading.pickles import read_properties

ORDINARY: dict[str, Any] = {
    "integers": np.arange(10),
    "float32": np.float32(2.5),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big endian": np.arange(4, dtype=">i4"),
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "objects": np.array([1, "a", None], dtype=object),
    "texts": np.array(["abc", "d"]),
    "bytes of numpy": np.array([b"abc", b"d"]),
    "text of numpy": np.str_("abc"),
    "empty text of numpy": np.str_(""),
    "bool of numpy": np.bool_(True),
    "bools": np.array([True, False]),
    "int64": np.int64(-3),
    "float16": np.float16(3),
    "complex64": np.complex64(1 + 2j),
    "no voxels": np.zeros((0, 4), int),
    "0-dimensional": np.array(3.0),
    "path": Path("folder") / "file",
    "windows path": pathlib.PureWindowsPath("c:/folder"),
    "set": {1, 2},
    "empty set": set(),
    "frozenset": frozenset([3]),
    "bytearray": bytearray(b"xyz"),
    "bytes": b"\xff\x00abc",
    "no bytes": b"",
    "complex": 1j,
    "slice": slice(1, 2),
    "ordered": collections.OrderedDict(a=1, b=[2]),
    "large": 10**30,
    "nothing": None,
    "infinite": float("inf"),
    "class_locations": {1: np.zeros((5, 4), np.int64), (1, 2): np.ones((2, 4), np.int64)},
}


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_ordinary_values_are_read_as_pickle_reads_them(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "case.pkl"
    file.write_bytes(pickle.dumps(ORDINARY, protocol=protocol))
    expected, got = pickle.loads(file.read_bytes()), read_properties(file)
    for name in ORDINARY:
        assert same(got[name], expected[name]), name


@pytest.mark.parametrize("variant", ["default", "regions", "ignore"])
def test_all_that_nnunet_writes_is_read(nnunet_dataset: Any, variant: str) -> None:
    dataset = nnunet_dataset(variant)
    files = sorted((dataset.preprocessed / dataset.name).glob("*/*.pkl"))
    assert files
    for file in files:
        assert same(read_properties(file), pickle.loads(file.read_bytes())), file


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


class OwnArray(np.ndarray[Any, Any]):
    """A subclass of the user's, whose methods would run."""


def by_persistent_id() -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return "somewhere" if isinstance(obj, Call) else None

    stream = io.BytesIO()
    Pickler(stream).dump({"class_locations": Call(os.getcwd)})
    return stream.getvalue()


def fields_that_say_they_are_not_objects() -> bytes:
    # Bytes of the file would become references to objects.
    state = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
    return pickle.dumps({"x": Call(np.dtype, "V8", False, True, state=state)})


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "os.system": (lambda: pickle.dumps({"a": Call(os.system, "true")}), "system"),
    "nested deep inside": (lambda: pickle.dumps({"a": [{"b": (1, {"c": [Call(os.system, "true")]})}]}), "system"),
    "as a key": (lambda: pickle.dumps({Call(os.getcwd): 1}), "getcwd"),
    "in an object array": (lambda: pickle.dumps({"a": np.array([Call(os.getcwd), None], dtype=object)}), "getcwd"),
    "eval": (lambda: b"c__builtin__\neval\n(S'1'\ntR.", "eval"),
    "getattr": (lambda: pickle.dumps({"a": Call(getattr, {}, "update")}), "getattr"),
    "an attribute of what is admitted": (lambda: b"\x80\x04\x8c\x05numpy\x8c\x09dtype.mro\x93.", "numpy.dtype.mro"),
    "a module as an attribute": (lambda: b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", "ndarray.__class__"),
    "old instances": (lambda: b"(ios\nsystem\n.", "os.system"),
    "a subclass of arrays": (lambda: pickle.dumps({"a": np.zeros(3).view(OwnArray)}), "OwnArray"),
    "numpy.matrix": (lambda: b"cnumpy\nmatrix\n(S'1 2'\ntR.", "numpy.matrix"),
    "numpy.memmap": (lambda: b"cnumpy\nmemmap\n(S'/etc/hostname'\ntR.", "numpy.memmap"),
    "numpy.load": (lambda: b"cnumpy\nload\n(S'/etc/hostname'\ntR.", "numpy.load"),
    "arrays called by name": (lambda: b"cnumpy\nndarray\n((I9\nttR.", "_ArrayType"),
    "persistent ids": (by_persistent_id, "persistent"),
    "a type with fields": (lambda: pickle.dumps({"a": np.zeros(2, [("x", "O"), ("y", "f4")])}), "plain numpy.dtype"),
    "a false state of a type": (fields_that_say_they_are_not_objects, "plain numpy.dtype"),
    "attributes of a class": (
        lambda: b"cpathlib\nPath\n(NS'exists'\nI1\ntb.",  # a class's own methods would be replaced
        "the state of an array",
    ),
    "no dictionary": (lambda: pickle.dumps([1]), "expected a dictionary"),
    "extensions": (lambda: b"\x80\x02\x82\x01.", "unregistered extension"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_rest_is_refused_by_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / "case.pkl"
    make, expected = HOSTILE[name]
    file.write_bytes(make())
    with pytest.raises(fl.StorageError) as caught:
        read_properties(file)
    assert expected in caught.value.reason
    assert str(file) in str(caught.value)


def test_a_states_own_flags_of_a_type_do_not_count(tmp_path: Path) -> None:
    # Object arrays whose type says that their bytes are plain numbers: 8 bytes of the file would be taken for references.
    array = Call(np.dtype, "O", False, True, state=(3, "|", None, None, None, -1, -1, 0))
    content = pickle.dumps({"a": array})
    file = tmp_path / "case.pkl"
    file.write_bytes(content)
    assert read_properties(file)["a"].hasobject
    assert read_properties(file)["a"].flags == np.dtype("O").flags

    class Filled:
        def __reduce__(self) -> Any:
            rebuild = np.zeros(1).__reduce__()[0]
            return rebuild, (np.ndarray, (0,), b"b"), (1, (2,), array, False, b"\x41" * 16)

    file.write_bytes(pickle.dumps({"a": Filled()}))
    with pytest.raises(fl.StorageError, match="an array's type and voxels"):
        read_properties(file)


@pytest.mark.parametrize(
    "content",
    [
        b"r\xff\xff\xff\x7fN.",  # where to remember what, and nothing on the stack
        b"Nr\xff\xff\xff\x7f.",
        b"\x80\x04N\x8e" + struct.pack("<Q", 2**62) + b"abc.",  # so many bytes follow
        b"\x80\x05\x96" + struct.pack("<Q", 2**28) + b"abc.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        b"c__builtin__\nbytearray\n(I99999999999\ntR.",
        b"c__builtin__\nset\n(c__builtin__\nrange\n(I99999999999\ntRtR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I99999999999\ntS'b'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'V2000000000'\ntRtR.",
    ],
)
def test_no_number_in_the_file_takes_memory_or_time(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "case.pkl"
    file.write_bytes(content)
    import resource  # not on Windows

    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(fl.StorageError):
        read_properties(file)
    assert time.monotonic() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_damaged_pickles_raise_and_leave_nothing(tmp_path: Path) -> None:
    file = tmp_path / "case.pkl"
    random = np.random.default_rng(5)
    methods = {name: getattr(Path, name) for name in ("open", "exists", "is_file")}
    raised = 0
    for protocol in (2, 4, 5):
        whole = np.frombuffer(pickle.dumps(ORDINARY, protocol=protocol), np.uint8)
        for _ in range(400):
            content = whole.copy()
            places = random.integers(len(content), size=random.integers(1, 4))
            content[places] = random.integers(256, size=len(places))
            file.write_bytes(content[: random.integers(len(content))].tobytes() if random.random() < 0.2 else content.tobytes())
            try:
                read_properties(file)
            except fl.StorageError:
                raised += 1
    assert raised > 300
    assert methods == {name: getattr(Path, name) for name in methods}
    assert read_properties.__defaults__ == (False,)


def test_the_plain_unpickler_where_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "case.pkl"
    file.write_bytes(pickle.dumps({"a": Call(os.mkdir, str(tmp_path / "made"))}))
    with pytest.raises(fl.StorageError, match="mkdir"):
        read_properties(file)
    assert not (tmp_path / "made").exists()
    assert read_properties(file, unrestricted=True) == {"a": None}
    assert (tmp_path / "made").is_dir()


def test_a_size_that_pythons_own_unpickler_believes_is_the_files_fault(tmp_path: Path) -> None:
    """It asks for the memory that the file names, so that the lack of it is no reason to try again or to stop."""
    file = tmp_path / "case.pkl"
    file.write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"abc.")
    with pytest.raises(fl.StorageError, match="expected a whole pickle of nnU-Net's properties, got MemoryError") as caught:
        read_properties(file, unrestricted=True)
    assert (caught.value.errno, caught.value.passing) == (None, False)


WITHOUT_MEMORY = """
import resource, sys
from pathlib import Path
import fastnnunet_loader as fl
from fastnnunet_loader.loading.reading.pickles import read_properties
StorageError = fl.StorageError  # what is imported late is there before the limit is, and so is the core
import fastnnunet_loader._core
used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), resource.RLIM_INFINITY))
try:
    read_properties(Path(sys.argv[1]))
except StorageError as error:
    print(error.errno, error)
"""


def test_lack_of_memory_is_not_the_files_fault(tmp_path: Path) -> None:
    file = tmp_path / "case.pkl"
    file.write_bytes(pickle.dumps({"class_locations": {1: np.zeros((500_000, 4), np.int64)}}))
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY, str(file)], capture_output=True, encoding="utf-8", check=True, timeout=120
    )
    assert run.stdout == f"{errno.ENOMEM} [{file}] no memory is left to read it\n"
