"""A prediction on two Ray nodes of one machine, one of which is killed in the middle. benchmarks.scale measures the same."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from benchmarks.scale import fleet
from raw_images import cut_images

CASES = 20


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_node_that_is_killed_loses_no_case_and_none_is_computed_twice(trained: Any, tmp_path: Path) -> None:
    dataset, model = trained()
    images, plain, output = (
        cut_images(dataset, tmp_path / "images", CASES, (32, 40, 32)),
        tmp_path / "plain",
        tmp_path / "output",
    )
    output.mkdir()
    scene = fleet.NodeKilled(tmp_path / "scene")
    with ThreadPoolExecutor(1) as beside:
        alone = beside.submit(fleet.predict, "one process", fleet.words(model, images, plain))
        with scene.cluster() as cluster:  # which takes as long to start
            assert alone.result()[0].code == 0
            lost, holds = scene.run(cluster, model, images, plain, output)
    assert [what for what, true in holds.items() if not true] == [], lost
    assert len(list(output.glob("*.nii.gz"))) == CASES
    assert not cluster.processes()
