"""A training's reading in a process of its own: one line of JSON for each epoch, with a digest of its batches.

    python -m benchmarks.scale.reader PLACE --patch 64 64 64 [--steps 24] [--epochs 2] [--cache FOLDER]

PLACE is a folder or an address. After each epoch but the last it waits for a line on standard input, so that whoever started it
can look at the server. No voxel is kept in memory: what a batch needs is read from the copies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import fastnnunet_loader as fl

BATCH = 2


def opened(place: str, patch: tuple[int, ...], cache: Path | None, patience: float) -> Any:
    return fl.DataLoader.from_folder(
        place, patch_size=patch, batch_size=BATCH, transforms=fl.augmentation.nnunet(patch), threads=2, seed=11,
        pin_memory=False, keep_blocks=False, cache_dir=cache, patience=patience,
    )  # fmt: skip


def epoch(loader: Any, steps: int, started: float) -> dict[str, Any]:
    digest, cases = hashlib.sha256(), set()
    for _ in range(steps):
        batch = next(loader)
        cases.update(batch["case"])
        for name in ("image", "label"):
            digest.update(batch[name].numpy().tobytes())
    return {"seconds": time.perf_counter() - started, "digest": digest.hexdigest(), "cases": sorted(cases)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.reader", description=__doc__)
    parser.add_argument("place")
    parser.add_argument("--patch", type=int, nargs=3, required=True)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--patience", type=float, default=300.0)
    args = parser.parse_args()
    started = time.perf_counter()  # the first epoch has the opening, which copies as well
    with opened(args.place, tuple(args.patch), args.cache, args.patience) as loader:
        for number in range(args.epochs):
            if number:
                sys.stdin.readline()
                started = time.perf_counter()
            print(json.dumps(epoch(loader, args.steps, started)), flush=True)


if __name__ == "__main__":
    main()
