"""Ranks that make each batch together: its samples are those of one process, slot by slot."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from rank_programs import batches_of_ranks
from small_folders import numpy_folder, open_folder
from torch.testing._internal.distributed.fake_pg import FakeStore

import fastnnunet_loader as fl
from fastnnunet_loader.loading.scripts import ranks as ranks_of_scripts

GLOBAL = 12
OPTIONS: dict[str, Any] = {"patch_size": (8, 8, 8), "seed": 5, "on_bad_case": "skip", "max_skipped": 1.0}
STEPS = 3


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of which one case is found to be bad, by the ranks whose slots draw it."""
    root = numpy_folder(tmp_path_factory.mktemp("ranks") / "cases", cases=9)
    (root / "case_4.npz").write_bytes((root / "case_4.npz").read_bytes()[:-200])
    return root


@pytest.fixture(scope="module")
def made(damaged: Path) -> dict[int, Any]:
    """Of groups of 1, 2, 3 and 4 processes with other numbers of threads: augmented batches of one seed."""
    asked = {"folder": str(damaged), "global_batch_size": GLOBAL, "steps": STEPS, "augmented": True, "options": OPTIONS}
    return batches_of_ranks(damaged.parent / "run", [1, 2, 3, 4], asked)


def test_the_global_batch_is_the_same_bytes_for_any_number_of_ranks(made: dict[int, Any]) -> None:
    alone = made[1]["steps"]
    assert [len(batch) for batch in alone] == [GLOBAL] * STEPS
    assert len({digest for batch in alone for _, digest in batch}) == GLOBAL * STEPS
    for ranks in (2, 3, 4):
        assert made[ranks]["steps"] == alone, f"{ranks} ranks"


def test_a_case_that_only_one_rank_finds_bad_changes_nothing(made: dict[int, Any]) -> None:
    found = [set(state["excluded"]) for state in made[4]["states"]]
    assert {"case_4"} in found
    assert set() in found, "all ranks met the damaged case: another seed is needed"
    assert all(case != "case_4" for batch in made[4]["steps"] for case, _ in batch)
    assert made[4]["steps"] == made[1]["steps"]


@pytest.mark.parametrize(("saved_by", "goes_on_with"), [(2, 1), (1, 3), (4, 2), (3, 4)])
def test_a_state_goes_on_with_another_number_of_ranks(
    damaged: Path, made: dict[int, Any], saved_by: int, goes_on_with: int
) -> None:
    for state in made[saved_by]["states"]:
        assert (state["version"], state["global_batch_size"], state["step"]) == (2, GLOBAL, STEPS)
    state = made[saved_by]["states"][0]  # rank 0 writes checkpoints
    augmentation = fl.augmentation.nnunet((8, 8, 8))
    common: dict[str, Any] = {**OPTIONS, "transforms": augmentation}

    with open_folder(damaged, batch_size=GLOBAL, **common) as uninterrupted:
        for _ in range(STEPS):
            next(uninterrupted)
        expected = [next(uninterrupted) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rank in range(goes_on_with):
            size = GLOBAL // goes_on_with
            given = {**common, "seed": 99 + rank, "rank": rank, "ranks": goes_on_with}
            with open_folder(damaged, batch_size=size, **given) as loader:
                loader.load_state_dict(state)
                own = slice(rank * size, (rank + 1) * size)
                for batch in expected:
                    got = next(loader)
                    assert got["case"] == batch["case"][own]
                    for key in ("image", "label"):
                        assert got[key].numpy().tobytes() == batch[key][own].numpy().tobytes()


@pytest.mark.parametrize("share", [0.0, 0.33, 0.4, 0.5, 1.0])
@pytest.mark.parametrize("probabilistic", [False, True])
def test_foreground_is_counted_by_the_global_slot_as_nnunet_counts_it(
    tmp_path: Path, share: float, probabilistic: bool
) -> None:
    root = numpy_folder(tmp_path / "cases")
    common: dict[str, Any] = {"oversample_foreground": share, "probabilistic_oversampling": probabilistic, "threads": 1}

    def forced(**given: Any) -> list[list[bool]]:
        with open_folder(root, **common, **given) as loader:
            return [[loader.sampled(step, slot)[1] for slot in range(loader.batch_size)] for step in range(4)]

    alone = forced(batch_size=6)
    if not probabilistic:  # nnUNetTrainer._set_batch_size_and_oversample: not i < round(global batch size * (1 - share))
        assert alone == [[not slot < round(6 * (1 - share)) for slot in range(6)]] * 4
    for ranks in (2, 3, 6):
        parts = [forced(batch_size=6 // ranks, rank=rank, ranks=ranks) for rank in range(ranks)]
        assert [[one for part in parts for one in part[step]] for step in range(4)] == alone


def test_a_state_of_another_global_batch_size_is_one_error(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases")
    with open_folder(root, batch_size=2, rank=1, ranks=2) as loader:
        next(loader)
        state = loader.state_dict()
    with open_folder(root, batch_size=2, rank=2, ranks=3) as loader:
        before = next(loader)["image"].clone()
        with pytest.raises(
            ValueError,
            match=r"^\[state\] expected a global batch size \(batch_size times ranks\) of 4, as it was saved with, "
            r"got 6 \(2 of each of 3 ranks\)$",
        ):
            loader.load_state_dict(state)
        assert loader.step == 1
        assert not torch.equal(next(loader)["image"], before)
    with open_folder(root, batch_size=3) as loader, pytest.raises(ValueError, match=r"of 4, .* got 3 \(of one rank\)$"):
        loader.load_state_dict(state)


def test_states_from_before_ranks_shared_batches(tmp_path: Path) -> None:
    """Those of one rank go on; those of others had random numbers of their own, which is said."""
    root = numpy_folder(tmp_path / "cases")
    with open_folder(root) as loader:
        next(loader)
        state = loader.state_dict()
        expected = next(loader)["image"].clone()
    old = {**{key: value for key, value in state.items() if key != "global_batch_size"}, "version": 1}
    with open_folder(root, seed=9) as loader:
        loader.load_state_dict(old)
        assert torch.equal(next(loader)["image"], expected)
        with pytest.warns(UserWarning, match=r"^\[state\] expected one of ranks that share batches, got that of rank 1 with"):
            loader.load_state_dict({**old, "rank": 1})
        with pytest.raises(ValueError, match=r"^\[state\] expected version 2, got 3$"):
            loader.load_state_dict({**state, "version": 3})


def test_an_error_names_the_sample_by_its_global_slot(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases", cases=1)
    for file in root.iterdir():
        good = file.read_bytes()
    with open_folder(root, batch_size=2, rank=1, ranks=2, oversample_foreground=0.0, patience=0) as loader:
        (root / "case_0.npz").write_bytes(good[:-300])
        with pytest.raises(fl.BadCaseError) as met:
            next(loader)
        error = met.value
        assert (error.sample.rank, error.sample.slot) in [(0, 2), (0, 3)]
        slot = error.slot - 2
        assert error.reproduce == f"loader.sample(step=0, slot={slot})  # of a loader with seed=5, rank=1, ranks=2, role=0"
        assert loader.sample_id(0, slot) == error.sample
        assert "rank 1 of 2" in repr(loader)
        (root / "case_0.npz").write_bytes(good)
        sample = loader.sample(0, slot)
    with open_folder(root, batch_size=4, oversample_foreground=0.0) as loader:
        assert torch.equal(next(loader)["image"][slot + 2], sample["image"])


def test_ranks_without_a_seed_draw_one_for_all(tmp_path: Path) -> None:
    assert FakeStore
    root = numpy_folder(tmp_path / "cases")
    store, seeds = dist.HashStore(), []
    for rank in (1, 0):
        ranks_of_scripts._seeds_drawn.clear()  # each rank is a process of its own
        dist.init_process_group("fake", rank=rank, world_size=2, store=store)
        try:
            with open_folder(root, seed=None) as train, open_folder(root, seed=None, role="val") as val:
                seeds.append((train.seed, val.seed))
            with open_folder(root, seed=None) as further:
                seeds[-1] += (further.seed,)
            with open_folder(root, seed=None, ranks=1) as alone:
                assert alone.seed not in seeds[-1]
        finally:
            dist.destroy_process_group()
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3


def test_generators_of_ranks_draw_one_seed_or_it_is_one_sentence(tmp_path: Path) -> None:
    assert FakeStore
    root = numpy_folder(tmp_path / "cases")
    store, seeds = dist.HashStore(), []
    items = [torch.zeros(1, 9, 9, 9)]
    for rank, further in enumerate((7, 8)):
        ranks_of_scripts._seeds_drawn.clear()  # each rank is a process of its own
        dist.init_process_group("fake", store=store, rank=rank, world_size=2)
        try:
            same, other = torch.Generator().manual_seed(4), torch.Generator().manual_seed(further)
            with open_folder(root, seed=None, generator=same) as loader:
                seeds.append(loader.seed)
            if rank == 0:
                open_folder(root, seed=None, generator=other).close()
            else:
                expected = r"^\[generator\] expected generators in the same state on all 2 ranks, .*, got \d+ on rank 1 and "
                with pytest.raises(ValueError, match=expected):
                    open_folder(root, seed=None, generator=other)
            with open_folder(root, seed=None, generator=torch.Generator().manual_seed(rank), ranks=1):
                pass  # of one rank alone
        finally:
            dist.destroy_process_group()
    assert seeds[0] == seeds[1]
    given: dict[str, Any] = {"rank": 1, "ranks": 2, "seed": None, "generator": torch.Generator()}
    with pytest.raises(ValueError, match=r"^\[seed\] expected one for all 2 ranks, .*, got a generator, which may be another"):
        open_folder(root, **given)
    with pytest.raises(ValueError, match=r"^\[seed\] expected one for all 2 ranks, "):
        fl.DataLoader.from_dataset(items, patch_size=(8, 8, 8), batch_size=1, cache=tmp_path / "cache", **given)
    assert not (tmp_path / "cache").exists()  # before anything is read


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rank": 1}, r"^\[ranks\] expected how many ranks share a batch, beside rank 1, got none$"),
        ({"ranks": 2}, r"^\[rank\] expected which of 2 ranks this is, got none$"),
        ({"rank": 2, "ranks": 2}, r"^\[rank\] expected a number from 0, below ranks \(2\), got 2$"),
        ({"rank": -1, "ranks": 2}, r"^\[rank\] expected a number from 0, below ranks \(2\), got -1$"),
        ({"rank": 0, "ranks": 0}, r"^\[rank\] expected a number from 0, below ranks \(0\), got 0$"),
        ({"rank": 1, "ranks": 2, "seed": None}, r"^\[seed\] expected one for all 2 ranks, or torch.distributed.init"),
    ],
)  # fmt: skip
def test_ranks_that_there_are_not(tmp_path: Path, given: dict[str, Any], expected: str) -> None:
    root = numpy_folder(tmp_path / "cases")
    with pytest.raises(ValueError, match=expected):
        open_folder(root, **given)
