"""Trainings of PyTorch-Ignite with the loader as it is, resumed from Ignite's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite import handlers
from ignite.engine import Engine, Events
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl

Seen = list[tuple[str, list[str], float]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numpy_folder(tmp_path_factory.mktemp("ignite") / "cases")


def made(seen: Seen, val: fl.DataLoader) -> tuple[Any, Any, Any]:
    """A trainer with its network and its optimizer, which validates after every epoch."""
    network = torch.nn.Conv3d(1, 4, 3, padding=1)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)

    def loss_of(kind: str, batch: Any) -> torch.Tensor:
        seen.append((kind, batch["case"], float(batch["image"].mean())))
        return torch.nn.functional.cross_entropy(network(batch["image"] / 1e5), batch["label"][:, 0].clamp(min=0).long())

    def train_step(_: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = loss_of("train", batch)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def val_step(_: Any, batch: Any) -> float:
        with torch.no_grad():
            return float(loss_of("val", batch))

    trainer, evaluator = Engine(train_step), Engine(val_step)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(val))
    return trainer, network, optimizer


def loaders(root: Path, seed: int = 5) -> tuple[fl.DataLoader, fl.DataLoader]:
    val = {"cases": ["case_3"], "role": "val", "oversample_foreground": 0}
    return open_folder(root, batches_per_epoch=4, seed=seed), open_folder(root, batches_per_epoch=2, seed=seed, **val)


def trained(seen: Seen) -> Seen:
    return [one for one in seen if one[0] == "train"]


def test_a_training_gets_the_loaders_batches(root: Path) -> None:
    train, val = loaders(root)
    seen: Seen = []
    with train, val, open_folder(root) as plain:
        trainer, *_ = made(seen, val)
        state = trainer.run(train, max_epochs=3)
        assert (state.epoch_length, state.iteration) == (4, 12)
        assert [kind for kind, *_ in seen] == (["train"] * 4 + ["val"] * 2) * 3
        expected = [next(plain) for _ in range(12)]
        assert trained(seen) == [("train", batch["case"], float(batch["image"].mean())) for batch in expected]
        assert all(cases == ["case_3"] * 3 for kind, cases, _ in seen if kind == "val")


@pytest.mark.parametrize("stop_at", [2, 4, 6])
def test_a_training_resumes_from_a_checkpoint(root: Path, tmp_path: Path, stop_at: int) -> None:
    whole: Seen = []
    train, val = loaders(root)
    with train, val:
        made(whole, val)[0].run(train, max_epochs=3)

    first: Seen = []
    train, val = loaders(root)
    with train, val:
        trainer, network, optimizer = made(first, val)
        to_save = {"trainer": trainer, "network": network, "optimizer": optimizer, "loader": train}
        saver = handlers.Checkpoint(to_save, handlers.DiskSaver(str(tmp_path), create_dir=True))

        @trainer.on(Events.ITERATION_COMPLETED(once=stop_at))  # type: ignore[untyped-decorator]
        def stop() -> None:
            saver(trainer)
            trainer.terminate()

        trainer.run(train, max_epochs=3)
    assert len(trained(first)) == stop_at

    second: Seen = []
    (file,) = tmp_path.glob("*.pt")
    train, val = loaders(root, seed=99)
    with train, val:
        trainer, network, optimizer = made(second, val)
        to_load = {"trainer": trainer, "network": network, "optimizer": optimizer, "loader": train}
        handlers.Checkpoint.load_objects(to_load, torch.load(file, weights_only=True))
        trainer.run(train, max_epochs=3)
        assert train.seed == 5
    assert trained(first) + trained(second) == trained(whole)


def test_a_loader_without_a_length_needs_the_length_of_an_epoch(root: Path) -> None:
    seen: Seen = []
    with open_folder(root) as train, open_folder(root, batches_per_epoch=1) as val:
        made(seen, val)[0].run(train, max_epochs=2, epoch_length=3)
    assert len(trained(seen)) == 6
