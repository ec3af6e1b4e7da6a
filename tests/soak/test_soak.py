"""A short run of the soak; `python -m tests.soak` is the long one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastnnunet_loader.nnunet.sources import open_source

from .soak import soak


def test_nothing_grows_with_the_batches(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    seen = soak(open_source(dataset.name, "3d_fullres", 0), 1000)
    assert seen.faults() == []
    # What it is there to find is found.
    for leak in (
        replace(seen, slope=4096.0 * 4),
        replace(seen, handles=(10, 11)),
        replace(seen, threads=(5, 6)),
        replace(seen, samples=1000),
    ):
        assert len(leak.faults()) == 1
