"""Batches that come on the device: copied ahead on a stream of their own, and nothing is read before it is there."""

from __future__ import annotations

from typing import Any

import torch

import fastnnunet_loader as fl

from .check import Scene, check

BATCHES = 60
PATCH = (32, 32, 32)


def _loader(scene: Scene, **settings: Any) -> fl.DataLoader:
    given: dict[str, Any] = {"patch_size": PATCH, "batch_size": 2, "threads": 4, "seed": 31, "pin_memory": True}
    made = fl.augmentation.nnunet(PATCH, deep_supervision_scales=[[1, 1, 1], [0.5, 0.5, 0.5]])
    return fl.DataLoader.from_folder(scene.dataset.folder("3d_fullres"), transforms=made, **{**given, **settings})


def _tensors(batch: Any) -> list[torch.Tensor]:
    return [batch["image"], *batch["label"]]


def _differing(scene: Scene, busy: bool, streams: int = 1, **settings: Any) -> str:
    """Each batch is copied on a stream that may be busy, and dropped at once; then all are compared with those of the CPU."""
    used = [torch.cuda.Stream() for _ in range(streams)]
    copies, ahead = [], 0
    with _loader(scene, to="cuda", **settings) as loader:
        for number in range(BATCHES):
            with torch.cuda.stream(used[number % streams]):
                if busy:
                    torch.cuda._sleep(3_000_000)  # about 2 ms: work that is queued after it waits
                batch = next(loader)
                assert all(tensor.device == loader.device for tensor in _tensors(batch))
                copies.append([tensor.clone() for tensor in _tensors(batch)])
                del batch
            ahead += loader._ahead is not None
    torch.cuda.synchronize()
    with _loader(scene, pin_memory=False) as plain:
        differing = 0
        for copy in copies:
            expected = _tensors(next(plain))
            differing += any(not torch.equal(got.cpu(), want) for got, want in zip(copy, expected, strict=True))
    assert differing == 0, f"{differing} of {BATCHES} batches differ"
    return f"{BATCHES} batches, 0 differ, {ahead} times the next one was on its way"


@check("ahead: batches", "batches on the device are those of the CPU, at once after they were asked for")
def batches(scene: Scene) -> str:
    return _differing(scene, busy=False)


@check("ahead: a busy stream", "so are those that a busy stream reads after they were dropped: no memory is used again before")
def busy_stream(scene: Scene) -> str:
    return _differing(scene, busy=True)


@check("ahead: several streams", "so are batches that are asked for on three streams in turn")
def several_streams(scene: Scene) -> str:
    return _differing(scene, busy=True, streams=3)


@check("ahead: ordinary memory", "so are batches that are copied from memory that is not pinned")
def ordinary_memory(scene: Scene) -> str:
    return _differing(scene, busy=True, pin_memory=False)


@check("ahead: states", "a state that is saved while a copy runs continues with the batch after the one that was given")
def states(scene: Scene) -> str:
    with _loader(scene, to="cuda") as loader:
        for _ in range(10):
            next(loader)
        state = loader.state_dict()
        expected = [[tensor.clone() for tensor in _tensors(next(loader))] for _ in range(5)]
    with _loader(scene, to="cuda", seed=1) as loader:
        loader.load_state_dict(state)
        for wants in expected:
            assert all(torch.equal(got, want) for got, want in zip(_tensors(next(loader)), wants, strict=True))
    return f"5 batches after step {state['step']}"


@check("ahead: closed", "a loader that is closed while a copy runs leaves the batches that were given as they are")
def closed(scene: Scene) -> str:
    with _loader(scene, pin_memory=False) as plain:
        expected = [tensor.clone() for tensor in _tensors(next(plain))]
    for _ in range(20):
        loader = _loader(scene, to="cuda")
        batch = next(loader)
        next(loader)
        loader.close()
        assert all(torch.equal(got.cpu(), want) for got, want in zip(_tensors(batch), expected, strict=True))
    return "20 loaders"
