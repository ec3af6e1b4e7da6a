"""The least that a sample costs: c-blosc2 decompresses what its final patch holds, and nothing else is done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

WARM_UP = 5


def floor(source: Any, seconds: float = 1.0) -> float:
    """Return CPU seconds a sample on one thread, over at least so many seconds.

    source: nnU-Net's nnUNetDataLoader, of .b2nd files. Opening a case's files counts, as it does for every loader.
    """
    data, previous = source._data, source._data.folder_with_segs_from_previous_stage
    folder = Path(data.source_folder)
    cases = [[folder / f"{case}.b2nd", folder / f"{case}_seg.b2nd"] for case in source.indices]
    if previous is not None:
        cases = [[*files, Path(previous) / f"{case}.b2nd"] for files, case in zip(cases, source.indices, strict=True)]
    patch = [int(n) for n in source.final_patch_size]  # (X, Y, Z), of one plane in 2D
    rng = np.random.default_rng(0)
    samples, started = -WARM_UP, 0.0
    while samples <= 0 or time.process_time() - started < seconds:
        if samples == 0:
            started = time.process_time()
        corner = None
        for file in cases[samples % len(cases)]:
            stored = blosc2.open(urlpath=str(file), mode="r", dparams={"nthreads": 1}, mmap_mode="r")
            shape = stored.shape[-3:]
            if corner is None:  # one for all files of a case
                corner = [int(rng.integers(max(1, n - p + 1))) for n, p in zip(shape, patch, strict=True)]
            box = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
            stored[(slice(None),) * (stored.ndim - 3) + box]
        samples += 1
    return (time.process_time() - started) / samples
