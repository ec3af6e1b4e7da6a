"""nnUNetv2_predict itself, with this package under it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from prediction_runs import TIES, assert_same_segmentations, environment, nnunet_predict, options
from raw_images import copy_images

from nnunet.processes import SHORT_PROGRAMS, created_processes
from nnunet.programs import RUN, SCRIPTS, call, needs_the_installed_package, printed

pytestmark = pytest.mark.slow


def test_nnunetv2_predict_writes_what_it_writes_without(trained: Any, tmp_path: Path) -> None:
    needs_the_installed_package()
    dataset, model = trained()
    images = copy_images(dataset, tmp_path / "images", 2)
    nnunet_predict(dataset, model, images, tmp_path / "theirs", "--disable_tta", "-npp", "1", "-nps", "1")
    trace = tmp_path / "trace.txt"
    strace = ["strace", "-f", "--seccomp-bpf", "-e", "trace=process", "-o", str(trace)]
    chosen = options(model, images, tmp_path / "ours", "--disable_tta")
    variables = environment(dataset, model)
    printed(call(*RUN, *strace, sys.executable, SCRIPTS / "nnUNetv2_predict", *chosen, environment=variables))
    created = created_processes(trace.read_text(encoding="utf-8"))
    assert set(created.values()) <= SHORT_PROGRAMS, created
    assert_same_segmentations(tmp_path / "ours", tmp_path / "theirs", TIES)
