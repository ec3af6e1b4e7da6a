"""Makes symbols of static libraries for macOS private:  private_symbols.py LIBRARY ...

Zig's linker exports whatever a library marks as visible and knows no list of exports. A private external symbol (N_PEXT in
<mach-o/nlist.h>) is found by what is linked with it, and by nobody else. Nothing changes its place or size.
"""

import struct
import sys
from pathlib import Path

OBJECT_OF_64_BITS, LC_SYMTAB = 0xFEEDFACF, 2
N_EXT, N_TYPE, N_SECT, N_PEXT = 0x01, 0x0E, 0x0E, 0x10


def make_private(content: bytearray, start: int) -> None:
    """Mark the external symbols that the object at `start` defines."""
    magic, _, _, _, commands = struct.unpack_from("<5I", content, start)
    if magic != OBJECT_OF_64_BITS:
        return
    at = start + 32
    for _ in range(commands):
        command, size, table, symbols = struct.unpack_from("<4I", content, at)
        if command == LC_SYMTAB:
            for entry in range(start + table, start + table + symbols * 16, 16):
                kind = content[entry + 4]
                if kind & N_EXT and kind & N_TYPE == N_SECT:
                    content[entry + 4] = kind | N_PEXT
        at += size


def main(libraries: list[str]) -> None:
    """Change them in place."""
    for library in libraries:
        content = bytearray(Path(library).read_bytes())
        if not content.startswith(b"!<arch>\n"):
            sys.exit(f"[{library}] expected a static library of one processor, got something else")
        at = 8
        while at < len(content):
            name, size = content[at : at + 16].decode(), int(content[at + 48 : at + 58])
            # A long name lies before the member and counts as part of it.
            make_private(content, at + 60 + (int(name[3:]) if name.startswith("#1/") else 0))
            at += 60 + size + size % 2
        Path(library).write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1:])
