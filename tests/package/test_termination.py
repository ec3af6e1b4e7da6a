"""What a process does on SIGTERM. Each case has a process of its own: the signal ends one that has no handler."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastnnunet_loader import termination
from fastnnunet_loader.termination import Terminated, end_on_sigterm, ends_on_sigterm

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")

SAID = "ended, says the program"


def handler() -> Any:
    return signal.getsignal(signal.SIGTERM)


def caught() -> bool:
    """Whether a SIGTERM to this process raises."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
    except Terminated:
        return True
    return False


def ends_inside_and_no_longer() -> None:
    with ends_on_sigterm():
        assert caught()
    assert handler() is signal.SIG_DFL
    try:
        with ends_on_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
    except SystemExit as ending:
        assert ending.code == 143
    assert handler() is signal.SIG_DFL
    assert end_on_sigterm(SAID)
    mine = handler()
    with ends_on_sigterm():
        assert handler() is mine
    assert handler() is mine  # as before


def leaves_a_handler_of_somebody_else() -> None:
    def theirs(*_: Any) -> None:
        pass

    for handled in (theirs, signal.SIG_IGN):
        signal.signal(signal.SIGTERM, handled)
        assert not end_on_sigterm(SAID)
        with ends_on_sigterm():
            assert handler() is handled
            assert not caught()
        assert handler() is handled
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with ends_on_sigterm():
        signal.signal(signal.SIGTERM, theirs)  # meanwhile
    assert handler() is theirs


def hears_the_same_request_once_and_another_one_again() -> None:
    with ends_on_sigterm():
        assert [caught() for _ in range(3)] == [True, False, False]
        time.sleep(termination.SAME + 0.1)
        assert caught()


def ends_in_the_main_thread_only() -> None:
    heard: list[bool] = []
    thread = threading.Thread(target=lambda: heard.append(end_on_sigterm()))
    thread.start()
    thread.join()
    assert heard == [False]
    assert handler() is signal.SIG_DFL
    with ends_on_sigterm():
        sending = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGTERM))
        try:
            sending.start()
            sending.join(10)
            raise AssertionError
        except Terminated:
            pass


def leaves_notebooks_and_ranks_alone() -> None:
    import builtins

    builtins.get_ipython = None  # type: ignore[attr-defined]
    assert not end_on_sigterm()
    del builtins.get_ipython  # type: ignore[attr-defined]
    os.environ["WORLD_SIZE"] = "2"
    assert not end_on_sigterm()
    os.environ["WORLD_SIZE"] = "1"
    assert end_on_sigterm()


def ends_in_a_pool(*_: Any) -> tuple[bool, bool]:
    return end_on_sigterm(SAID), handler() is signal.SIG_DFL


def leaves_processes_of_pools_alone() -> None:
    assert end_on_sigterm(SAID)
    for method in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(ends_in_a_pool, [0]) == [(False, True)], method


def leaves_the_child_of_a_fork_alone() -> None:
    assert end_on_sigterm(SAID)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"here")
        time.sleep(30)
        os._exit(1)
    os.read(reading, 4)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


class SignalledWhileItEnds:
    """Python drops what a destructor raises."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)


def raises_again_what_was_dropped() -> None:
    with ends_on_sigterm():
        raised: list[float] = []
        sys.unraisablehook = lambda dropped: raised.append(time.monotonic())
        thing = SignalledWhileItEnds()
        try:
            del thing
            assert len(raised) == 1
            time.sleep(10)
        except Terminated:
            pass
        assert 1 < time.monotonic() - raised[0] < 9
    assert end_on_sigterm()  # and then no more
    time.sleep(termination.AGAIN + 0.5)


def goes_on_where_it_was_caught() -> None:
    """A program that catches it has something to do before it ends, and is not told again."""
    with ends_on_sigterm():
        assert caught()
        time.sleep(termination.AGAIN + 0.5)


def says_so_in_the_middle_of_another_print() -> None:
    """Python's own streams cannot be written to while they are being written to."""
    assert end_on_sigterm(SAID)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    while True:
        print("." * 100, file=sys.stderr, flush=True)


def run(program: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    code = f"import {__name__.rpartition('.')[2]} as programs; programs.{program.__name__}()"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, encoding="utf-8", timeout=120, check=False
    )  # fmt: skip


@pytest.mark.parametrize(
    "program",
    [
        ends_inside_and_no_longer,
        leaves_a_handler_of_somebody_else,
        hears_the_same_request_once_and_another_one_again,
        ends_in_the_main_thread_only,
        leaves_notebooks_and_ranks_alone,
        leaves_processes_of_pools_alone,
        leaves_the_child_of_a_fork_alone,
        raises_again_what_was_dropped,
        goes_on_where_it_was_caught,
    ],
)
def test_a_process(program: Callable[[], None]) -> None:
    done = run(program)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_catches_nothing_ends_with_the_line_and_without_a_traceback() -> None:
    done = run(says_so_in_the_middle_of_another_print)
    assert done.returncode == 143
    (said,) = {line.strip(".") for line in done.stderr.splitlines()} - {""}
    assert said == SAID
