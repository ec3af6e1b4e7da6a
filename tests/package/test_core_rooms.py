"""The core's rooms: each knows only those above it in ARCHITECTURE.md, and only `platform` the operating system."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "cpp" / "fastnnunet"
PUBLIC = ROOT / "cpp" / "include" / "fastnnunet"  # headers that are installed for C++ programs, in the same rooms
FILES = sorted(path for folder in (CORE, PUBLIC) for path in folder.rglob("*") if path.suffix in (".h", ".cpp"))
LONGEST = 400  # lines
MODULES = 12  # in a folder; a header and its source are one
SYSTEM_HEADER = re.compile(r"#include <(windows|psapi|unistd|fcntl|sched|pthread|sys/|mach/)")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def room_of(path: Path) -> str:
    return path.relative_to(PUBLIC if path.is_relative_to(PUBLIC) else CORE).parts[0]


def rooms_in_order() -> list[str]:
    """Of the table from stage to header."""
    text = read(ROOT / "ARCHITECTURE.md")
    table = text.split("\n## From stage to header\n")[1].split("\n## ")[0]
    return re.findall(r"^\| .* \| `(\w+)[^|]*` \| .* \|$", table, re.MULTILINE)


def test_the_table_names_every_room() -> None:
    assert sorted(rooms_in_order()) == sorted({room_of(path) for path in FILES})


def test_a_room_includes_only_rooms_above_it() -> None:
    order = rooms_in_order()
    wrong = [
        f"{path.relative_to(ROOT)} includes {room}"
        for path in FILES
        for room in re.findall(r'#include "fastnnunet/(\w+)/', read(path))
        if order.index(room) > order.index(room_of(path))
    ]
    assert not wrong


def test_public_headers_include_only_public_ones() -> None:
    """An installed header must find what it includes. The plug-in's headers need nothing else of the project."""
    for path in PUBLIC.rglob("*.h"):
        for name in re.findall(r'#include ["<]fastnnunet/(.+?)[">]', read(path)):
            assert (PUBLIC / name).is_file(), f"{path.relative_to(ROOT)} includes {name}"
            assert room_of(path) != "plugin" or name == "plugin/abi.h"
        outside = re.findall(r"#include <([^>]*/[^>]*|[^>]*\.h)>", read(path))
        assert set(outside) <= {"stddef.h", "stdint.h"}, f"{path.relative_to(ROOT)} includes {outside}"


def test_no_header_is_both_public_and_internal() -> None:
    assert not [path for path in PUBLIC.rglob("*.h") if (CORE / path.relative_to(PUBLIC)).exists()]


def test_locks_are_those_that_clang_checks() -> None:
    """A std::mutex has no annotations, so what it guards would not be checked."""
    unchecked = re.compile(r"std::(mutex|recursive_mutex|shared_mutex|lock_guard|unique_lock|scoped_lock|condition_variable)")
    files = [*FILES, *(ROOT / "cpp" / "bindings").glob("*")]
    wrong = [str(path.relative_to(ROOT)) for path in files if path.is_file() and unchecked.search(read(path))]
    assert wrong == ["cpp/fastnnunet/base/mutex.h"]


@pytest.mark.skipif(shutil.which("clang++") is None, reason="no clang")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("const MutexLock lock(mutex_); ++count_;", ""),
        ("++count_;", "writing variable 'count_' requires holding mutex 'mutex_'"),
        ("add();", "calling function 'add' requires holding mutex 'mutex_'"),
        ("MutexLock lock(mutex_); while (count_ == 0) changed_.wait(lock); lock.unlock(); add();", "requires holding mutex"),
        ("mutex_.lock();", "is still held at the end of function"),
    ],
)
def test_clang_finds_what_is_touched_without_its_lock(body: str, told: str) -> None:
    text = f"""#include "fastnnunet/base/mutex.h"
namespace fastnnunet::base {{
class Counter {{
 public:
  void work() {{ {body} }}
 private:
  void add() FASTNNUNET_REQUIRES(mutex_) {{ ++count_; }}
  Mutex mutex_;
  Condition changed_;
  int count_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
}};
}}
"""
    command = [
        "clang++",
        "-std=c++20",
        "-fsyntax-only",
        "-Wthread-safety",
        "-Werror",
        "-I",
        str(ROOT / "cpp"),
        "-x",
        "c++",
        "-",
    ]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode == 0) == (told == ""), done.stderr
    assert told in done.stderr


def test_only_platform_knows_the_operating_system() -> None:
    wrong = [str(path) for path in FILES if room_of(path) != "platform" and SYSTEM_HEADER.search(read(path))]
    assert not wrong


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(ROOT)): len(read(path).splitlines()) for path in FILES}
    assert not {path: lines for path, lines in long.items() if lines > LONGEST}


def test_a_folder_has_at_most_a_dozen_modules() -> None:
    modules: dict[Path, set[str]] = {}
    for path in FILES:
        folder = path.parent.relative_to(PUBLIC if path.is_relative_to(PUBLIC) else CORE)
        modules.setdefault(folder, set()).add(path.stem)
    assert {str(folder): len(names) for folder, names in modules.items() if len(names) > MODULES} == {}


def test_names_are_in_the_namespace_of_their_room() -> None:
    wrong = {}
    for path in FILES:
        public = path.is_relative_to(PUBLIC)
        below = path.relative_to(PUBLIC if public else CORE)
        opened = set(re.findall(r"^namespace (fastnnunet[\w:]*?)(?:::HWY_NAMESPACE(?:::math)?)? \{", read(path), re.MULTILINE))
        room = "fastnnunet::simd" if below.parts[:2] == ("base", "simd") else f"fastnnunet::{room_of(path)}"
        if room_of(path) != "plugin" and (public or (path.suffix == ".cpp" and (PUBLIC / below).with_suffix(".h").is_file())):
            room = "fastnnunet"  # what a public header declares
        elif str(below) == "sample/target.cpp":
            opened.discard("fastnnunet")  # two functions of sample/target_type.h, beside those that share their table
        if opened != {room} and not (public and not opened and read(path).count("namespace") == 0):
            wrong[str(path.relative_to(ROOT))] = sorted(opened)
    assert wrong == {}


def test_nothing_is_decided_by_a_transforms_name() -> None:
    comparison = re.compile(r'name\(\)\s*[!=]=|[!=]=\s*"?\w*Transform"|dynamic_cast<const \w*Transform')
    files = [*FILES, *(ROOT / "cpp" / "bindings").glob("*.cpp")]
    assert not [str(path) for path in files if comparison.search(read(path))]
