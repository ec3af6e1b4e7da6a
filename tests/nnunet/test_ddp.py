"""`-num_gpus 2` through nnU-Net's own spawn, with gloo on the CPU: streams, shares, log, checkpoints, and all ways to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.run import run_training
from processes import SHORT_PROGRAMS, created_processes
from rank_runs import RankRun, of_session, wait_until_gone
from training_runs import TRAINERS, checkpoint, log_of

import fastnnunet_loader as fl
from datasets import prepared
from fastnnunet_loader.nnunet.runs import run_of

pytestmark = pytest.mark.slow

MEGABYTE = 2**20
# Each rank trains on two cases of its own, one of which is damaged, and no foreground is forced on any.
DAMAGED = {0: "brain_000", 1: "brain_001"}
ASKED = {"own_cases": True, "slow_rank": 1, "seconds": 1.5, "oversample": 0.0, "alone": -1}
SKIPPING = ("--on-bad-case", "skip", "--max-skipped", "1", "--stall-after", "0.5", "--memory-budget", "400MB")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.fixture(scope="module")
def damaged(dataset_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data set with a damaged case in each rank's share of the training, and one in rank 1's share of the validation."""
    root = tmp_path_factory.mktemp("damaged")
    dataset = prepared("default", dataset_cache, root / "unused").copy(root)
    for case in (*DAMAGED.values(), "brain_003"):
        truncate(dataset.folder() / f"{case}.b2nd")
    splits = dataset.preprocessed / dataset.name / "splits_final.json"
    split = {"train": ["brain_000", "brain_001", "brain_002", "brain_004"], "val": ["brain_005", "brain_003", "brain_002"]}
    splits.write_text(json.dumps([split]), encoding="utf-8")
    return dataset


@dataclass(frozen=True)
class Trained:
    """The same training twice: stopped after its first epoch and continued, and as a whole."""

    stopped: RankRun
    script: subprocess.CompletedProcess[str]
    first_checkpoint: dict[str, Any]
    continued: RankRun
    resumed: subprocess.CompletedProcess[str]
    whole: RankRun
    command: subprocess.CompletedProcess[str]
    trace: str


@pytest.fixture(scope="module")
def trained(damaged: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("ranks")
    stopped = RankRun(damaged, folder / "stopped", "first")
    script = stopped.script(**ASKED, stop_after=1)  # no seed is given: one is drawn for all ranks
    assert (stopped.output / "checkpoint_latest.pth").exists(), script.stdout[-3000:] + script.stderr[-6000:]
    first = checkpoint(stopped.output, "checkpoint_latest.pth")
    continued = stopped.copy(folder / "continued", "second")
    resumed = continued.train("--c", *SKIPPING, **{**ASKED, "slow_rank": -1})
    whole = RankRun(damaged, folder / "whole")
    trace = ["strace", "-f", "--seccomp-bpf", "-e", "trace=process", "-o", str(folder / "trace.txt")]
    seed = str(first["fastnnunet_loader"]["seed"])
    command = whole.train("--seed", seed, *SKIPPING, under=trace, **{**ASKED, "slow_rank": -1})
    text = (folder / "trace.txt").read_text(encoding="utf-8")
    return Trained(stopped, script, first, continued, resumed, whole, command, text)


def test_nnunets_own_path_trains_and_validates(trained: Trained) -> None:
    for run, finished in ((trained.whole, trained.command), (trained.continued, trained.resumed)):
        assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-5000:]
        summary = json.loads((run.output / "validation" / "summary.json").read_text(encoding="utf-8"))
        cases = {Path(case["prediction_file"]).name for case in summary["metric_per_case"]}
        assert cases == {"brain_005.nii.gz", "brain_002.nii.gz"}
        assert 0 <= summary["foreground_mean"]["Dice"] <= 1
        # Each rank has predicted one of them.
        predicted = [[entry["predicts"] for entry in run.entries(rank, "predicts")] for rank in range(2)]
        assert predicted == [["brain_005"], ["brain_002"]]


def test_only_the_ranks_are_started(trained: Trained) -> None:
    created = created_processes(trained.trace)
    started = Counter("python" if program.startswith("python") else program for program in created.values())
    # Two ranks, and the process by which multiprocessing's spawn keeps track of resources.
    assert started.pop("python") == 3
    assert set(started) <= SHORT_PROGRAMS


def test_ranks_have_streams_of_their_own(trained: Trained) -> None:
    loaders = [entry for rank in range(2) for entry in trained.whole.loaders(rank)]
    # Nothing but the stream tells their samples apart: both have the same seed, and neither has forced foreground.
    assert [entry["oversample"] for entry in loaders] == [0.0] * 4
    assert len({entry["seed"] for entry in loaders}) == 1
    assert [entry["rank"] for entry in loaders] == [0, 0, 1, 1]
    # All validate on the same cases, of which one is bad.
    digests = [[digest for phase, _, digest in trained.whole.digests(rank) if phase == "val"] for rank in range(2)]
    assert [len(set(of_rank)) for of_rank in digests] == [2, 2]
    assert not set(digests[0]) & set(digests[1])


def test_ranks_share_the_budget(trained: Trained) -> None:
    for run in (trained.whole, trained.continued, trained.stopped):
        budgets = [entry["budget"] for rank in range(2) for entry in run.loaders(rank)]
        assert budgets == [100 * MEGABYTE] * 4


def test_what_rank_1_says_is_in_the_log(trained: Trained) -> None:
    first, whole = log_of(trained.stopped.output), log_of(trained.whole.output)
    said = "\n".join(line for line in first.splitlines() if "[rank 1] " in line)
    assert "[rank 1] fastnnunet_loader, training: 2 cases" in said
    assert "[rank 1] fastnnunet_loader, training: runs in Python: InPython" in said
    assert "the first sample, have taken more than 0.5 s. Its transforms in Python: InPython" in said
    assert "[rank 1] fastnnunet_loader: a batch has taken more than 0.5 s." in said
    assert re.search(r"^  thread \d+: batch \d+, sample 0, case brain_\d+: InPython", first, re.MULTILINE)
    said = "\n".join(line for line in whole.splitlines() if "[rank 1] " in line)
    assert f"[rank 1] fastnnunet_loader: skipping case {DAMAGED[1]}: [" in said
    assert DAMAGED[0] not in said
    assert re.search(r"\[rank 1\] fastnnunet_loader: 5 training batches, ", said)
    for log in (first, whole):
        # Where rank 1 speaks a line begins.
        assert len(re.findall(r"^(?:[\d :.-]+: )?\[rank 1\] ", log, re.MULTILINE)) == log.count("[rank 1] ")
    # And at the end the cases of all ranks, once.
    without = [line for line in whole.splitlines() if "trained without bad cases" in line]
    assert len(without) == 1
    named = without[0].rstrip().rpartition(": ")[2]
    # The seed is a drawn one: with some, no batch of the validations takes the damaged case.
    assert named in ("brain_000, brain_001", "brain_000, brain_001, brain_003")


def test_bad_cases_of_all_ranks_are_in_the_checkpoint(trained: Trained) -> None:
    state = trained.first_checkpoint["fastnnunet_loader"]
    assert state["number_of_ranks"] == 2
    assert state["loaders"][0]["rank"] == 0
    assert state["loaders"][0]["excluded"].keys() == {DAMAGED[0]}
    assert state["ranks"]["1"]["excluded"]["0"].keys() == {DAMAGED[1]}
    # They come back to the rank that has found them, and to no other.
    saved = [state["loaders"][0]["excluded"], state["ranks"]["1"]["excluded"]["0"]]
    assert [trained.continued.loaders(rank)[0]["excluded"] for rank in range(2)] == saved


def test_every_rank_goes_on_exactly(trained: Trained) -> None:
    assert "InterruptedError: stopped as asked" in trained.script.stderr
    for rank in range(2):
        parts = trained.stopped.digests(rank) + trained.continued.digests(rank)
        assert parts == trained.whole.digests(rank)
        assert len(set(parts)) == 6


def test_validation_cases_are_read_once_for_all_ranks(trained: Trained) -> None:
    read = [[entry["read"] for entry in trained.whole.entries(rank, "read")] for rank in range(2)]
    assert read == [["brain_005", "brain_002"], ["brain_003"]]
    told = [line for line in log_of(trained.whole.output).splitlines() if "validating without case" in line]
    assert len(told) == 1
    assert "[rank 1] " in told[0]
    assert "brain_003.b2nd" in told[0]


def made_here(dataset: Any, name: str, monkeypatch: pytest.MonkeyPatch, results: Path) -> Any:
    """The same trainer, in this process."""
    for variable, value in {
        **dataset.env, "nnUNet_results": str(results), "nnUNet_extTrainer": str(TRAINERS), "RANKS_RECORD": str(results),
        "RANKS": json.dumps({"stop_after": 1, "epochs": 2}),
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    results.mkdir(parents=True, exist_ok=True)
    return run_training.get_trainer_from_args(dataset.name, "3d_fullres", 0, name, device=torch.device("cpu"))


@pytest.fixture
def installed() -> Any:
    fl.install(threads=1, seed=6, on_bad_case="skip", max_skipped=1)
    yield
    fl.uninstall()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_process_continues_what_two_ranks_began(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: None
) -> None:
    trainer = made_here(trained.stopped.dataset, "nnUNetTrainerRanks", monkeypatch, tmp_path)
    trainer.load_checkpoint(str(trained.stopped.output / "checkpoint_latest.pth"))
    trainer.on_train_start()
    try:
        loader, state = trainer.dataloader_train.loader, trained.first_checkpoint["fastnnunet_loader"]["loaders"][0]
        assert (loader.seed, loader.step) == (state["seed"], state["step"])
        assert {bad.name for bad in loader.bad_cases} == set(DAMAGED.values())
        assert len(next(trainer.dataloader_train)["keys"]) == 2
        log = Path(trainer.log_file).read_text(encoding="utf-8")
        assert "the checkpoint is of 2 rank(s), this training has 1." in log
    finally:
        run_of(trainer).close()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_ranks_continue_what_one_process_began(
    damaged: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: None
) -> None:
    trainer = made_here(damaged, "nnUNetTrainerRanks", monkeypatch, tmp_path / "results")
    with pytest.raises(InterruptedError):
        trainer.run_training()
    saved = checkpoint(Path(trainer.output_folder), "checkpoint_latest.pth")["fastnnunet_loader"]
    assert set(saved["loaders"][0]["excluded"]) <= set(DAMAGED.values())
    run = RankRun(damaged, tmp_path / "results")
    finished = run.train("--c", *SKIPPING, stop_after=2)
    assert "stopped as asked" in finished.stderr, finished.stderr[-3000:]
    for rank in range(2):
        training = run.loaders(rank)[0]
        assert training["seed"] == 6
        assert training["excluded"] == saved["loaders"][0]["excluded"]
        assert len(run.digests(rank)) == 3
    assert "the checkpoint is of 1 rank(s), this training has 2." in log_of(run.output)


def test_error_of_a_rank_is_what_the_user_sees(damaged: Any, tmp_path: Path) -> None:
    """Rank 0 waits for rank 1 meanwhile, and fails a moment later, for rank 1 is gone."""
    run = RankRun(damaged, tmp_path)
    process = subprocess.Popen(
        run.command("--seed", "1"), env=run.environment(own_cases=True, epochs=20), encoding="utf-8",
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    _, said = process.communicate(timeout=600)
    assert process.returncode == 1
    told = said[said.index("fastnnunet: error: ") :]
    # Both ranks meet a damaged case sooner or later; the first one's is told.
    (rank,) = (rank for rank, case in DAMAGED.items() if f"[case {case}, file " in told)
    assert told.startswith(f"fastnnunet: error: [rank {rank}] ")
    assert str(damaged.folder() / f"{DAMAGED[rank]}.b2nd") in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) <= 6
    assert not wait_until_gone(process.pid, 20)
    # The line that makes the same sample again does, in one process: the rank's share of the batch, and of the cases.
    (line,) = (line.strip() for line in told.splitlines() if "fl.reproduce(" in line)
    again = subprocess.run(
        [sys.executable, "-c", line], env=run.environment(own_cases=True), capture_output=True, encoding="utf-8", check=False
    )  # fmt: skip
    message = again.stderr[again.stderr.index("[case ") :].splitlines()[0]
    assert message in told


@pytest.mark.parametrize("ending", ["SIGINT to all", "SIGTERM to the parent"])
def test_no_process_is_left(nnunet_dataset: Any, tmp_path: Path, ending: str) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system does not list processes as Linux does")
    run = RankRun(nnunet_dataset("default"), tmp_path)
    log = tmp_path / "said.txt"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            run.command(), env=run.environment(wait_on=1, alone=1), stdout=file, stderr=file, start_new_session=True
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 600
        while not run.entries(1, "waits"):  # rank 0 is in a collective call by then, or will be
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert len(of_session(process.pid)) >= 3
        if ending == "SIGINT to all":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        assert not wait_until_gone(process.pid, 25)
        assert process.wait(5) == (130 if ending == "SIGINT to all" else 143)
    finally:
        if of_session(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    said = "interrupted" if ending == "SIGINT to all" else "ended by SIGTERM"
    assert f"fastnnunet: {said}; --c continues" in log.read_text(encoding="utf-8")


FAILING = """
import atexit, time
import torch.multiprocessing
from fastnnunet_loader.nnunet import install
from fastnnunet_loader.nnunet.distributed.spawning import Spawning
from fastnnunet_loader.settings import Settings

def fails(rank):
    if rank == 1:
        atexit.register(time.sleep, 4)  # it fails first, and ends last
        raise ArithmeticError("divided by nothing")
    time.sleep(2)
    raise RuntimeError("Connection closed by peer")

if __name__ == "__main__":
    try:
        Spawning(torch.multiprocessing, lambda: Settings(seed=1), install).spawn(fails, nprocs=2, join=True)
    except torch.multiprocessing.ProcessRaisedException as error:
        print(error.error_index, error)
"""


def test_first_rank_to_fail_is_told_whoever_ends_first(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FAILING, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, encoding="utf-8", timeout=600, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert run.stdout.startswith("1"), run.stdout + run.stderr
    assert "ArithmeticError: divided by nothing" in run.stdout
