"""The training of segment_brains.py, fed by MONAI's own loader and by this one: iterations/s and CPU seconds.

python examples/scripts/against_monai.py [--iterations 100] [--workers 2] [--folder brains]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import monai.data
import psutil
import torch
from monai.losses import DiceCELoss
from segment_brains import NETWORKS, PATCH, random_transforms, read_brains

import fastnnunet_loader as fl

Batches = Iterable[dict[str, Any]]


def cpu_seconds() -> float:
    """Of this process and of its workers, as long as they live."""
    me = psutil.Process(os.getpid())
    return sum(sum(process.cpu_times()[:2]) for process in [me, *me.children(recursive=True)])


def train(name: str, batches: Batches, network: torch.nn.Module, iterations: int) -> None:
    loss_of, optimizer = DiceCELoss(to_onehot_y=True, softmax=True), torch.optim.AdamW(network.parameters(), lr=2e-3)
    steps, cpu, started = iter(batches), cpu_seconds(), time.perf_counter()
    for _ in range(iterations):
        batch = next(steps)
        loss = loss_of(network(batch["image"]), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    print(f"{name:<24} {iterations / seconds:7.2f} iterations/s {cpu / iterations:7.3f} CPU seconds an iteration")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2, help="processes of MONAI's loader, threads of this one")
    parser.add_argument("--folder", type=Path, default=Path("brains"))
    args = parser.parse_args()
    images, labels = read_brains(args.folder)
    make: Callable[[], torch.nn.Module] = NETWORKS["segresnet"]

    cases = [{"image": images[name], "label": labels[name]} for name in images] * args.iterations
    data = monai.data.Dataset(cases, random_transforms())
    options: dict[str, Any] = {"batch_size": 2, "shuffle": True, "num_workers": args.workers}
    train("MONAI", monai.data.DataLoader(data, **options), make(), args.iterations)

    settings: dict[str, Any] = {"patch_size": PATCH, "batch_size": 2, "oversample_foreground": 0.5, "threads": args.workers}
    transforms = fl.augmentation.from_monai(random_transforms(), report=None)
    with fl.DataLoader.from_arrays(images, labels, transforms=transforms, **settings) as loader:
        train("fastnnunet_loader", loader, make(), args.iterations)


if __name__ == "__main__":
    main()
