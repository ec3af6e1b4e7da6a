"""What a process does on SIGUSR1. Each case has a process of its own: the signal ends one that does not listen."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastnnunet_loader import listening

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="a signal of POSIX systems")


def listens_inside_and_no_longer() -> None:
    assert not listening.listening()
    with listening.listens():
        assert listening.listening()
        mine = signal.getsignal(signal.SIGUSR1)
        assert mine is not signal.SIG_DFL
        assert listening.listen()  # as it does already
        with listening.listens():
            pass
        assert listening.listening() and signal.getsignal(signal.SIGUSR1) is mine  # the outer one goes on
    assert not listening.listening()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    with contextlib.suppress(ArithmeticError), listening.listens():
        raise ArithmeticError
    assert not listening.listening()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert listening.listen()
    with listening.listens():
        pass
    assert listening.listening()  # as before


def leaves_a_handler_of_somebody_else() -> None:
    def theirs(*_: Any) -> None:
        pass

    for handler in (theirs, signal.SIG_IGN):
        signal.signal(signal.SIGUSR1, handler)
        assert not listening.listen()
        with listening.listens():
            assert not listening.listening()
            assert signal.getsignal(signal.SIGUSR1) is handler
        assert signal.getsignal(signal.SIGUSR1) is handler
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    with listening.listens():
        signal.signal(signal.SIGUSR1, theirs)  # meanwhile
        assert not listening.listening()  # so its ranks do not either
        assert not listening.listen()
    assert signal.getsignal(signal.SIGUSR1) is theirs


def listens_again_after_somebody_else_has_let_go() -> None:
    assert listening.listen()
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert not listening.listening()
    with listening.listens():
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def listens_in_the_main_thread_only() -> None:
    heard: list[bool] = []

    def inside() -> None:
        heard.append(listening.listen())
        with listening.listens():
            heard.append(listening.listening())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert heard == [False, False]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def tells_what_the_loaders_do_else_where_python_is() -> None:
    import fastnnunet_loader as fl
    from fastnnunet_loader.nnunet.sources import open_source

    source = open_source(os.environ["DATASET"], "3d_fullres", 0).train
    told = io.StringIO()
    with listening.listens(), contextlib.redirect_stderr(told):
        signal.raise_signal(signal.SIGUSR1)  # the lines of Python go to standard error itself
        assert told.getvalue() == "fastnnunet: no loader is open; the threads of Python are at\n"
        with fl.DataLoader.from_nnunet(source, threads=1, seed=4):
            told.truncate(told.seek(0))
            signal.raise_signal(signal.SIGUSR1)
    assert told.getvalue().startswith("fastnnunet: loader of role 0, rank 0, seed 4: batch 0 is next; ")


def told_by(program: Callable[[], None], **environment: str) -> str:
    """What it writes to standard error, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {__name__.rpartition('.')[2]} as programs; programs.{program.__name__}()"],
        cwd=Path(__file__).parent, env={**os.environ, **environment}, capture_output=True, encoding="utf-8", timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "program",
    [
        listens_inside_and_no_longer,
        leaves_a_handler_of_somebody_else,
        listens_again_after_somebody_else_has_let_go,
        listens_in_the_main_thread_only,
    ],
)
def test_a_process(program: Callable[[], None]) -> None:
    told_by(program)


def test_what_is_told_is_what_the_loaders_do_else_where_python_is(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    told = told_by(tells_what_the_loaders_do_else_where_python_is, **dataset.env, DATASET=dataset.name)
    assert told.count("test_listening.py") == 1  # once: not beside a loader
