"""Rows of the matrix: nnU-Net's verdict on a file is this package's, to the voxel. `python -m tests.files` has all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastnnunet_loader.prediction.images.cases import Case
from fastnnunet_loader.prediction.session.session import Session
from files import pictures, volumes  # noqa: F401
from files.matrix import difference
from files.row import ROWS, SHAPE, Row, volume
from files.verdicts import judge, predictor_for

SHORT = [row for row in ROWS if row.short]


@pytest.mark.parametrize("row", SHORT, ids=[row.name for row in SHORT])
def test_verdict_is_nnunets(row: Row, tmp_path: Path) -> None:
    assert difference(row, judge(row, tmp_path)) == ""


def test_images_of_four_dimensions_are_predicted_where_nothing_is_written(tmp_path: Path) -> None:
    """nnU-Net's writer is what cannot take them."""
    predictor = predictor_for("SimpleITKIO", ".nrrd", 2, "ZScoreNormalization")
    volumes.itk(volume("int16", (2, *SHAPE)), "case_0000.nrrd")(tmp_path)
    file = str(tmp_path / "case_0000.nrrd")
    (theirs,) = predictor.predict_from_files_sequential([[file]], None)
    session = Session(predictor, threads=1, progress=False, say=lambda _: None)
    checked, bad = session.check([Case("case", (file,))])
    assert not bad
    (ours,) = session.run_files(checked)
    assert np.array_equal(ours, theirs)


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert sorted(names) == sorted(set(names))
