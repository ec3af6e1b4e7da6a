"""Amounts of memory, as a user writes them."""

from __future__ import annotations

import re

__all__ = ["parse_bytes"]


def parse_bytes(text: str | int) -> int:
    """A number of bytes from '4GB', '512 MiB', '1.5G' or a plain number. Units are powers of 1024.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"[memory budget] expected a size such as '4GB', got {text!r}")
    return int(float(match[1]) * 1024 ** ("kmgt".index(match[2].lower()) + 1 if match[2] else 0))
