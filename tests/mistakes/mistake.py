"""What a mistake is."""

from __future__ import annotations

from dataclasses import dataclass

CORE = "cpp/fastnnunet"
PACKAGE = "python/fastnnunet_loader"


@dataclass(frozen=True)
class Mistake:
    """One change of one file."""

    file: str
    what: str
    right: str  # stands in the file exactly once
    wrong: str
    tests: str  # pytest's, separated by spaces: they run where the C++ tests pass, and for a mistake in Python
