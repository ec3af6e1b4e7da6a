"""The pool of threads, beside `multiprocessing.pool.ThreadPool`, whose interface it has: the same program, the same outcome."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fastnnunet_loader import system
from fastnnunet_loader.threads import ThreadPool

KINDS = (ThreadPool, multiprocessing.pool.ThreadPool)


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "available_cores", lambda: 4)  # the machine of a test may have one


def told(number: int, *more: Any, **named: Any) -> tuple[Any, ...]:
    if number < 0:
        raise ArithmeticError(number)
    return number, more, named


def caught(work: Callable[[], Any]) -> Any:
    """What it returns, or the type and the words of what it raises."""
    try:
        return work()
    except Exception as error:
        return type(error), error.args


CALLS: dict[str, Callable[[Any], Any]] = {
    "apply": lambda pool: pool.apply(told, (1, 2), {"a": 3}),
    "apply without arguments": lambda pool: pool.apply(threading.active_count) > 1,
    "apply that fails": lambda pool: pool.apply(told, (-1,)),
    "map": lambda pool: pool.map(told, range(7)),
    "map of a generator": lambda pool: pool.map(told, (n for n in (3, 1, 2))),
    "map of nothing": lambda pool: pool.map(told, []),
    "map that fails in the middle": lambda pool: pool.map(told, [0, -5, 2]),
    "map in chunks": lambda pool: pool.map(told, range(5), 2),
    "starmap": lambda pool: pool.starmap(told, [(1,), (2, "b"), (3, "c", "d")]),
    "starmap that fails": lambda pool: pool.starmap(told, [(1,), (-2, "b")]),
    "imap": lambda pool: list(pool.imap(told, [5, 3, 4], 1)),
    "imap up to the failure": lambda pool: next(pool.imap(told, [8, -1, 2])),
    "imap that fails": lambda pool: list(pool.imap(told, [8, -1, 2])),
    "imap_unordered": lambda pool: sorted(pool.imap_unordered(told, [5, 3, 4])),
    "apply_async": lambda pool: pool.apply_async(told, (1,), {"b": 2}).get(10),
    "map_async": lambda pool: pool.map_async(told, [2, 1]).get(10),
    "starmap_async": lambda pool: pool.starmap_async(told, [(2, 3), (1,)]).get(10),
}


@pytest.mark.parametrize("call", CALLS)
def test_calls_return_and_raise_what_the_standard_librarys_do(call: str) -> None:
    outcomes = []
    for kind in KINDS:
        with kind(3) as pool:
            outcomes.append(caught(lambda pool=pool: CALLS[call](pool)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("way", ["apply_async", "map_async", "starmap_async"])
@pytest.mark.parametrize("fails", [False, True])
def test_whoever_waits_for_a_result_is_called_once(way: str, fails: bool) -> None:
    heard: list[list[Any]] = []
    for kind in KINDS:
        said: list[Any] = []
        number = -1 if fails else 1
        arguments = {"apply_async": (number,), "map_async": [0, number, 2], "starmap_async": [(0,), (number,), (2,)]}[way]
        with kind(2) as pool:
            result = getattr(pool, way)(
                told,
                arguments,
                callback=lambda value, said=said: said.append(("well", value)),
                error_callback=lambda error, said=said: said.append(("failed", type(error), error.args)),
            )
            result.wait(10)
            pool.close()
            pool.join()
            assert result.ready()
            assert result.successful() is not fails
        heard.append(said)
    assert heard[0] == heard[1]
    assert len(heard[0]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_is_not_there_yet(kind: Any) -> None:
    go, said = threading.Event(), []
    with kind(2) as pool:
        slow = pool.map_async(lambda n: go.wait(3) and n, [1, 2, 3], callback=said.append)
        assert not slow.ready()
        with pytest.raises(ValueError):
            slow.successful()
        with pytest.raises(multiprocessing.TimeoutError):
            slow.get(0.05)
        slow.wait(0.05)
        assert (slow.ready(), said) == (False, [])
        go.set()
        assert slow.get(10) == [1, 2, 3]
        assert slow.successful()
        pool.close()
        pool.join()
        assert said == [[1, 2, 3]]


def test_the_results_of_imap_come_as_soon_as_they_are_there() -> None:
    go = threading.Event()
    with ThreadPool(2) as pool:
        results = pool.imap(lambda n: n if n < 2 else go.wait(10), [0, 1, 2])
        assert [next(results), next(results)] == [0, 1]
        go.set()
        assert next(results) is True


def test_the_first_failure_is_told_although_others_are_at_work() -> None:
    """nnU-Net looks for failures while the other cases are predicted."""
    go = threading.Event()
    with ThreadPool(2) as pool:
        result = pool.map_async(lambda n: 1 // n or go.wait(10), [5, 0])
        begin = time.monotonic()
        with pytest.raises(ZeroDivisionError):
            result.get(5)
        assert time.monotonic() - begin < 3
        assert not result.ready()
        go.set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_a_pool(kind: Any) -> None:
    pool = kind(2)
    with pytest.raises(ValueError):
        pool.join()
    done = [pool.apply_async(told, (n,)) for n in range(20)]
    pool.close()
    for call in (lambda: pool.apply_async(told, (1,)), lambda: pool.map(told, [1]), lambda: pool.starmap(told, [(1,)])):
        with pytest.raises(ValueError):
            call()
    pool.join()
    assert [result.get(0)[0] for result in done] == list(range(20))  # what was begun is done


def test_tasks_that_have_not_started_are_dropped_at_a_terminate() -> None:
    go, begun = threading.Event(), []
    pool = ThreadPool(1)
    first = pool.apply_async(lambda: begun.append(0) or go.wait(10))
    others = [pool.apply_async(lambda n=n: begun.append(n)) for n in (1, 2)]
    while not begun:
        pass
    pool.terminate()
    with pytest.raises(ValueError):
        pool.apply(told, (1,))
    go.set()
    pool.join()
    assert begun == [0]
    assert first.successful()
    assert all(result.ready() and not result.successful() for result in others)


def test_leaving_the_context_waits_for_what_is_written_unless_there_is_an_error() -> None:
    written: list[int] = []
    begun = threading.Event()

    def write() -> None:
        begun.set()
        threading.Event().wait(0.2)
        written.append(1)

    with ThreadPool(1) as pool:
        pool.apply_async(write)
        begun.wait(10)
    assert written == [1]
    go = threading.Event()
    with pytest.raises(ArithmeticError), ThreadPool(1) as pool:
        pool.apply_async(go.wait, (10,))
        raise ArithmeticError
    go.set()


@pytest.mark.parametrize(("asked", "threads"), [(None, 4), (1, 1), (3, 3), (4, 4), (64, 4)])
def test_there_are_as_many_threads_as_asked_for_and_no_more_than_cores(asked: int | None, threads: int) -> None:
    with ThreadPool(asked) as pool:
        assert [worker.index for worker in pool._pool] == list(range(threads))  # nnU-Net looks at each
        assert all(worker.is_alive() for worker in pool._pool)
        meeting = threading.Barrier(threads)
        assert sorted(pool.map(lambda _: meeting.wait(10), range(threads))) == list(range(threads))
        idents = set(pool.map(lambda _: (meeting.wait(10), threading.get_ident())[1], range(threads)))
        assert len(idents) == threads
        assert threading.get_ident() not in idents
        names = pool.map(lambda _: (meeting.wait(10), threading.current_thread().name)[1], range(threads))
        assert all(name.startswith("fastnnunet-pool") for name in names)


@pytest.mark.parametrize("asked", [0, -1])
def test_a_pool_of_nobody_is_refused(asked: int) -> None:
    with pytest.raises(ValueError, match=rf"\[ThreadPool\] expected processes >= 1, got {asked}"):
        ThreadPool(asked)


def test_each_thread_is_initialized_with_the_arguments() -> None:
    kept = threading.local()

    def initialize(one: int, other: str) -> None:
        kept.value = (one, other)

    with ThreadPool(2, initialize, [1, "b"]) as pool:
        assert pool.map(lambda _: kept.value, range(6)) == [(1, "b")] * 6
    assert not hasattr(kept, "value")


@pytest.mark.parametrize("ending", ["context", "close and join"])
def test_torchs_number_of_threads_is_what_it_was(ending: str) -> None:
    """nnU-Net's workers change it, and put it back, while others do so, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        pool = ThreadPool(2)
        if ending == "context":
            with pool:
                torch.set_num_threads(1)
        else:
            torch.set_num_threads(1)
            pool.close()
            assert torch.get_num_threads() == 1
            pool.join()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
