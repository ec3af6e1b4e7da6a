"""Ranks of nnU-Net's trainers make each batch together: slot by slot it is that of one process, whatever their number."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from nnunetv2.run import run_training
from torch.testing._internal.distributed.fake_pg import FakeStore

import fastnnunet_loader as fl
from datasets import prepared
from fastnnunet_loader.nnunet.checkpoint import follows, state_for
from fastnnunet_loader.nnunet.distributed.shares import share_of, sizes
from fastnnunet_loader.nnunet.runs import run_of
from fastnnunet_loader.nnunet.trainer import _restore

BATCH = 5
assert FakeStore  # registers the backend "fake"


@pytest.fixture(scope="module")
def dataset(dataset_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Prepared once for all tests."""
    return prepared("default", dataset_cache, tmp_path_factory.mktemp("results"))


@pytest.fixture
def environment(dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The data set, with results that are this test's own."""
    for name, value in {**dataset.env, "nnUNet_results": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return dataset


@pytest.fixture
def installed() -> Iterator[None]:
    fl.install(threads=2, seed=11)
    yield
    fl.uninstall()


@contextmanager
def trained(
    dataset: Any, rank: int = 0, ranks: int | None = None, trainer: str = "nnUNetTrainer", batch: int = BATCH, **changed: Any
) -> Iterator[Any]:
    """A trainer with its loaders, on a rank of so many; None for a process without a group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a trainer in a group expects a GPU
        if ranks is not None:
            dist.init_process_group("fake", rank=rank, world_size=ranks, store=dist.HashStore())
        try:
            made = run_training.get_trainer_from_args(dataset.name, "3d_fullres", 0, trainer, device=torch.device("cpu"))
            made.configuration_manager.configuration["batch_size"] = batch
            made.device = torch.device("cpu")
            made.oversample_foreground_percent = changed.get("oversample", made.oversample_foreground_percent)
            made._set_batch_size_and_oversample()
            made.batch_size = changed.get("batch_size", made.batch_size)
            made.dataloaders = made.get_dataloaders()
            yield made
        finally:
            run_of(made).close()
            if ranks is not None:
                dist.destroy_process_group()


def content(batch: dict[str, Any]) -> list[str]:
    """The digest of each sample of a batch."""
    found = []
    for slot, key in enumerate(batch["keys"]):
        digest = hashlib.sha256(key.encode())
        for tensor in [batch["data"], *batch["target"]]:
            digest.update(tensor[slot].numpy().tobytes())
        found.append(digest.hexdigest())
    return found


def global_batches(dataset: Any, ranks: int | None, **asked: Any) -> list[list[str]]:
    """Of both loaders in turn: the digests of the first batches of all ranks, slot by slot."""
    parts = []
    for rank in range(ranks or 1):
        with trained(dataset, rank, ranks, **asked) as trainer:
            parts.append([content(next(loader)) for _ in range(2) for loader in trainer.dataloaders])
    return [[sample for part in parts for sample in part[number]] for number in range(4)]


@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "nnUNetTrainer_probabilisticOversampling"])
def test_the_global_batch_is_the_same_bytes_for_any_number_of_ranks(environment: Any, installed: None, trainer: str) -> None:
    alone = global_batches(environment, None, trainer=trainer)
    assert [len(batch) for batch in alone] == [BATCH] * 4
    assert len({sample for batch in alone for sample in batch}) > 3 * BATCH
    for ranks in (1, 2, 3):
        assert global_batches(environment, ranks, trainer=trainer) == alone, f"{ranks} ranks"


def test_the_global_batch_is_the_same_bytes_on_eight_ranks(environment: Any, installed: None) -> None:
    assert global_batches(environment, 8, batch=9) == global_batches(environment, None, batch=9)  # one makes two


@pytest.mark.parametrize("batch", [2, 3, 4, 5, 7, 9])
def test_a_batch_is_divided_as_nnunet_divides_it(environment: Any, batch: int) -> None:
    for ranks in range(1, batch + 1):
        split = []
        for rank in range(ranks):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dist.init_process_group("fake", rank=rank, world_size=ranks, store=dist.HashStore())
                try:
                    made = run_training.get_trainer_from_args(
                        environment.name, "3d_fullres", 0, "nnUNetTrainer", device=torch.device("cpu")
                    )
                    made.configuration_manager.configuration["batch_size"] = batch
                    made._set_batch_size_and_oversample()
                finally:
                    dist.destroy_process_group()
            split.append(int(made.batch_size))
        assert sizes(batch, ranks) == tuple(split)
        assert (
            [share_of(size, batch, rank, ranks).first_slot(size) for rank, size in enumerate(split)]
            == [  # type: ignore[union-attr]
                sum(split[:rank]) for rank in range(ranks)
            ]
        )


@pytest.mark.parametrize("oversample", [0.0, 0.33, 0.5, 0.7, 1.0])
def test_the_samples_with_foreground_are_nnunets(environment: Any, installed: None, oversample: float) -> None:
    for ranks in (1, 2, 3, 5):
        forced = []
        for rank in range(ranks):
            with trained(environment, rank, ranks, oversample=oversample) as trainer:
                loader, nnunet = trainer.dataloaders[0].loader, trainer.dataloaders[0].generator
                own = [loader.sampled(3, slot)[1] for slot in range(loader.batch_size)]
                assert own == [bool(nnunet.get_do_oversample(slot)) for slot in range(loader.batch_size)]
                forced += own
        assert forced == [not slot < round(BATCH * (1 - oversample)) for slot in range(BATCH)]


def test_a_share_of_foreground_of_the_trainers_own_is_followed(environment: Any, installed: None) -> None:
    """One that only rank 0 has, set after nnU-Net divided it."""
    with trained(environment, 0, 2, batch=4, oversample=0.0) as trainer:
        trainer.oversample_foreground_percent = 0.5
        again, _ = trainer.get_dataloaders()
        assert [again.loader.sampled(0, slot)[1] for slot in range(2)] == [False, True]


@pytest.mark.parametrize(("saved_by", "goes_on_with"), [(2, None), (None, 3), (3, 2)])
def test_a_state_goes_on_with_another_number_of_ranks(
    environment: Any, installed: None, saved_by: int | None, goes_on_with: int | None
) -> None:
    with trained(environment) as trainer:
        for loader in trainer.dataloaders * 3:
            expected = content(next(loader))
    with trained(environment, 0, saved_by) as trainer:
        for loader in trainer.dataloaders * 2:
            next(loader)
        state = state_for(run_of(trainer))
    fl.install(threads=1, seed=12)
    made: list[str] = []
    for rank in range(goes_on_with or 1):
        with trained(environment, rank, goes_on_with) as trainer:
            run = run_of(trainer)
            run.pending = state
            _restore(run, trainer)
            assert all(follows(state, loader.loader) for loader in trainer.dataloaders)
            made += content([next(loader) for loader in trainer.dataloaders][1])
            if rank == 0:
                log = Path(trainer.log_file).read_text(encoding="utf-8")
                assert f"of {saved_by or 1} rank(s), this training has {goes_on_with or 1}. The batches are those" in log
    assert made == expected


def test_a_state_of_ranks_with_batches_of_their_own_is_named(environment: Any, installed: None) -> None:
    with trained(environment, 0, 2) as trainer:
        state = state_for(run_of(trainer))
        old = {key: value for key, value in state.items() if key != "version"}
        old["loaders"] = [{k: v for k, v in loader.items() if k != "global_batch_size"} for loader in state["loaders"]]
        assert state["version"] == 2
        assert [follows(told, trainer.dataloaders[0].loader) for told in (state, old)] == [True, False]
    with trained(environment) as trainer:
        assert [follows(told, trainer.dataloaders[0].loader) for told in (state, old)] == [True, False]


def test_a_split_of_the_trainers_own_is_named_and_keeps_streams_of_each_rank(environment: Any, installed: None) -> None:
    made = []
    for rank in range(2):
        with trained(environment, rank, 2, batch=2, batch_size=2) as trainer:
            loader = trainer.dataloaders[0].loader
            assert (loader.rank, loader.batch_size, loader.sample_id(0, 1).rank) == (rank, 2, rank)
            assert not loader.shares_batches
            made.append(content(next(trainer.dataloaders[0])))
            if rank == 0:
                log = Path(trainer.log_file).read_text(encoding="utf-8")
                assert "makes 2 sample(s) of a batch, not what nnU-Net gives it of 2 among 2 ranks" in log
    assert not set(made[0]) & set(made[1])


def test_the_line_of_an_error_makes_the_sample_of_a_rank(environment: Any, installed: None) -> None:
    with trained(environment, 1, 2, batch=2) as trainer:
        loader = trainer.dataloaders[0].loader
        batch = next(trainer.dataloaders[0])  # the second: nnU-Net takes the first one when it makes the loader
        line, command = loader.reproduction(fl.BadCase("case", "file", "reason", step=1, slot=1)).splitlines()
        assert "slot=1, rank=1, ranks=2" in line
        assert "--reproduce seed=11,step=1,slot=1,rank=1,ranks=2" in command
    given: dict[str, Any] = {"seed": 11, "step": 1, "rank": 1, "ranks": 2}
    again = fl.reproduce(environment.name, "3d_fullres", 0, slot=1, **given)
    assert np.array_equal(again["data"], batch["data"][0])
    with pytest.raises(ValueError, match=r"^\[slot\] expected a number from 1 to 1, as rank 1 of 2 has them, got 0$"):
        fl.reproduce(environment.name, "3d_fullres", 0, slot=0, **given)
