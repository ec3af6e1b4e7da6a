"""Processes of torch.distributed that make batches of a folder, and write down what was in each slot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastnnunet_loader as fl

PACKAGE = Path(fl.__file__).parents[1]

# One process for each rank. The same processes are groups of 1, 2, 3 and 4 ranks in turn: those that are not needed wait.
PROGRAM = """
import hashlib, json, sys
from pathlib import Path

import torch.distributed as dist

import fastnnunet_loader as fl

place, rank, asked = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
augmentation = fl.augmentation.nnunet(tuple(asked["options"]["patch_size"])) if asked["augmented"] else None


def content(batch, slot):
    digest = hashlib.sha256()
    for key in ("image", "label"):
        for tensor in batch[key] if isinstance(batch[key], list) else [batch[key]]:
            digest.update(tensor[slot].numpy().tobytes())
    return [batch["case"][slot], digest.hexdigest()]


for ranks in asked["ranks"]:
    if rank >= ranks:
        continue
    store = dist.FileStore(str(place / f"store_{ranks}"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    size = asked["global_batch_size"] // ranks
    options = {**asked["options"], "threads": 1 + (rank + ranks) % 3, "prefetch": 1 + rank}
    options |= {"batch_size": size, "transforms": augmentation, "pin_memory": False}
    with fl.DataLoader.from_folder(asked["folder"], **options) as loader:
        made = [[content(batch, slot) for slot in range(size)] for batch in (next(loader) for _ in range(asked["steps"]))]
        state = loader.state_dict()
    everyone = [None] * ranks
    dist.all_gather_object(everyone, (made, state))
    if rank == 0:
        steps = [[slot for made, _ in everyone for slot in made[step]] for step in range(asked["steps"])]
        (place / f"{ranks}.json").write_text(json.dumps({"steps": steps, "states": [state for _, state in everyone]}))
    dist.barrier()
    dist.destroy_process_group()
"""


def batches_of_ranks(place: Path, ranks: list[int], asked: dict[str, Any]) -> dict[int, Any]:
    """Run groups of so many ranks. Returns, of each, the case and digest of each slot of each global batch, and all states."""
    place.mkdir(exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")},
        "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    told = json.dumps({**asked, "ranks": ranks})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(place), str(rank), told], env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in range(max(ranks))
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not any(process.returncode for process in processes), "\n".join(said)
    return {number: json.loads((place / f"{number}.json").read_text(encoding="utf-8")) for number in ranks}
