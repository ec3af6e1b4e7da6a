"""Rows of the matrix: nnU-Net's verdict on a file is this package's, to the voxel. `python -m tests.files` has all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from files import pictures, volumes  # noqa: F401
from files.matrix import difference
from files.row import ROWS, Row
from files.verdicts import judge

SHORT = [row for row in ROWS if row.short]


@pytest.mark.parametrize("row", SHORT, ids=[row.name for row in SHORT])
def test_verdict_is_nnunets(row: Row, tmp_path: Path) -> None:
    theirs, ours = judge(row, tmp_path)
    assert difference(row, theirs, ours) == ""


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert sorted(names) == sorted(set(names))
