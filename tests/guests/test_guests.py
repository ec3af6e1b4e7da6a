"""TotalSegmentator, in both orders of imports. All programs: `python -m tests.guests`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guests.guest import FIRST, LAST
from guests.programs.totalsegmentator import GUEST
from guests.table import rows_of
from prediction.models import model_folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_totalsegmentator(nnunet_dataset: Callable[[str], Any], dataset_cache: Path) -> None:
    """It replaces methods of nnU-Net's predictor when it is imported, before install() or after."""
    dataset = nnunet_dataset("default")
    # Its plain export, and the one that only it has; nnU-Net alone runs once for both orders.
    works = tuple(replace(work, orders=(FIRST, LAST)) for work in GUEST.works[:2])
    rows = list(rows_of(replace(GUEST, works=works), dataset, model_folder(dataset, dataset_cache), dataset_cache))
    assert [(row.what, row.order) for row in rows] == [
        (work.what, order) for work in works for order in ("installed first", "installed last")
    ]
    assert [(row.what, row.order, row.faults) for row in rows if row.faults] == []
    assert all(row.processes.endswith("/ 0") for row in rows), [row.processes for row in rows]
    assert all(row.voxels.startswith("0 of") for row in rows), [row.voxels for row in rows]
