"""Batches and predictions are the committed ones, bit for bit: on this processor, and with the code paths of an old one.

A digest that changes is a change of every user's batches or predictions, and is told in the CHANGELOG.
`python -m tests.digests FILE` writes them anew. The same for every instruction set is `cpp/tests/engine/digests.cpp`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import KINDS_OF_DATA
from digests.batches import TRAINERS, digests, environment, libm, versions
from digests.leaves import leaves
from digests.predictions import PREDICTIONS, digests_of_predictions
from digests.volumes import KINDS
from fastnnunet_loader.transforms.registry import NATIVE

COMMITTED: dict[str, Any] = json.loads(Path(__file__).with_name("digests.json").read_text(encoding="utf-8"))
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    versions() != COMMITTED["versions"], reason=f"the trees are those of {COMMITTED['versions']}, installed is {versions()}"
)


# These call no function of the C library's mathematics: neither sin nor exp nor log.
WITHOUT_LIBM = ("validation", "NoDA, training", "NoDA, training, always", "SpatialTransform: crop", "MirrorTransform",
                "Rot90Transform", "TransposeAxesTransform", "MedianFilterTransform", "MaskImageTransform",
                "RemoveLabelTransform", "ConvertSegmentationToRegionsTransform", "DownsampleSegForDSTransform")  # fmt: skip


def different(found: dict[str, str], with_libm: str) -> list[str]:
    """The names whose digests are not the committed ones.

    Where the C library rounds sin, exp or log as none did that the file was made with, only those that do without (parity.md).
    """
    expected = COMMITTED["digests"]
    known = with_libm in COMMITTED["libm"]
    return [
        name
        for name in {**expected, **found}
        if expected.get(name) != found.get(name) and (known or name.endswith(WITHOUT_LIBM))
    ]


def different_predictions(found: dict[str, str]) -> list[str]:
    """As `different`. What the C library rounds differently is rounded away here: to the half precision of Gaussian weights."""
    expected = COMMITTED["predictions"]
    return [name for name in {**expected, **found} if expected.get(name) != found.get(name)]


def test_predictions_are_the_committed_ones() -> None:
    assert different_predictions(dict(digests_of_predictions())) == []


def test_batches_are_the_committed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert different(dict(digests(tmp_path)), libm()) == []


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or platform.machine() != "x86_64", reason="another C library chooses in other ways"
)
def test_they_are_the_same_with_the_code_for_an_old_processor() -> None:
    """The core, glibc, NumPy, which nnUNetTrainerDA5's callable scalars use, and torch leave out AVX2, FMA and AVX-512."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    old = {
        **os.environ,
        "FASTNNUNET_SIMD": "BASELINE",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F",
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in __cpu_dispatch__ if __cpu_features__[name]),
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *filter(None, sys.path)]),
    }
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "digests"], env=old, stdout=subprocess.PIPE, check=True)
    made = json.loads(done.stdout)
    assert made["libm"] != [libm()] or libm() == COMMITTED["libm"][1], "nothing was left out"
    assert different(made["digests"], made["libm"][0]) == []
    assert different_predictions(made["predictions"]) == []


def test_every_kind_of_data_trainer_and_transform_has_a_digest() -> None:
    names = COMMITTED["digests"]
    assert [(kind.name, kind.configuration) for kind in KINDS] == KINDS_OF_DATA
    for kind in KINDS:
        for trainer in TRAINERS:
            assert f"{kind.name} {kind.configuration}, {trainer}, training" in names
    for patch in ((8, 8, 8), (8, 8)):
        dims = f"{len(patch)}D"
        found = {name.partition(":")[0] for name, _ in leaves(patch)}
        assert found == set(NATIVE) - (set() if len(patch) == 3 else {"Convert3DTo2DTransform", "Convert2DTo3DTransform"})
        assert {f"{dims}, {name}" for name, _ in leaves(patch)} <= set(names)


def test_every_kind_of_data_has_a_digest_of_a_prediction() -> None:
    predicted = {kind.name.partition(",")[0] for kind in PREDICTIONS}
    # A network trained with an ignored label predicts as any other.
    assert {f"{name} {configuration}" for name, configuration in KINDS_OF_DATA if name != "ignore"} <= predicted
    assert len(set(COMMITTED["predictions"].values())) == len(COMMITTED["predictions"]) == 3 * len(PREDICTIONS)


def test_every_transform_changes_what_it_is_given() -> None:
    """So that its digest is of its own work."""
    for dims in ("2D", "3D"):
        of_leaves = [digest for name, digest in COMMITTED["digests"].items() if name.startswith(dims)]
        assert len(set(of_leaves)) == len(of_leaves)
    assert np.unique(list(COMMITTED["digests"].values())).size > 150
