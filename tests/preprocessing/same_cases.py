"""What was preprocessed here beside what nnU-Net preprocessed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

IMAGE = 1e-4
"""Of the range of intensities."""

TIES = 1e-4
"""Voxels whose labels may differ."""


def assert_same_cases(ours: Path, theirs: Path, cases: int) -> None:
    """Every file of one folder is in the other, with the same storage, voxels and properties."""
    names = sorted(file.name for file in theirs.iterdir())
    # nnU-Net looks at files only; a folder may be left of a process that was killed just before it said whose it is.
    assert sorted(file.name for file in ours.iterdir() if file.is_file()) == names
    assert len(names) == 3 * cases
    for name in names:
        if name.endswith(".pkl"):
            assert_same_properties(properties(ours / name), properties(theirs / name))
        else:
            assert_same_voxels(ours / name, theirs / name)


def properties(file: Path) -> dict[str, Any]:
    """Of a case."""
    with file.open("rb") as stream:
        content: dict[str, Any] = pickle.load(stream)
    return content


def assert_same_properties(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """In nnU-Net's types, too: its loader and its export go on with them."""
    assert list(ours) == list(theirs)
    for key, expected in theirs.items():
        found = ours[key]
        assert type(found) is type(expected), key
        if key == "class_locations":
            assert list(found) == list(expected)
            for label, rows in expected.items():
                assert type(found[label]) is type(rows)
                assert getattr(found[label], "dtype", None) == getattr(rows, "dtype", None)
                assert np.array_equal(found[label], rows), label
        elif key == "sitk_stuff":
            assert found == expected
        else:
            assert found == expected, key


def assert_same_voxels(ours: Path, theirs: Path) -> None:
    found, expected = (blosc2.open(urlpath=str(file), mode="r") for file in (ours, theirs))
    for name in ("shape", "chunks", "blocks", "dtype"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("codec", "clevel", "filters", "splitmode", "typesize"):
        assert getattr(found.schunk.cparams, name) == getattr(expected.schunk.cparams, name), name
    assert list(found.schunk.meta) == list(expected.schunk.meta)
    mine, reference = found[:], expected[:]
    if ours.name.endswith("_seg.b2nd"):
        assert np.mean(mine != reference) <= TIES
    else:
        assert np.abs(mine - reference).max() <= IMAGE * (reference.max() - reference.min())
