"""Which libraries the extensions of a wheel for Windows or macOS load, and what of them they call:  imports.py WHEEL.

auditwheel knows Linux alone. Fails where one loads what neither the system, Python nor torch has, where a symbol comes from
nowhere, and where one for macOS exports a symbol beside its PyInit. On Windows a symbol is asked for together with the name of
its library, so what oneTBB and pybind11 export there meets nobody else's.
"""

from __future__ import annotations

import io
import re
import sys
import zipfile
from collections.abc import Iterable

import pefile
from macholib import mach_o
from macholib.MachO import MachO
from macholib.SymbolTable import SymbolTable

ALLOWED = re.compile(
    r"api-ms-win-\S+\.dll|(kernel32|advapi32|user32|ntdll|shell32|ole32|psapi|bcrypt|ws2_32)\.dll|python3\d+\.dll|torch_cpu\.dll"
    r"|/usr/lib/libSystem\.B\.dylib|@rpath/libtorch_cpu\.dylib",
    re.IGNORECASE,
)
OF_PYTHON = re.compile(r"^_?_?Py[A-Z_]")
# For macOS beside its PyInit: `operator new` and `delete` of the libc++ that is linked in, which are weak, so that those of the
# system take their place; and two variables without a value, which zig exports although they are private.
BESIDE = re.compile(r"(mh_dylib_header|dso_handle|BLOSC2_IO_CB_DEFAULTS|BLOSC2_IO_CB_MMAP)$|Z(na|nw|da|dl)")
OF_TORCH = re.compile(r"^_(aoti_)?torch_")


def of_windows(content: bytes) -> tuple[dict[str, list[str]], list[str]]:
    """Symbols of each library, and those that are exported."""
    read = pefile.PE(data=content)
    imported = {
        entry.dll.decode(): [one.name.decode() if one.name else f"#{one.ordinal}" for one in entry.imports]
        for entry in read.DIRECTORY_ENTRY_IMPORT
    }
    return imported, [one.name.decode() for one in read.DIRECTORY_ENTRY_EXPORT.symbols]


def of_macos(content: bytes, path: str) -> tuple[dict[str, list[str]], list[str]]:
    """The same. With two-level names, each undefined symbol says which library it is from; 254 is any that is loaded."""
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(content)
    read = MachO(path)
    header = read.headers[0]
    libraries = [
        data.rstrip(b"\0").decode()
        for load, _, data in header.commands
        if load.cmd in (mach_o.LC_LOAD_DYLIB, mach_o.LC_LOAD_WEAK_DYLIB)
    ]
    imported: dict[str, list[str]] = {library: [] for library in libraries}
    table = SymbolTable(read)
    for entry, name in table.undefsyms:
        ordinal = entry.n_desc >> 8 & 0xFF
        library = libraries[ordinal - 1] if 0 < ordinal <= len(libraries) else "any that is loaded"
        imported.setdefault(library, []).append(name.decode())
    return imported, [name.decode().lstrip("_") for _, name in table.extdefsyms]


def wrong(imported: dict[str, list[str]], exported: Iterable[str]) -> Iterable[str]:
    """What is not as promised."""
    for library, names in imported.items():
        if library == "any that is loaded":
            foreign = [name for name in names if not OF_PYTHON.match(name) and not OF_TORCH.match(name)]
            if foreign:
                yield f"expected what is looked up in any library to be Python's or torch's, got {', '.join(foreign)}"
        elif not ALLOWED.fullmatch(library):
            yield f"expected libraries of the system, Python or torch, got {library} for {', '.join(names)}"
    beside = [name for name in exported if not name.startswith("PyInit_") and not BESIDE.match(name)]
    if beside and not any(library.lower().endswith(".dll") for library in imported):
        yield f"expected PyInit to be the only symbol that is exported, got {len(beside)} more, such as {beside[0]}"


def main(wheel: str) -> int:
    """Print all of it; 1 where something is wrong."""
    found: list[str] = []
    with zipfile.ZipFile(io.FileIO(wheel)) as archive:
        extensions = [name for name in archive.namelist() if name.endswith((".pyd", ".so"))]
        for name in extensions:
            content = archive.read(name)
            imported, exported = of_windows(content) if name.endswith(".pyd") else of_macos(content, f"{wheel}.part")
            print(f"{name}: {len(content) / 2**20:.1f} MiB, {len(exported)} exported, {sorted(exported)[0]} among them")
            for library, names in sorted(imported.items()):
                print(f"  {library}: {len(names)} symbols")
            found += [f"{name}: {line}" for line in wrong(imported, exported)]
    if not extensions:
        found.append("expected extensions, found none")
    for line in found:
        print(f"WRONG: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
