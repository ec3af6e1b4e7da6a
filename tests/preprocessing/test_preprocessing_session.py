"""Many cases at once: none is lost, whatever fails beside it, and as many run together as may."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.prediction.session.memory import Budget
from fastnnunet_loader.prediction.session.progress import Progress
from fastnnunet_loader.preprocessing.cases import TrainingCase
from fastnnunet_loader.preprocessing.session import Job, Session


def case(name: str) -> TrainingCase:
    return TrainingCase(name, (f"{name}_0000.nii.gz",), f"{name}.nii.gz")


def session(budget: Budget, say: Any = print, threads: int = 2) -> Session:
    return Session("preprocess", budget, threads, most_cases=2, progress=False, say=say)


def failing(_: int) -> None:
    raise ValueError("this case is bad")


def test_an_error_of_whoever_is_told_is_raised_and_no_case_is_lost() -> None:
    def say(_: str) -> None:
        raise OSError("the log is full")

    jobs = [Job(case(f"case_{i}"), 10, failing) for i in range(4)]
    with pytest.raises(OSError, match="the log is full"):
        session(Budget(100), say).run(jobs)


def test_cases_of_unknown_memory_run_together() -> None:
    """As nnU-Net's worker processes do; those that are known run beside them."""
    together = threading.Barrier(2, timeout=20)
    jobs = [Job(case(f"case_{i}"), None, lambda _: together.wait()) for i in range(4)]
    assert session(Budget(100, given=False)).run(jobs) == []


def test_a_bad_case_is_named_and_the_others_are_finished() -> None:
    done: list[str] = []
    jobs = [Job(case("bad"), 10, failing), *(Job(case(f"case_{i}"), 10, lambda _, i=i: done.append(i)) for i in range(3))]
    (error,) = session(Budget(100)).run(jobs)
    assert isinstance(error, fl.PreprocessingError)
    assert (error.case, error.file) == ("bad", "bad_0000.nii.gz")
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), fl.ResourceError("[threads] expected a thread, got none")]
)
def test_a_thread_that_the_system_refuses_is_no_fault_of_the_case(error: Exception) -> None:
    def refused(_: int) -> None:
        raise error

    with pytest.raises(fl.ResourceError, match=r"expected a thread.*, got none"):
        session(Budget(100)).run([Job(case(f"case_{i}"), 10, refused) for i in range(4)])


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [Full(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")], ids=["full disk", "ascii"])
def test_progress_that_cannot_be_shown_stops_nothing(stream: Any) -> None:
    progress = Progress(2, Budget(100), stream)
    progress.stage("preprocessing", "Fälle_001")
    progress.done(well=True)
    progress.close()
