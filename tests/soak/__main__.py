"""`python -m tests.soak [BATCHES]` (20,000): prints what was seen; 1 where something grew."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from datasets import prepared
from fastnnunet_loader.nnunet.sources import open_source
from soak.soak import soak


def main(batches: int) -> int:
    """Soak, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        given = os.environ.get("FASTNNUNET_TEST_CACHE")
        cache = Path(given).resolve() if given else Path(scratch, "cache")
        dataset = prepared("default", cache, Path(scratch, "results"))
        os.environ.update(dataset.env)
        seen = soak(open_source(dataset.name, "3d_fullres", 0), batches)
    print(
        f"{seen.batches} batches of 2 in {seen.seconds:.0f} s on 2 threads, {seen.samples} samples, waited {seen.waited:.0f} s"
    )
    print(
        f"memory {seen.first_memory / 2**20:.1f} MiB after a tenth, {seen.last_memory / 2**20:.1f} MiB at the end, "
        f"{seen.slope:.1f} bytes per batch"
    )
    print(f"handles {seen.handles[0]} to {seen.handles[1]}, threads {seen.threads[0]} to {seen.threads[1]}")
    print(f"at most {seen.most_in_use} batches in memory, {seen.prefetch} ahead")
    for fault in seen.faults():
        print(f"FAULT: {fault}")
    return 1 if seen.faults() else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20000))
