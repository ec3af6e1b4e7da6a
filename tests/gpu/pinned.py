"""Batches in pinned memory: nothing is written where a copy to the device may still read."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import open_source

from .check import Scene, check

SEED = 31
BATCHES = 60
DEVICE = torch.device("cuda")


@contextlib.contextmanager
def _loader(dataset: str, *, pin_memory: bool) -> Iterator[Any]:
    source = open_source(dataset, "3d_fullres", 0)
    loader = fl.DataLoader.from_nnunet(source.train, threads=4, seed=SEED, pin_memory=pin_memory)
    try:
        yield loader
    finally:
        loader.close()


def _tensors(batch: Any) -> list[torch.Tensor]:
    target = batch["target"]
    return [batch["data"], *(target if isinstance(target, list) else [target])]


def _reference(scene: Scene, count: int = BATCHES) -> list[list[torch.Tensor]]:
    """The same batches from ordinary memory, each copied before the next is asked for."""
    with _loader(scene.dataset.name, pin_memory=False) as loader:
        return [[tensor.clone() for tensor in _tensors(next(loader))] for _ in range(count)]


def _delay(milliseconds: float) -> None:
    """Keep the current stream busy; work that is queued after it waits."""
    # The clock is not known, so this is a rough figure: at 1.5 GHz.
    torch.cuda._sleep(int(milliseconds * 1.5e6))


def _differing(copies: list[list[torch.Tensor]], expected: list[list[torch.Tensor]]) -> int:
    torch.cuda.synchronize()
    assert len(copies) == len(expected)
    return sum(
        any(not torch.equal(got.cpu(), want) for got, want in zip(copy, wants, strict=True))
        for copy, wants in zip(copies, expected, strict=True)
    )


@check("pinned: the race can be seen", "a block that is rewritten behind a copy's back gives other voxels on the device")
def race_is_seen(scene: Scene) -> str:
    """The control of the rows below: without it, their silence would say nothing."""
    expected = _reference(scene)
    blocks = [torch.empty_like(tensor).pin_memory() for tensor in expected[0]]
    copies = []
    for batch in expected:
        for block, tensor in zip(blocks, batch, strict=True):
            block.copy_(tensor)
        _delay(2)
        copies.append([block.to(DEVICE, non_blocking=True) for block in blocks])
    differing = _differing(copies, expected)
    assert differing > 0, "the copies were over before their memory was rewritten"
    return f"{differing} of {BATCHES} batches differ where one block is used again and again"


@check("pinned: every tensor", "torch calls all tensors of all batches pinned, the targets of deep supervision too")
def every_tensor_is_pinned(scene: Scene) -> str:
    with _loader(scene.dataset.name, pin_memory=True) as loader:
        tensors = [tensor for _ in range(20) for tensor in _tensors(next(loader))]
        assert all(tensor.is_pinned() for tensor in tensors)
        line = loader.describe().splitlines()[0]
    assert "pinned memory" in line, line
    return f"{len(tensors)} tensors"


def _copied(
    scene: Scene, streams: int, part: bool = False, keep: int = 0, milliseconds: float = 2.0
) -> list[list[torch.Tensor]]:
    """Copies of all batches, each queued behind a delay and its batch dropped at once."""
    copies: list[list[torch.Tensor]] = []
    used = [torch.cuda.Stream() for _ in range(streams)]
    kept = []
    with _loader(scene.dataset.name, pin_memory=True) as loader:
        for number in range(BATCHES):
            batch = next(loader)
            with torch.cuda.stream(used[number % streams]):
                _delay(milliseconds)
                tensors = [tensor[1:] for tensor in _tensors(batch)] if part else _tensors(batch)
                copies.append([tensor.to(DEVICE, non_blocking=True) for tensor in tensors])
                del tensors
            if keep:
                kept = [*kept[1 - keep :], batch]
            del batch
    return copies


@check("pinned: a batch dropped while it is copied", "60 batches copied behind a busy stream are those of ordinary memory")
def dropped_at_once(scene: Scene) -> str:
    differing = _differing(_copied(scene, streams=1), _reference(scene))
    assert differing == 0, f"{differing} of {BATCHES} batches differ"
    return f"{BATCHES} batches, 0 differ"


@check("pinned: several streams", "so do batches that are copied on three streams in turn")
def several_streams(scene: Scene) -> str:
    differing = _differing(_copied(scene, streams=3), _reference(scene))
    assert differing == 0, f"{differing} of {BATCHES} batches differ"
    return f"{BATCHES} batches, 0 differ"


@check("pinned: a part of a tensor", "so do copies of the second sample alone")
def part_of_a_tensor(scene: Scene) -> str:
    expected = [[tensor[1:] for tensor in batch] for batch in _reference(scene)]
    differing = _differing(_copied(scene, streams=2, part=True), expected)
    assert differing == 0, f"{differing} of {BATCHES} batches differ"
    return f"{BATCHES} batches, 0 differ"


@check("pinned: batches kept for a while", "so do batches of which the last five are held by a queue")
def kept_in_a_queue(scene: Scene) -> str:
    differing = _differing(_copied(scene, streams=2, keep=5), _reference(scene))
    assert differing == 0, f"{differing} of {BATCHES} batches differ"
    return f"{BATCHES} batches, 0 differ"


@check("pinned: copies from another thread", "a thread that copies while the training's takes the next batch changes nothing")
def another_thread(scene: Scene) -> str:
    handed: queue.Queue[Any] = queue.Queue(2)
    copies: list[list[torch.Tensor]] = []

    def copy() -> None:
        stream = torch.cuda.Stream()
        while (batch := handed.get()) is not None:
            with torch.cuda.stream(stream):
                _delay(2)
                copies.append([tensor.to(DEVICE, non_blocking=True) for tensor in _tensors(batch)])
            del batch

    thread = threading.Thread(target=copy)
    thread.start()
    with _loader(scene.dataset.name, pin_memory=True) as loader:
        for _ in range(BATCHES):
            handed.put(next(loader))
        handed.put(None)
        thread.join()
    differing = _differing(copies, _reference(scene))
    assert differing == 0, f"{differing} of {BATCHES} batches differ"
    return f"{BATCHES} batches, 0 differ"


@check("pinned: closed while copies run", "what was queued before close() arrives whole")
def closed_while_copies_run(scene: Scene) -> str:
    expected = _reference(scene, 5)
    with _loader(scene.dataset.name, pin_memory=True) as loader:
        _delay(300)
        copies = [[tensor.to(DEVICE, non_blocking=True) for tensor in _tensors(next(loader))] for _ in range(5)]
    with _loader(scene.dataset.name, pin_memory=True) as loader:  # takes the memory that the first has given back
        for _ in range(20):
            next(loader)
        differing = _differing(copies, expected)
    assert differing == 0, f"{differing} of 5 batches differ"
    return "5 batches, 0 differ"


@check("pinned: memory", "torch's allocator takes no new block once the loader runs, and no more than what its ring may hold")
def memory_is_bounded(scene: Scene) -> str:
    """In a process of its own, where nobody has used pinned memory before."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from gpu.pinned import print_memory; import sys; print_memory(sys.argv[1])",
            scene.dataset.name,
        ],
        env={**os.environ, **scene.dataset.env, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    # Beside those made ahead: one that the training has, one whose copy runs. Powers of two double them at the worst.
    bound = 2 * seen["batch_bytes"] * (seen["ahead"] + 2)
    assert seen["late"]["num_host_alloc"] == seen["early"]["num_host_alloc"], seen
    assert seen["late"]["allocated_bytes.current"] <= bound, seen
    blocks, taken = seen["late"]["num_host_alloc"], seen["late"]["allocated_bytes.current"] / 2**20
    return f"{taken:.1f} MiB in {blocks} blocks after 20 and after 300 batches of {seen['batch_bytes'] / 2**20:.1f} MiB"


def print_memory(dataset: str) -> None:
    """Print what torch's allocator of pinned memory says after 20 and after 300 batches."""
    figures: dict[str, Any] = {}
    with _loader(dataset, pin_memory=True) as loader:
        for number in range(1, 301):
            for tensor in _tensors(next(loader)):
                tensor.to(DEVICE, non_blocking=True)
            torch.cuda.synchronize()  # as a training does for its loss
            if number in (20, 300):
                figures["early" if number == 20 else "late"] = torch.cuda.host_memory_stats()
        figures.update(batch_bytes=loader.stats().batch_bytes, ahead=loader.stats().prefetch_limit)
    print(json.dumps(figures))
