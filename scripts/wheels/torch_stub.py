"""Functions of torch's stable ABI, as a module definition of torch_cpu.dll:  torch_stub.py INCLUDE > torch_cpu.def.

The import library made of it names them all; a wheel imports those that it calls.
"""

import re
import sys
from pathlib import Path

SHIMS = ("torch/csrc/inductor/aoti_torch/c/shim.h", "torch/csrc/stable/c/shim.h")


def main(include: str) -> None:
    """Print the definition."""
    texts = [(Path(include) / shim).read_text(encoding="utf-8") for shim in SHIMS]
    names = {name for text in texts for name in re.findall(r"\b((?:aoti_)?torch_\w+)\s*\(", text)}
    print("LIBRARY torch_cpu.dll", "EXPORTS", *sorted(names), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
