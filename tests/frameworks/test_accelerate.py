"""Trainings with Accelerate: `prepare` leaves the loader as it is, alone and with several ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_folders import numpy_folder, open_folder


def run(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """What each rank of a training saw."""
    root = numpy_folder(folder / "cases")
    script = Path(__file__).parent / "accelerated.py"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(root), str(folder / "seen")],
        capture_output=True, encoding="utf-8", timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [json.loads((folder / f"seen.{rank}").read_text(encoding="utf-8")) for rank in range(ranks)]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_train_with_batches_of_their_own_and_resume(tmp_path: Path, ranks: int) -> None:
    seen = run(tmp_path, ranks)
    for rank, one in enumerate(seen):
        assert one["ranks"] == ranks
        assert len(one["whole"]) == 8  # two epochs of 4, whatever the number of ranks: nothing is divided again
        assert one["resumed"] == one["whole"][6:]
        assert one["resumed, weights"] == pytest.approx(one["whole, weights"], abs=1e-6)
        assert one["whole, weights"] == seen[0]["whole, weights"]
        assert one["whole, val 0"] == 2 * ranks
        if ranks == 1:
            with open_folder(tmp_path / "cases", batch_size=2) as plain:
                batches = [next(plain) for _ in range(8)]
            assert one["whole"] == [[batch["case"], float(batch["image"].mean())] for batch in batches]
        elif rank == 1:
            means = [{mean for _, mean in other["whole"]} for other in seen]
            assert len(means[0]) == len(means[1]) == 8
            assert not means[0] & means[1]


def test_a_loader_that_accelerate_would_take_apart_says_so(tmp_path: Path) -> None:
    """`prepare_data_loader` is for PyTorch's loaders alone: it would make one of whole cases."""
    from accelerate.data_loader import prepare_data_loader

    with open_folder(numpy_folder(tmp_path / "cases")) as loader:
        for ranks in (1, 2):
            taken = prepare_data_loader(loader, num_processes=ranks, process_index=0)
            with pytest.raises(TypeError, match=r"\[sampler\] expected a loader of torch.utils.data, .* prepare\(\)"):
                next(iter(taken))
