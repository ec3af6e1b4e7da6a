"""What ranks tell each other: one process takes the place of each rank in turn, with the store that all have."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
from processes import deaf
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.testing._internal.distributed.fake_pg import FakeStore  # registers the backend "fake", which waits for nobody

import fastnnunet_loader as fl
from fastnnunet_loader.errors import TransformError
from fastnnunet_loader.nnunet import augmenter, log, runs
from fastnnunet_loader.nnunet.checkpoint import state_of
from fastnnunet_loader.nnunet.distributed import ranks, spawning
from fastnnunet_loader.settings import Settings

assert FakeStore


class Places:
    """Lets this process be each of two ranks."""

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self.store = dist.HashStore()

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        dist.init_process_group("fake", rank=number, world_size=self.count, store=self.store)
        try:
            yield
        finally:
            dist.destroy_process_group()


@pytest.fixture
def places() -> Places:
    return Places()


@pytest.fixture
def installed() -> Iterator[None]:
    fl.install()
    yield
    fl.uninstall()


def test_threads_are_divided_among_ranks(places: Places, monkeypatch: pytest.MonkeyPatch, installed: None) -> None:
    monkeypatch.setattr(augmenter, "available_cores", lambda: 12)  # this machine has too few to tell
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    assert augmenter.numbers_of_rank() == (8, 11)  # as many as are needed, and while a training waits all but one core
    with places.of(1):
        assert augmenter.numbers_of_rank() == (5, 5)
        monkeypatch.setenv("nnUNet_n_proc_DA", "28")  # more than this rank's cores
        assert augmenter.numbers_of_rank() == (6, 6)
        monkeypatch.setenv("nnUNet_n_proc_DA", "3")  # nnU-Net's is of each rank
        assert augmenter.numbers_of_rank() == (3, 3)
        fl.install(threads=2)
        assert augmenter.numbers_of_rank() == (2, 2)


@pytest.mark.parametrize("budget", ["1GB", None])
def test_budget_is_divided_among_ranks(places: Places, budget: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(memory_budget=budget)
    monkeypatch.setattr(runs, "default_budget", lambda: 2**30)
    shares = {}
    for number in range(2):
        with places.of(number):
            shares[number] = runs.Run().share_of_memory(settings)
    assert shares == {0: 2**30 // 4, 1: 2**30 // 4}  # each rank has two loaders
    assert runs.Run().share_of_memory(settings) == 2**30 // 2


def test_one_seed_for_all_whoever_asks_first(places: Places) -> None:
    trainer, settings = SimpleNamespace(output_folder="a"), Settings()
    seeds: dict[int, list[int]] = {}
    for number in (1, 0):  # no rank has to wait for another, and a further loader of one rank asks nobody
        runs._seeds_drawn.clear()
        with places.of(number):
            first, second = runs.Run(), runs.Run()  # two trainings with the same folder, one after the other
            seeds[number] = [run.share_seed(trainer, settings) for run in (first, first, second)]
    assert seeds[0] == seeds[1]
    assert seeds[0][0] == seeds[0][1] != seeds[0][2]


def test_given_seed_is_kept(places: Places) -> None:
    for number in range(2):
        with places.of(number):
            assert runs.Run().share_seed(None, Settings(seed=7 + number)) == 7 + number


def test_work_for_all_is_done_once(places: Places) -> None:
    done: list[int] = []
    for number in (1, 0):
        with places.of(number):
            ranks.once("unpacked", lambda number=number: done.append(number))
    assert done == [1]
    with places.of(0), pytest.raises(ZeroDivisionError):
        ranks.once("fails", lambda: 1 // 0)
    with places.of(1), pytest.raises(ZeroDivisionError):  # it does not wait for ever, nor go on without
        ranks.once("fails", lambda: 1 // 0)


def test_ranks_that_ask_later_wait_for_the_work(places: Places) -> None:
    order: list[str] = []
    with places.of(0):
        assert dist.distributed_c10d._get_default_store().add("fastnnunet_loader/slow/begun", 1) == 1  # another one works

        def finish() -> None:
            order.append("done")
            store.set("fastnnunet_loader/slow/done", "well")

        store = dist.distributed_c10d._get_default_store()
        timer = threading.Timer(0.3, finish)
        timer.start()
        ranks.once("slow", lambda: order.append("twice"))
        order.append("goes on")
        timer.join()
    assert order == ["done", "goes on"]


def test_published_values_are_read_without_waiting(places: Places) -> None:
    with places.of(0):
        assert ranks.of_ranks() == {}
        assert ranks.told("log") is None
    with places.of(1):
        ranks.publish({"excluded": {"0": {"case": 3}}})
    with places.of(0):
        assert ranks.of_ranks() == {1: {"excluded": {"0": {"case": 3}}}}
    assert ranks.of_ranks() == {}


def test_a_dead_store_does_not_keep_a_checkpoint_from_being_saved(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead:
        def __getattr__(self, name: str) -> Any:
            raise dist.DistNetworkError("Connection reset by peer")

    with places.of(0):
        monkeypatch.setattr(ranks, "_store", Dead)
        ranks.publish({"excluded": {}})
        assert ranks.of_ranks() == {}
        assert ranks.told("log") is None


def saved(**rank_1: Any) -> dict[str, Any]:
    """Of a training in which rank 0 found the cases a and b to be bad, and rank 1 the cases b and c."""
    mine = {"excluded": {"a": 2, "b": 8}, "skipped": {"a": {"slot": 1}, "b": {"slot": 1}}}
    loaders = [{"role": role, "rank": 0, "seed": 5, "step": 9, **mine, "fingerprint": "of rank 0"} for role in range(2)]
    theirs = {"excluded": {"0": {"b": 3, "c": 4}, "1": {}}, "skipped": {"0": {"b": {"slot": 7}, "c": {"slot": 7}}, "1": {}}}
    return {
        "loaders": loaders,
        "number_of_ranks": 2,
        "ranks": {"1": {"seed": 5, **theirs, **rank_1}},
    }


@pytest.mark.parametrize("role", [0, 1])
def test_each_rank_gets_its_own_bad_cases_back(places: Places, role: int) -> None:
    state = saved()
    with places.of(0):
        assert state_of(state, role, "mine") == state["loaders"][role]
    with places.of(1):
        own = state_of(state, role, "mine")
    expected = {key: state["ranks"]["1"][key][str(role)] for key in ("excluded", "skipped")}
    assert own == {**state["loaders"][role], **expected, "fingerprint": "mine"}
    with places.of(1):
        other_seed = state_of(saved(seed=6), role, "mine")
        assert other_seed is not None
        assert other_seed["seed"] == 6
        assert state_of({**state, "ranks": {}}, role, "mine") == {**own, "excluded": {}, "skipped": {}}
        assert state_of(state, 2, "mine") is None


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_ranks_goes_on_without_all_bad_cases(count: int) -> None:
    state = saved()
    expected = {
        **state["loaders"][0],
        "excluded": {"a": 2, "b": 3, "c": 4},
        "skipped": {"a": {"slot": 1}, "b": {"slot": 7}, "c": {"slot": 7}},  # of who found it first
        "fingerprint": "mine",
    }
    if count == 1:
        assert state_of(state, 0, "mine") == expected
        return
    places = Places(count)
    for number in range(count):
        with places.of(number):
            assert state_of(state, 0, "mine") == expected


def test_checkpoints_from_before_ranks_were_counted(places: Places) -> None:
    state = saved()
    del state["number_of_ranks"], state["ranks"], state["loaders"][0]["skipped"]
    assert state_of(state, 0, "mine") == state["loaders"][0]
    with places.of(1):
        none: dict[str, Any] = {"excluded": {}, "skipped": {}}
        assert state_of(state, 0, "mine") == {**state["loaders"][0], **none, "fingerprint": "mine"}


class Trainer:
    """What a log needs of one."""

    def __init__(self, rank: int, folder: Path) -> None:
        self.local_rank, self.output_folder, self.log_file = rank, str(folder), str(folder / f"log_{rank}.txt")

    def print_to_log_file(self, *words: Any, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        with Path(self.log_file).open("a+", encoding="utf-8") as file:  # as nnU-Net's: word by word
            for word in words:
                file.write(f"{word} ")
            file.write("\n")


def test_what_is_said_before_the_log_is_known_is_not_lost(places: Places, tmp_path: Path) -> None:
    zero, one = Trainer(0, tmp_path), Trainer(1, tmp_path)
    with places.of(1):
        log.announce(one)
        log.say(one, "early")
    assert not list(tmp_path.iterdir())
    with places.of(0):
        log.announce(zero)
        log.say(zero, "of rank 0")
    with places.of(1):
        log.say(one, "late", timestamp=False)
    # Also where the group of processes is gone by now.
    log.say(one, "at the end", timestamp=False)
    text = Path(zero.log_file).read_text(encoding="utf-8").splitlines()
    assert text[0] == "of rank 0 "
    assert text[1].endswith(": [rank 1] early")
    assert text[2:] == ["[rank 1] late", "[rank 1] at the end"]
    assert [file.name for file in tmp_path.iterdir()] == ["log_0.txt"]


def test_a_log_that_cannot_be_written_does_not_end_the_training(places: Places, tmp_path: Path) -> None:
    with places.of(0):
        log.announce(Trainer(0, tmp_path / "not there"))
    with places.of(1):
        log.say(Trainer(1, tmp_path / "not there"), "said")


def test_lines_of_ranks_do_not_interleave(places: Places, tmp_path: Path) -> None:
    zero, one = Trainer(0, tmp_path), Trainer(1, tmp_path)
    with places.of(0):
        log.announce(zero)
    block = "\n".join(f"line {number} " + "x" * 400 for number in range(60))  # 24 kB, as a report of a stall may be
    stop = threading.Event()

    def speak() -> None:
        while not stop.is_set():
            zero.print_to_log_file("rank 0", "speaks")

    with places.of(1):
        log.say(one, block, timestamp=False)
        thread = threading.Thread(target=speak)
        thread.start()
        try:
            for _ in range(200):
                log.say(one, block, timestamp=False)
        finally:
            stop.set()
            thread.join()
    text = Path(zero.log_file).read_text(encoding="utf-8")
    assert text.count("rank 0 speaks \n") > 20
    assert text.count(f"[rank 1] {block}\n") == 201


def failed(folder: Path, *errors: BaseException) -> Any:
    """What torch knows of ranks that failed one after the other."""
    files = []
    for number, error in enumerate(errors):
        try:
            raise error
        except BaseException:
            files.append(folder / f"{number}.pickle")
            files[-1].write_bytes(pickle.dumps(traceback.format_exc()))
    return SimpleNamespace(error_files=[str(file) for file in files], processes=[SimpleNamespace(pid=70 + n) for n in range(2)])


def test_error_of_a_rank_is_told_in_its_own_words(tmp_path: Path) -> None:
    error = TransformError("[Mine] expected a number\n  loader.sample(step=1, slot=0)", transform="Mine")
    error.__cause__ = ArithmeticError("divided by nothing")
    context = failed(tmp_path, error, RuntimeError("Connection closed by peer"))
    found = spawning._first(context, ProcessRaisedException("Connection closed by peer", 1, 71))
    assert isinstance(found, fl.errors.RankError)
    assert isinstance(found, ProcessRaisedException)
    assert str(found) == f"[rank 0] {error}"
    assert (found.rank, found.error_index, found.error_pid) == (0, 0, 70)
    assert found.because == "ArithmeticError: divided by nothing"
    assert json.dumps(str(found))


def test_rank_that_was_killed_is_told_as_torch_tells_it(tmp_path: Path) -> None:
    from torch.multiprocessing.spawn import ProcessExitedException

    killed = ProcessExitedException("process 0 terminated with signal SIGKILL", 0, 70, -9, "SIGKILL")
    assert spawning._first(failed(tmp_path, RuntimeError("Connection closed by peer")), killed) is killed


def test_ranks_that_do_not_hear_ctrl_c_are_ended() -> None:
    """It reached the process alone that started them; and one of them hears nothing."""
    ranks_there = [multiprocessing.get_context("spawn").Process(target=target, args=(600,)) for target in (time.sleep, deaf)]
    for process in ranks_there:
        process.start()
    spawning._end(ranks_there, 0.5)
    assert not any(process.is_alive() for process in ranks_there)
    assert all(process.exitcode != 0 for process in ranks_there)
