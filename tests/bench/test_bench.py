"""The command that measures both loaders on a data set of the user's."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from fastnnunet_loader.cli.command import main
from nnunet.processes import small_shared_memory
from nnunet.programs import call


@pytest.mark.slow
def test_both_loaders_are_shown_side_by_side(nnunet_dataset: Any, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = nnunet_dataset("default")
    arguments = ["bench", dataset.name, "2d", "0", "--threads", "1", "--seconds", "1"]
    assert main(arguments) == 0
    printed = capfd.readouterr().out
    assert "this loader, 1 thread" in printed
    assert "nnU-Net, 1 process" in printed
    assert "times fewer CPU seconds per sample" in printed

    assert main([*arguments, "--json"]) == 0
    ours, theirs = json.loads(capfd.readouterr().out)
    assert (ours["loader"], theirs["loader"]) == ("fastnnunet", "nnunet")
    assert ours["patch_size"] == theirs["patch_size"] == dataset.plans["configurations"]["2d"]["patch_size"]
    assert 0 < ours["cpu_seconds_per_sample"] < theirs["cpu_seconds_per_sample"]
    assert not any(dataset.results.iterdir())


def test_a_trainer_that_is_not_found_is_an_error_of_one_line(nnunet_dataset: Any, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = nnunet_dataset("default")
    assert main(["bench", dataset.name, "2d", "0", "-tr", "nothing_of_this_name"]) == 2
    assert "nothing_of_this_name" in capfd.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "long"])
def test_lengths_that_are_none_are_refused(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "1", "2d", "0", "--seconds", seconds])
    assert "expected seconds above 0" in capsys.readouterr().err


def test_nnunets_loader_is_given_up_where_shared_memory_is_too_small(nnunet_dataset: Any) -> None:
    # Its worker processes make batches that they cannot hand over, and nnU-Net waits for them forever.
    under = small_shared_memory("64k")  # as much as a semaphore needs
    if not under:
        pytest.skip("expected the right to mount, for a /dev/shm of 64 KiB")
    dataset = nnunet_dataset()
    program = (
        "from fastnnunet_loader.bench import measure as measuring\n"
        "from fastnnunet_loader.cli import main\n"
        "measuring.LOST = 2.0\n"
        f"raise SystemExit(main(['bench', '{dataset.id}', '3d_fullres', '0', '--threads', '1', '--seconds', '0.1']))\n"
    )
    done = call(*under, sys.executable, "-c", program, environment={**os.environ, **dataset.env})
    assert done.returncode == 1, done.stderr
    assert "nnU-Net's own loader made no batches here: " in done.stderr
    assert "No space left on device" in done.stderr
    assert "samples per second" in done.stdout
