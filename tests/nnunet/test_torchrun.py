"""`torchrun ... -m fastnnunet_loader train`: two ranks with gloo on the CPU, restarted, then continued by one process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from nnunetv2.run import run_training
from torch.testing._internal.distributed.fake_pg import FakeStore
from torchrun_runs import TRAINER, entries, environment, global_batches, output, torchrun
from training_runs import TRAINERS, checkpoint, log_of

import fastnnunet_loader as fl
from datasets import prepared
from fastnnunet_loader.cli.command import main
from fastnnunet_loader.nnunet.checkpoint import agents_of
from fastnnunet_loader.nnunet.distributed import meeting
from fastnnunet_loader.nnunet.distributed.group import Group
from fastnnunet_loader.nnunet.distributed.launch import Launch, launched, seed_of
from fastnnunet_loader.nnunet.runs import run_of

pytestmark = pytest.mark.slow
assert FakeStore  # registers the backend "fake"

STEPS = ["train", "train", "val"]
VARIABLES = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


@pytest.fixture(scope="module")
def dataset(dataset_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The smallest data set."""
    return prepared("default", dataset_cache, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def restarted(dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two epochs; rank 1 fails in the second one, and torchrun starts both again."""
    results = tmp_path_factory.mktemp("restarted")
    launcher = ("--standalone", "--nproc-per-node", "2", "--max-restarts", "1")
    return results, torchrun(dataset, results, launcher=launcher, failing=[1, 1])


@pytest.fixture
def alone(dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same trainer in this process, with the seed of its checkpoint, and its batches."""
    for name, value in environment(dataset, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINERS))

    def batches(epochs: int, *, seed: int, continues: Path | None = None) -> list[tuple[str, list[str]]]:
        fl.install(threads=2, seed=seed)
        trainer = run_training.get_trainer_from_args(dataset.name, "3d_fullres", 0, TRAINER, device=torch.device("cpu"))
        try:
            if continues is not None:
                trainer.load_checkpoint(str(continues))
            trainer.on_train_start()
            contents = trainer.train_step.__globals__["contents"]
            loaders = {"train": trainer.dataloader_train, "val": trainer.dataloader_val}
            return [(phase, contents(next(loaders[phase]))) for _ in range(epochs) for phase in STEPS]
        finally:
            run_of(trainer).close()
            fl.uninstall()

    return batches


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_after_a_restart_all_ranks_go_on_with_the_batches_of_one_process(
    dataset: Any, restarted: tuple[Path, subprocess.CompletedProcess[str]], alone: Any
) -> None:
    results, finished = restarted
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-5000:]
    seed = checkpoint(output(dataset, results))["fastnnunet_loader"]["seed"]
    expected = alone(3, seed=seed)
    before, after = (global_batches(results, 2, attempt) for attempt in range(2))
    assert [(phase, slots) for phase, _, slots in before] == expected[:3]
    assert [(phase, slots) for phase, _, slots in after] == expected[3:6]
    assert [epoch for _, epoch, _ in before + after] == [0, 0, 0, 1, 1, 1]
    assert [len(entries(results, rank)[0]["slots"]) for rank in range(2)] == [2, 1]
    assert "torchrun restarted this training; it goes on from checkpoint_latest.pth." in log_of(output(dataset, results))
    summary = json.loads((output(dataset, results) / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert len(summary["metric_per_case"]) == 2

    # One process goes on where two ranks stopped.
    assert alone(1, seed=1, continues=output(dataset, results) / "checkpoint_final.pth") == expected[6:]


def test_ranks_of_a_machine_share_its_cores_and_only_rank_0_saves(
    dataset: Any, restarted: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    results, _ = restarted
    for rank in range(2):
        assert {entry["threads"] for entry in entries(results, rank)} == {max(1, fl.available_cores() // 2)}
        assert {entry["device"] for entry in entries(results, rank)} == {"cpu"}
    state = checkpoint(output(dataset, results))["fastnnunet_loader"]
    assert (state["number_of_ranks"], state["ranks"].keys()) == (2, {"1"})
    assert len(state["agents"]) == 1
    # Each attempt has one log, of rank 0.
    assert len(list(output(dataset, results).glob("training_log_*.txt"))) == 2


def test_the_error_of_a_rank_is_shown_by_rank_0(dataset: Any, restarted: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    results, finished = restarted
    assert "fastnnunet: error: [rank 1] ArithmeticError: divided by nothing\n" in finished.stderr
    assert finished.stderr.count("fastnnunet: error: ") == 1
    assert "Connection closed by peer" not in finished.stderr
    # torchrun has it, too, for its own summary.
    (file,) = results.glob("torchelastic_*/*/attempt_0/1/error.json")
    assert "divided by nothing" in file.read_text(encoding="utf-8")
    assert re.search(r"\[rank 1\] .*ArithmeticError: divided by nothing", log_of(output(dataset, results)), re.DOTALL)


def test_what_torchrun_tells_its_ranks() -> None:
    assert launched({}) is None
    for name in VARIABLES:
        assert launched({key: value for key, value in VARIABLES.items() if key != name}) is None
    assert launched({**VARIABLES, "RANK": "x"}) is None
    assert launched(VARIABLES) == Launch(3, 1, 4, 4)
    files = [f"/tmp/torchelastic_a/none_b/attempt_{attempt}/1/error.json" for attempt in range(2)]
    first, second = (launched({**VARIABLES, "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_ERROR_FILE": file}) for file in files)
    assert first == second
    assert first is not None
    assert first.ranks_here == 2
    assert first.agent.endswith(":/tmp/torchelastic_a/none_b")
    assert seed_of([first.agent, "other"]) == seed_of([first.agent]) != seed_of(["other"])
    assert [seed_of([]), seed_of([""])] == [None, None]


def test_a_restart_takes_only_checkpoints_of_the_same_torchrun(tmp_path: Path) -> None:
    def save(name: str, agents: list[str]) -> None:
        torch.save({"network_weights": {}, "fastnnunet_loader": {"agents": agents}}, tmp_path / name)

    dist.init_process_group("fake", rank=0, world_size=1, store=dist.HashStore())
    try:
        group = Group(Launch(0, 0, 1, 1, "node0:/tmp/a"), torch.device("cpu"), agents_of)
        assert group.seed == seed_of(["node0:/tmp/a"])
        assert group.saved_checkpoint(tmp_path) is None
        save("checkpoint_final.pth", ["node0:/tmp/earlier"])  # of a training before, in the same folder
        torch.save({"network_weights": {}}, tmp_path / "checkpoint_latest.pth")
        assert group.saved_checkpoint(tmp_path) is None
        save("checkpoint_best.pth", ["node0:/tmp/a", "node1:/tmp/b"])  # with a host that is lost
        assert group.saved_checkpoint(tmp_path) == tmp_path / "checkpoint_best.pth"
        save("checkpoint_latest.pth", ["node0:/tmp/a"])
        assert group.saved_checkpoint(tmp_path) == tmp_path / "checkpoint_latest.pth"
        assert Group(Launch(0, 0, 1, 1), torch.device("cpu"), agents_of).saved_checkpoint(tmp_path) is None
    finally:
        dist.destroy_process_group()


def test_ranks_find_a_new_name_in_a_store_that_has_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_LONG", 5.0)
    store = dist.HashStore()
    names: list[str] = []

    def come(rank: int, ranks: int) -> str:
        time.sleep(0.1 * (rank == 0))  # the others look first, and find what there was before
        return meeting.meet(store, rank, ranks)

    for ranks in (3, 2, 3):  # a store of torchrun lives on when it restarts ranks
        with ThreadPoolExecutor(ranks) as threads:
            found = list(threads.map(come, range(ranks), [ranks] * ranks))
        assert len(set(found)) == 1
        names += found[:1]
    assert len(set(names)) == 3
    with pytest.raises(TimeoutError, match=r"^\[torchrun\] expected rank\(s\) 1 within 0 s, got none$"):
        monkeypatch.setattr(meeting, "_LONG", 0.1)
        meeting.meet(dist.HashStore(), 0, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-num_gpus", "2"], "[-num_gpus] expected 1 under torchrun, which starts the ranks, got 2"),
        (["-device", "mps"], "[-device] expected cuda or cpu under torchrun, got mps"),
    ],
)
def test_options_that_torchrun_stands_for(monkeypatch: pytest.MonkeyPatch, capsys: Any, options: list[str], said: str) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setitem(os.environ, name, value)
    assert main(["train", "1", "2d", "0", *options]) == 2
    assert said in capsys.readouterr().err
