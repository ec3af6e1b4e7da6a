"""The demo from start to end, and the figures that it prints."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastnnunet_loader.bench.measure import PeakMemory, measure, process_tree, tree_cpu_seconds

# A parent with one child, which works for half a second and holds 64 MiB.
CHILD = """
import time
kept = b"x" * 2**26
while time.process_time() < 0.5:
    pass
print("worked", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys
process = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
process.stdout.readline()
print("worked", flush=True)
sys.stdin.readline()
process.kill()
process.wait()
"""


def test_children_are_counted_while_they_live() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin and process.stdout
        with PeakMemory(process.pid, interval=0.02) as peak:
            assert process.stdout.readline() == "worked\n"
            assert len(process_tree(process.pid)) == 2
            # The system counts in ticks of 10 ms, for each process, and the parent has work of its own.
            assert 0.45 <= tree_cpu_seconds(process.pid) < 5
            time.sleep(0.1)
        assert 2**26 < peak.bytes < 2**28
        process.stdin.write("\n")


@pytest.mark.slow
def test_both_loaders_are_measured(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    ours, nnunets = (measure(loader, dataset.name, "3d_fullres", seconds=2) for loader in ("fastnnunet", "nnunet"))
    for figures in (ours, nnunets):
        assert figures.batch_size == 2
        assert list(figures.patch_size) == dataset.plans["configurations"]["3d_fullres"]["patch_size"]
        assert figures.samples >= 8
        assert 2**27 < figures.peak_memory < 2**33
        # One worker and the process that takes its batches.
        assert 0 < figures.cpu_seconds_per_sample * figures.samples_per_second < 2.5
    assert ours.cpu_seconds_per_sample < nnunets.cpu_seconds_per_sample
    assert not any(dataset.results.iterdir())


def test_a_loader_that_fails_says_why(nnunet_dataset: Any) -> None:
    nnunet_dataset("default")
    with pytest.raises(RuntimeError, match="nothing_of_this_name"):
        measure("fastnnunet", "1", "3d_fullres", trainer="nothing_of_this_name")


@pytest.mark.slow
def test_the_demo_trains_and_tells(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastnnunet_loader.cli", "demo", "-o", str(tmp_path / "out"), "-device", "cpu"]
    command += ["--cases", "5", "--resolution", "5", "--epochs", "2", "--iterations", "8", "--seconds", "1"]
    env = {**os.environ, "COLUMNS": "140"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validation Dice: " in done.stdout
    for row in ("samples per second", "CPU seconds per sample", "first batch after", "peak memory"):
        assert row in done.stdout
    assert (tmp_path / "out" / "summary" / "patches_3d_fullres.png").is_file()
    assert (tmp_path / "out" / "summary" / "summary.html").is_file()
    assert len(list((tmp_path / "out" / "predicted").glob("brain_*.nii.gz"))) == 1
    assert "no worker process" in done.stdout
