"""Functions of torch's stable ABI, as a library to link to:  torch_stub.py def|tbd INCLUDE.

`def`: a module definition of torch_cpu.dll. `tbd`: a text-based stub of libtorch_cpu.dylib. Both name all functions; an
extension refers to those that it calls.
"""

import re
import sys
from pathlib import Path

SHIMS = ("torch/csrc/inductor/aoti_torch/c/shim.h", "torch/csrc/stable/c/shim.h")
TBD = """\
--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '@rpath/libtorch_cpu.dylib'
exports:
  - targets: [ arm64-macos ]
    symbols: [ {} ]
...
"""


def main(kind: str, include: str) -> None:
    """Print the library."""
    texts = [(Path(include) / shim).read_text(encoding="utf-8") for shim in SHIMS]
    names = sorted({name for text in texts for name in re.findall(r"\b((?:aoti_)?torch_\w+)\s*\(", text)})
    if kind == "def":
        print("LIBRARY torch_cpu.dll", "EXPORTS", *names, sep="\n")
    else:
        print(TBD.format(", ".join(f"_{name}" for name in names)), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
