"""The arguments and attributes of torch.utils.data.DataLoader: followed, or refused with what takes their place."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl
from fastnnunet_loader.loading.pytorch.arguments import _INSTEAD


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numpy_folder(tmp_path_factory.mktemp("arguments") / "cases")


def images(loader: fl.DataLoader, count: int = 3) -> list[torch.Tensor]:
    with loader:
        return [next(loader)["image"].clone() for _ in range(count)]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_generator_gives_the_seed(root: Path) -> None:
    made = [images(open_folder(root, seed=None, generator=torch.Generator().manual_seed(n))) for n in (3, 3, 4)]
    assert same(made[0], made[1])
    assert not same(made[0], made[2])
    generator = torch.Generator().manual_seed(3)
    with open_folder(root, seed=None, generator=generator) as one, open_folder(root, seed=None, generator=generator) as other:
        assert one.generator is generator
        assert one.seed != other.seed  # the next number of the generator
        drawn = torch.empty((), dtype=torch.int64).random_(generator=torch.Generator().manual_seed(3))
        assert one.seed == int(drawn)  # as PyTorch's loader draws it


def test_without_a_seed_torch_manual_seed_makes_it_reproducible(root: Path) -> None:
    seeds = []
    for _ in range(2):
        torch.manual_seed(11)
        with (
            open_folder(root, seed=None) as loader,
            fl.DataLoader.from_arrays([np.zeros((8, 8, 8))], patch_size=(8, 8, 8), batch_size=1) as arrays,
        ):
            seeds.append((loader.seed, arrays.seed))
            assert loader.generator is None
    assert seeds[0] == seeds[1]
    assert seeds[0][0] != seeds[0][1]


def test_a_seed_leaves_torchs_random_numbers_alone(root: Path) -> None:
    before = torch.get_rng_state()
    open_folder(root, seed=5).close()
    assert torch.equal(torch.get_rng_state(), before)


def test_ranks_do_not_draw_from_generators_that_may_differ(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    torch.manual_seed(4)
    open_folder(root, seed=None).close()
    after_one = torch.get_rng_state()
    torch.manual_seed(4)
    before = torch.get_rng_state()
    assert not torch.equal(after_one, before)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    try:
        open_folder(root, seed=None).close()
    except ValueError as error:  # ranks that share batches need a seed in common
        assert "seed" in str(error)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_means_the_same_is_taken(root: Path) -> None:
    expected = images(open_folder(root))
    as_ported: dict[str, Any] = {
        "threads": None, "num_workers": 3, "pin_memory": False, "drop_last": True, "shuffle": True, "timeout": 30,
        "persistent_workers": True, "in_order": True, "sampler": None, "batch_sampler": None, "collate_fn": None,
        "worker_init_fn": None, "multiprocessing_context": None, "prefetch_factor": None, "pin_memory_device": "",
    }  # fmt: skip
    loader = open_folder(root, **as_ported)
    assert (loader.threads, loader.abort_after) == (3, 30.0)
    assert same(images(loader), expected)
    with open_folder(root, threads=None, num_workers=0, timeout=0, drop_last=False) as loader:
        assert (loader.threads, loader.abort_after) == (1, None)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"seed": 1, "generator": torch.Generator()}, r"\[generator\] expected either a generator or a seed, got both \(seed=1\)"),
    ({"generator": 3}, r"\[generator\] expected a torch.Generator or None, got int"),
    ({"threads": 2, "num_workers": 2}, r"\[num_workers\] expected either num_workers or threads, .*, got both"),
    ({"threads": None, "num_workers": -1}, r"\[num_workers\] expected a whole number from 0 on, got -1"),
    ({"timeout": -1}, r"\[timeout\] expected seconds from 0 on, got -1"),
    ({"timeout": 3, "abort_after": 3.0}, r"\[timeout\] expected either timeout or abort_after, .*, got both"),
    ({"shuffle": False}, r"\[shuffle\] expected True or None, got False: .* same seed=; loader.dataset"),
    ({"drop_last": 1}, r"\[drop_last\] expected True or False, got 1: every batch is complete"),
    ({"persistent_workers": False}, r"\[persistent_workers\] expected True, got False: threads go on .* close\(\) ends them"),
    ({"in_order": False}, r"\[in_order\] expected True, got False: batches come in order"),
    ({"sampler": [0, 1]}, r"\[sampler\] expected None, got \[0, 1\]: sampling_probabilities="),
    ({"batch_sampler": [[0]]}, r"\[batch_sampler\] expected None, got \[\[0\]\]: batch_size="),
    ({"collate_fn": len}, r"\[collate_fn\] expected None, got .*: map\(function, loader\)"),
    ({"worker_init_fn": len}, r"\[worker_init_fn\] expected None, .*: there are no worker processes"),
    ({"multiprocessing_context": "spawn"}, r"\[multiprocessing_context\] expected None, got 'spawn': .* threads="),
    ({"prefetch_factor": 2}, r"\[prefetch_factor\] expected None, got 2: prefetch="),
    ({"pin_memory_device": "cuda"}, r"\[pin_memory_device\] expected '', got 'cuda': to="),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[next(reversed(given)) for given, _ in REFUSED])
def test_what_means_nothing_here_is_refused_in_one_sentence(root: Path, given: dict[str, Any], message: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        open_folder(root, **{"seed": None, **given}).close()
    assert torch.equal(torch.get_rng_state(), before)


def test_no_argument_of_pytorchs_loader_is_forgotten() -> None:
    theirs = set(inspect.signature(torch.utils.data.DataLoader.__init__).parameters) - {"self", "dataset"}
    ours = {*_INSTEAD, "generator", "num_workers", "timeout", "pin_memory", "batch_size"}
    assert theirs <= ours
    text = (Path(__file__).parents[2] / "docs" / "without_nnunet.md").read_text(encoding="utf-8")
    assert [name for name in theirs if f"| `{name}" not in text] == []


def test_attributes_are_those_that_frameworks_read(root: Path) -> None:
    with open_folder(root, seed=None, generator=(generator := torch.Generator())) as loader:
        assert (loader.batch_size, len(loader.dataset), loader.num_workers) == (3, 4, 0)
        assert (loader.pin_memory, loader.drop_last) == (False, True)
        assert loader.generator is generator
        assert loader.device == torch.device("cpu")
        assert loader.sampler == loader.batch_sampler
        assert loader.batch_sampler.batch_size == 3
        with pytest.raises(TypeError, match=r"\[sampler\] expected a loader of torch.utils.data, .* prepare\(\)"):
            list(torch.utils.data.DataLoader(loader.dataset, batch_sampler=loader.batch_sampler))  # type: ignore[arg-type]


def test_a_loader_says_what_it_is(root: Path) -> None:
    with open_folder(root, batches_per_epoch=2, transforms=fl.augmentation.nnunet((8, 8, 8))) as loader:
        native = loader.describe().count("native")
        assert repr(loader) == (
            "DataLoader(4 cases, batches of 3 x (8, 8, 8), 2 an epoch, 2 threads, seed 5, rank 0, "
            f"{native} transforms native, 0 in Python)"
        )
