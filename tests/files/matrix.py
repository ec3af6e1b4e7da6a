"""What must hold between two verdicts."""

from __future__ import annotations

import numpy as np

from .row import Row
from .verdicts import Verdicts

__all__ = ["difference"]


def difference(row: Row, verdicts: Verdicts) -> str:
    """What is not as it should be, or "".

    The same labels, and nothing that the doctor finds wrong; or a refusal before the first case that names case and file, and
    that the doctor says as well.
    """
    theirs, ours = verdicts.theirs, verdicts.ours
    if ours.made and verdicts.doctor:
        return f"predicted, but the doctor says {verdicts.doctor[0]}"
    if theirs.labels is not None and ours.labels is not None:
        differ = np.count_nonzero(theirs.labels != ours.labels)
        return f"{differ} labels differ" if differ else ""
    if row.refused and ours.made:
        return f"expected it to be refused, for {row.refused}"
    if theirs.made != ours.made and not (row.refused and ours.stage == "check"):
        return f"nnU-Net {theirs}; this package {ours}"
    if ours.stage != "check" and not row.late:
        return f"found too late: {ours}"
    if not (ours.said.startswith("[case]") and "case_000" in ours.said):
        return f"names no file: {ours}"
    if ours.stage == "check" and not any("case_000" in line for line in verdicts.doctor):
        return f"the doctor does not say so: {verdicts.doctor}"
    return ""
