"""A training with Accelerate, as a script of a user: `accelerated.py CASES FILE`. Each rank writes what it saw."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from accelerate import Accelerator

import fastnnunet_loader as fl


def main(cases: str, file: str) -> None:
    """Train for two epochs, saving in the middle of the second; then resume from there with other objects."""
    seen: dict[str, Any] = {}
    accelerator = Accelerator(cpu=True)
    for part in ("whole", "resumed"):
        common: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 2, "threads": 1, "to": accelerator.device}
        loader = fl.DataLoader.from_folder(cases, batches_per_epoch=4, seed=5 if part == "whole" else 99, **common)
        val = fl.DataLoader.from_folder(cases, batches_per_epoch=2, seed=6, role="val", **common)
        network: Any = torch.nn.Conv3d(1, 4, 3, padding=1)
        optimizer: Any = torch.optim.SGD(network.parameters(), 0.01)
        prepared: Any = accelerator.prepare(network, optimizer, loader, val)
        network, optimizer, given, given_val = prepared
        assert given is loader and given_val is val
        accelerator.register_for_checkpointing(loader)
        if part == "resumed":
            accelerator.load_state(f"{file}.state")
        batches = []
        for epoch in range(1 if part == "resumed" else 0, 2):
            for batch in given:
                batches.append([batch["case"], float(batch["image"].mean())])
                scores = network(batch["image"] / 1e5)
                loss = torch.nn.functional.cross_entropy(scores, batch["label"][:, 0].clamp(min=0).long())
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                if part == "whole" and len(batches) == 6:
                    accelerator.save_state(f"{file}.state")
            losses = [network(batch["image"] / 1e5).mean() for batch in given_val]
            seen[f"{part}, val {epoch}"] = len(accelerator.gather(torch.stack(losses)))
        seen[part] = batches
        seen["ranks"] = accelerator.num_processes
        weights = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        seen[f"{part}, weights"] = weights.tolist()
        loader.close()
        val.close()
        accelerator._custom_objects.clear()
        accelerator.free_memory()
    with open(f"{file}.{accelerator.process_index}", "w", encoding="utf-8") as stream:  # noqa: PTH123
        json.dump(seen, stream)
    accelerator.end_training()


if __name__ == "__main__":
    main(*sys.argv[1:])
