"""The core's rooms: each knows only those above it in ARCHITECTURE.md, and only `platform` the operating system."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "cpp" / "fastnnunet"
FILES = sorted(path for path in CORE.rglob("*") if path.suffix in (".h", ".cpp"))
LONGEST = 400  # lines
SYSTEM_HEADER = re.compile(r"#include <(windows|psapi|unistd|fcntl|sched|pthread|sys/|mach/)")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0]


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


def test_only_platform_knows_the_operating_system() -> None:
    wrong = [str(path) for path in FILES if room_of(path) != "platform" and SYSTEM_HEADER.search(read(path))]
    assert not wrong


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(ROOT)): len(read(path).splitlines()) for path in FILES}
    assert not {path: lines for path, lines in long.items() if lines > LONGEST}


def test_nothing_is_decided_by_a_transforms_name() -> None:
    comparison = re.compile(r'name\(\)\s*[!=]=|[!=]=\s*"?\w*Transform"|dynamic_cast<const \w*Transform')
    files = [*FILES, *(ROOT / "cpp" / "bindings").glob("*.cpp")]
    assert not [str(path) for path in files if comparison.search(read(path))]
