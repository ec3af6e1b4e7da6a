"""What a sample costs at the least where its volumes are files: c-blosc2 decompresses its final patch, and no more is done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

RUNS = 5  # the fastest counts
WARM_UP = 5


def floor(source: Any, seconds: float = 0.5) -> float:
    """Return CPU seconds a sample, on one thread and with files that are open, by c-blosc2's own reading of slices.

    source: nnU-Net's nnUNetDataLoader, of .b2nd files. seconds: at least so long is each of some runs.
    """
    data, previous = source._data, source._data.folder_with_segs_from_previous_stage
    folder = Path(data.source_folder)
    cases = []
    for case in source.indices:
        files = [folder / f"{case}.b2nd", folder / f"{case}_seg.b2nd"]
        if previous is not None:
            files.append(Path(previous) / f"{case}.b2nd")
        cases.append([blosc2.open(urlpath=str(file), mode="r", dparams={"nthreads": 1}, mmap_mode="r") for file in files])
    patch = [int(n) for n in source.final_patch_size]  # (X, Y, Z), of one plane in 2D
    rng = np.random.default_rng(0)

    def read(number: int) -> None:
        opened = cases[number % len(cases)]
        corner = [int(rng.integers(max(1, n - p + 1))) for n, p in zip(opened[0].shape[-3:], patch, strict=True)]
        box = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        for stored in opened:
            stored[(slice(None),) * (stored.ndim - 3) + box]

    for number in range(WARM_UP):
        read(number)
    fastest = float("inf")
    for _ in range(RUNS):
        samples, started = 0, time.process_time()
        while time.process_time() - started < seconds:
            read(samples)
            samples += 1
        fastest = min(fastest, (time.process_time() - started) / samples)
    return fastest
