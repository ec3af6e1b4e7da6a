"""The three stages: what overlaps, what waits for memory, what happens to a case that fails. No network is needed."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.export.outputs import Outputs
from fastnnunet_loader.prediction.session.memory import Budget, Need
from fastnnunet_loader.prediction.session.pipeline import Job, Pipeline
from fastnnunet_loader.prediction.session.progress import Progress


def job(index: int, need: Need | None = None, prepare: Callable[[], Any] | None = None) -> Job:
    return Job(
        f"case {index}", prepare or (lambda: (torch.full((1,), float(index)), {"index": index})), f"target {index}", need
    )


def export(logits: torch.Tensor, properties: dict[str, Any], target: str | None) -> Any:
    return float(logits[0]), properties["index"], target


def pipeline(limit: int = 100, on_bad_case: str = "raise", predict: Any = None, writer: Any = None) -> Pipeline:
    return Pipeline(
        predict or (lambda case, image, properties, target: image + 0.5),
        writer or export,
        Outputs(),
        Budget(limit),
        on_bad_case,
    )


def test_results_are_in_order() -> None:
    assert pipeline().run(job(i) for i in range(5)) == [(i + 0.5, i, f"target {i}") for i in range(5)]
    assert pipeline().run([]) == []


def test_stages_overlap() -> None:
    started = time.monotonic()
    pause = 0.15

    def prepare() -> Any:
        time.sleep(pause)
        return torch.zeros(1), {"index": 0}

    def predict(case: str, image: torch.Tensor, *_: Any) -> torch.Tensor:
        time.sleep(pause)
        return image

    def write(*_: Any) -> None:
        time.sleep(pause)

    pipeline(predict=predict, writer=write).run([job(i, Need(1, 1, 1), prepare) for i in range(6)])
    assert time.monotonic() - started < 3 * 6 * pause * 0.7


class Held:
    """How much the cases at work need together, each at the peak of the stages that it has before it."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def change(self, by: int) -> None:
        with self._lock:
            self._now += by
            self.most = max(self.most, self._now)


@pytest.mark.parametrize(("limit", "at_most"), [(10, 10), (19, 10), (20, 20), (100, 40)])
def test_no_more_cases_than_the_budget_holds(limit: int, at_most: int) -> None:
    held = Held()

    def prepare(index: int) -> Any:
        held.change(10)
        time.sleep(0.02)
        return torch.zeros(1), {"index": index}

    def write(logits: torch.Tensor, properties: dict[str, Any], target: str | None) -> None:
        time.sleep(0.03)
        held.change(-10)

    jobs = [job(i, Need(10, 10, 10), lambda i=i: prepare(i)) for i in range(6)]
    pipeline(limit, writer=write).run(jobs)
    assert held.most <= at_most


def test_case_of_unknown_need_is_alone() -> None:
    held = Held()

    def prepare() -> Any:
        held.change(1)
        return torch.zeros(1), {"index": 0}

    def write(*_: Any) -> None:
        held.change(-1)

    pipeline(writer=write).run([job(i, None, prepare) for i in range(4)])
    assert held.most == 1


def test_case_that_cannot_fit_is_refused_and_the_others_are_done() -> None:
    line = pipeline(on_bad_case="skip")
    results = line.run([job(0, Need(1, 1, 1)), job(1, Need(1, 2**30, 1)), job(2, Need(1, 1, 1))])
    assert [result is None for result in results] == [False, True, False]
    (failure,) = line.failures
    assert failure.case == "case 1"
    assert "expected a memory budget of at least 1.0 GiB, got 100 bytes" in str(failure)


@pytest.mark.parametrize("limit", [0, 9, 10, 19, 20])
def test_budget_that_nobody_gave_refuses_nothing(limit: int) -> None:
    """It bounds what is at work at once; a case that is larger goes on when it is alone."""
    held, written = Held(), []

    def prepare(index: int) -> Any:
        held.change(10)
        time.sleep(0.01)
        return torch.zeros(1), {"index": index}

    def write(logits: torch.Tensor, properties: dict[str, Any], target: str | None) -> None:
        time.sleep(0.02)
        written.append(properties["index"])
        held.change(-10)

    line = pipeline(writer=write)
    line._budget = Budget(limit, given=False)
    line.run([job(i, Need(10, 10, 10), lambda i=i: prepare(i)) for i in range(5)])
    assert written == list(range(5))
    assert held.most == (20 if limit == 20 else 10)
    warning = line._budget.warning(Need(10, 10, 10))
    assert warning is None if limit >= 10 else "needs about 10 bytes" in str(warning)
    assert line._budget.refuses(Need(10, 2**40, 10)) is None


def results_of(line: Pipeline, jobs: Iterator[Job]) -> list[Any]:
    """What a pipeline makes of jobs, where it could wait for ever."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.extend(line.run(jobs)), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits for what nobody gives back"
    return results


def failing(*_: Any) -> Any:
    raise RuntimeError("broken")


@pytest.mark.parametrize("limit", [pytest.param(1, id="one at a time"), 100])
@pytest.mark.parametrize("stage", ["preprocess", "predict", "export"])
def test_bad_case_is_named_or_skipped(stage: str, limit: int) -> None:
    def predict(case: str, image: torch.Tensor, *_: Any) -> torch.Tensor:
        return failing() if stage == "predict" and image[0] == 1 else image

    def write(logits: torch.Tensor, properties: dict[str, Any], target: str | None) -> Any:
        return failing() if stage == "export" and properties["index"] == 1 else export(logits, properties, target)

    def jobs() -> Iterator[Job]:
        for i in range(4):
            yield job(i, Need(1, 1, 1), failing if stage == "preprocess" and i == 1 else None)

    with pytest.raises(PredictionError, match=rf"\[case 1\] expected to {stage} it, got RuntimeError: broken") as raised:
        pipeline(limit, predict=predict, writer=write).run(jobs())
    assert isinstance(raised.value.__cause__, RuntimeError)
    line = pipeline(limit, on_bad_case="skip", predict=predict, writer=write)
    assert [result is None for result in results_of(line, jobs())] == [False, True, False, False]
    assert [(failure.case, failure.stage) for failure in line.failures] == [("case 1", stage)]


def test_what_was_predicted_before_a_bad_case_is_written() -> None:
    written: list[str | None] = []

    def write(logits: torch.Tensor, properties: dict[str, Any], target: str | None) -> None:
        time.sleep(0.1)
        written.append(target)

    with pytest.raises(PredictionError):
        pipeline(writer=write).run([job(0), job(1, None, failing), job(2)])
    assert written == ["target 0"]


def test_error_of_the_iterable_is_raised_as_it_is() -> None:
    def jobs() -> Iterator[Job]:
        yield job(0)
        raise LookupError("not a case")

    with pytest.raises(LookupError, match="not a case"):
        pipeline().run(jobs())


def test_interruption_does_not_wait_for_the_threads() -> None:
    release = threading.Event()

    def predict(case: str, image: torch.Tensor, *_: Any) -> torch.Tensor:
        raise KeyboardInterrupt

    def prepare() -> Any:
        release.wait(20)
        return torch.zeros(1), {"index": 0}

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pipeline(predict=predict).run([job(0), job(1, None, prepare)])
    assert time.monotonic() - started < 2
    release.set()


def test_progress_line() -> None:
    clock = iter([0.0, 10.0, 12.0, 20.0, *[300.0] * 9])
    out, budget = io.StringIO(), Budget(2**30)
    progress = Progress(3, budget, out, lambda: next(clock))
    budget.reserve(0, 2**29, lambda: False)
    progress.stage("reading", "a")  # too early for another line
    progress.done(well=True)
    progress.stage("reading", None)
    progress.stage("predicting", "b")
    progress.done(well=False)
    first, *_, last = out.getvalue().splitlines()
    assert first.startswith("1 of 3 cases | reading a | ")
    assert first.endswith(" left | memory 512.0 MiB of 1.0 GiB")
    assert last.startswith("2 of 3 cases (1 bad) | predicting b | ")


def test_progress_line_tells_windows() -> None:
    now = [0.0]
    out = io.StringIO()
    progress = Progress(1, Budget(2**30), out, lambda: now[0])
    progress.stage("predicting", "a")
    progress.windows("predicting", "a", 1, 80)
    assert out.getvalue() == "", "not for each window in a file"
    now[0] = 31.0
    progress.windows("predicting", "a", 12, 80)
    assert out.getvalue().startswith("0 of 1 cases | predicting a (12 of 80 windows) | memory ")
    assert len(out.getvalue().splitlines()) == 1
