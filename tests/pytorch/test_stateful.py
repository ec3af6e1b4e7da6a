"""States as torchdata's StatefulDataLoader has them: saved and loaded anywhere in an epoch, and in a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl

LENGTH = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numpy_folder(tmp_path_factory.mktemp("stateful") / "cases")


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata's, with torch 2.14
@pytest.mark.parametrize("at", [0, 1, 2, 4])
def test_epochs_after_a_state_are_as_long_as_with_the_stateful_loader(root: Path, at: int) -> None:
    from torchdata import stateful_dataloader as stateful

    found = []
    for make in (
        lambda: stateful.StatefulDataLoader(range(LENGTH), batch_size=1),
        lambda: open_folder(root, batches_per_epoch=LENGTH),
    ):
        loader = make()
        whole, part = divmod(at, LENGTH)
        for _ in range(whole):
            assert len(list(loader)) == LENGTH
        iterator = iter(loader)
        for _ in range(part):
            next(iterator)
        state = loader.state_dict()
        resumed = make()
        resumed.load_state_dict(state)
        found.append([len(list(resumed)) for _ in range(3)])
        for one in (loader, resumed):
            if isinstance(one, fl.DataLoader):
                one.close()
    assert found[0] == found[1]


def test_a_state_at_the_end_of_an_epoch_begins_the_next_one(root: Path) -> None:
    """Also where it was saved after the last batch, before the loop asked for another."""
    for asked_again in (True, False):
        with open_folder(root, batches_per_epoch=LENGTH) as loader:
            iterator = iter(loader)
            for _ in range(LENGTH):
                next(iterator)
            if asked_again:
                assert next(iterator, None) is None
            state = loader.state_dict()
            expected = [batch["image"].clone() for batch in loader]
        with open_folder(root, batches_per_epoch=LENGTH, seed=9) as loader:
            loader.load_state_dict(state)
            found = [batch["image"].clone() for batch in loader]
            assert len(found) == LENGTH
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_state_is_in_a_checkpoint_that_is_loaded_without_running_code(root: Path, tmp_path: Path) -> None:
    with open_folder(root, batches_per_epoch=4, to="meta") as loader:
        next(iter(loader))
        torch.save({"epoch": 3, "loader": loader.state_dict()}, tmp_path / "checkpoint.pt")
        expected = next(loader)["case"]
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    with open_folder(root, batches_per_epoch=4, seed=9) as loader:
        loader.load_state_dict(checkpoint["loader"])
        assert loader.state_dict() == checkpoint["loader"]
        rest = list(loader)
        assert len(rest) == 3
        assert rest[0]["case"] == expected


def test_a_resumed_epoch_may_be_begun_again_until_a_batch_is_taken(root: Path) -> None:
    """Frameworks call iter() to see whether a loader can be iterated."""
    with open_folder(root, batches_per_epoch=4) as loader:
        iterator = iter(loader)
        next(iterator)
        state = loader.state_dict()
    with open_folder(root, batches_per_epoch=4) as loader:
        loader.load_state_dict(state)
        iter(loader)
        iterator = iter(loader)
        next(iterator)
        assert loader.state_dict()["batches_of_epoch"] == 2
        assert len(list(iterator)) == 2
        assert len(list(loader)) == 4
