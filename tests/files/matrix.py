"""What must hold between two verdicts."""

from __future__ import annotations

import numpy as np

from .row import Row
from .verdicts import Verdict

__all__ = ["difference"]


def difference(row: Row, theirs: Verdict, ours: Verdict) -> str:
    """What is not as it should be, or "": the same labels, or a refusal before the first case that names case and file."""
    if theirs.labels is not None and ours.labels is not None:
        return (
            ""
            if np.array_equal(theirs.labels, ours.labels)
            else f"{np.count_nonzero(theirs.labels != ours.labels)} labels differ"
        )
    if row.refused and ours.made:
        return f"expected it to be refused, for {row.refused}"
    if theirs.made != ours.made and not (row.refused and ours.stage == "check"):
        return f"nnU-Net {theirs}; this package {ours}"
    if ours.stage != "check" and not row.late:
        return f"found too late: {ours}"
    return "" if ours.said.startswith("[case]") and "case_000" in ours.said else f"names no file: {ours}"
