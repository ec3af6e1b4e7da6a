"""The three stages: what overlaps, what waits for memory, what happens to a case that fails. No network is needed."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from fastnnunet_loader.errors import PredictionError, ResourceError, StorageError
from fastnnunet_loader.prediction.export.outputs import Outputs
from fastnnunet_loader.prediction.session.memory import Budget, Need
from fastnnunet_loader.prediction.session.pipeline import Job, Pipeline, failure
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


@pytest.mark.parametrize("of_a_pool", [False, True])
@pytest.mark.parametrize("stage", ["preprocesses a case", "prepares windows", "exports a case"])
def test_a_thread_that_the_system_refuses_is_no_fault_of_the_case(stage: str, of_a_pool: bool) -> None:
    """Neither where Python says so, nor where a pool of the stage has said it already."""
    asked = "[threads] expected a thread of a pool" if of_a_pool else f"[prediction] expected a thread that {stage}"

    def refused(*_: Any) -> Any:
        error = RuntimeError("can't start new thread")
        if of_a_pool:
            raise ResourceError(f"{asked}, got none") from error
        raise error

    stages = {"prepares windows": {"predict": refused}, "exports a case": {"writer": refused}}
    line = pipeline(on_bad_case="skip", **stages.get(stage, {}))
    jobs = [job(i, prepare=refused if stage == "preprocesses a case" and i == 2 else None) for i in range(5)]
    with pytest.raises(ResourceError, match=rf"^{re.escape(asked)}, got none") as caught:
        line.run(jobs)
    assert "can't start new thread" in str(caught.value.__cause__)
    assert line.failures == []


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
@pytest.mark.parametrize(("stage", "named"), [("preprocess", "preprocessing"), ("predict", "prediction"), ("export", "export")])
def test_bad_case_is_named_or_skipped(stage: str, named: str, limit: int) -> None:
    def predict(case: str, image: torch.Tensor, *_: Any) -> torch.Tensor:
        return failing() if stage == "predict" and image[0] == 1 else image

    def write(logits: torch.Tensor, properties: dict[str, Any], target: str | None) -> Any:
        return failing() if stage == "export" and properties["index"] == 1 else export(logits, properties, target)

    def jobs() -> Iterator[Job]:
        for i in range(4):
            yield job(i, Need(1, 1, 1), failing if stage == "preprocess" and i == 1 else None)

    with pytest.raises(PredictionError, match=rf"\[case 1\] {named} failed: RuntimeError: broken") as raised:
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


def seen_at(need: Need, limit: int, stage: str, patience: float) -> bool:
    """Whether a second case is prepared while the first one is in a stage, with this budget."""
    second, done = threading.Event(), threading.Event()
    seen: list[bool] = []

    def prepare(index: int) -> Any:
        if index == 1:
            second.set()
        return torch.zeros(1), {"index": index}

    def look(index: int, where: str) -> None:
        if index == 0 and where == stage:
            seen.append(second.wait(patience))
            done.set()

    def predict(case: str, image: torch.Tensor, properties: dict[str, Any], target: str | None) -> torch.Tensor:
        look(properties["index"], "predict")
        return image

    def write(logits: torch.Tensor, properties: dict[str, Any], target: str | None) -> None:
        look(properties["index"], "export")

    pipeline(limit, predict=predict, writer=write).run([job(i, need, lambda i=i: prepare(i)) for i in range(2)])
    assert done.is_set()
    return seen[0]


@pytest.mark.parametrize(
    ("need", "while_predicting", "while_exporting"),
    [
        (Need(60, 40, 40), True, True),  # what preprocessing needs more is given back
        (Need(60, 41, 10), False, True),  # and what the network needs more
        (Need(60, 10, 41), False, False),  # what is exported is still to come
        (Need(30, 70, 30), False, True),
        (Need(30, 71, 31), False, False),
        (Need(10, 10, 90), False, False),
        (Need(10, 90, 10), False, True),
        (Need(50, 50, 50), True, True),
    ],
)
def test_each_stage_gives_back_what_those_after_it_do_not_need(
    need: Need, while_predicting: bool, while_exporting: bool
) -> None:
    for stage, expected in (("predict", while_predicting), ("export", while_exporting)):
        assert seen_at(need, 100, stage, 20 if expected else 0.3) == expected, stage


def never() -> bool:
    return False


def fits(budget: Budget, key: int, need: int | None) -> bool:
    """Whether a case is let in at once."""
    begin = time.monotonic()
    return budget.reserve(key, need, lambda: time.monotonic() - begin > 0.02)


@pytest.mark.parametrize("given", [True, False])
def test_what_is_let_in_beside_another(given: bool) -> None:
    for first, second, fitting in (
        (40, 60, True),
        (40, 61, False),
        (0, 100, True),
        (40, None, False),
        (None, 1, False),
        (101, 1, False),
        (1, 101, False),
    ):
        budget = Budget(100, given)
        assert fits(budget, 0, first)
        assert budget.reserved == (100 if first is None or first > 100 else first)
        assert fits(budget, 1, second) == fitting, (first, second)
        budget.release(0)
        assert fitting or fits(budget, 1, second)
        budget.release(1)
        assert budget.reserved == 0


def test_a_case_never_reserves_more_than_at_first() -> None:
    budget = Budget(100)
    assert budget.reserve(0, 60, never)
    for need, left in ((80, 60), (50, 50), (60, 50), (0, 0)):
        budget.keep(0, need)
        assert budget.reserved == left
    budget.keep(7, 10)  # which has reserved nothing
    budget.release(7)
    assert budget.reserved == 0


def test_need_names_its_largest_stage() -> None:
    for need, most, after in ((Need(3, 2, 1), 3, 2), (Need(1, 3, 2), 3, 3), (Need(2, 1, 3), 3, 3), (Need(9, 1, 2), 9, 2)):
        assert (need.most, need.after_preprocessing) == (most, after)
        assert need.beyond(most) is None
        assert need.beyond(most - 1) == f"expected a memory budget of at least {most} bytes, got {most - 1} bytes"


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line_that_is_written_again() -> None:
    now = [0.0]
    out, budget = Terminal(), Budget(2**30)
    progress = Progress(3, budget, out, lambda: now[0])
    progress.stage("reading", "a case with a long name")
    progress.stage("reading", None)
    assert out.getvalue() == "\r0 of 3 cases | reading a case with a long name | memory 0 bytes of 1.0 GiB"
    long = len(out.getvalue()) - 1
    progress.done(well=True)
    assert out.getvalue()[long + 1 :] == "\r1 of 3 cases | 0 s left | memory 0 bytes of 1.0 GiB".ljust(long + 1)
    before = len(out.getvalue())
    now[0] = 0.1
    progress.windows("predicting", "b", 1, 8)
    assert len(out.getvalue()) == before, "not more often than one can see"
    now[0] = 0.3
    progress.windows("predicting", "b", 2, 8)
    assert "| predicting b (2 of 8 windows) |" in out.getvalue()[before:]
    progress.close()
    progress.close()
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("\n")


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(3.0, "6 s"), (29.8, "1 min 0 s"), (45.0, "1 min 30 s"), (1800.0, "1 h 0 min"), (4000.0, "2 h 13 min")],
)
def test_time_that_is_left(seconds: float, left: str) -> None:
    """Of three cases, the first one has taken so long."""
    now = [100.0]
    progress = Progress(3, Budget(1), io.StringIO(), lambda: now[0])
    now[0] += seconds
    assert "left" not in progress.line()
    progress.done(well=False)
    assert progress.line() == f"1 of 3 cases (1 bad) | {left} left | memory 0 bytes of 1 bytes"
    for _ in range(2):
        progress.done(well=True)
    assert progress.line() == "3 of 3 cases (1 bad) | memory 0 bytes of 1 bytes"


def test_progress_of_cases_that_nobody_has_counted() -> None:
    progress = Progress(None, Budget(1), io.StringIO(), lambda: 0.0)
    progress.done(well=True)
    assert progress.line() == "1 cases | memory 0 bytes of 1 bytes"


def test_progress_is_told_of_every_stage_and_case() -> None:
    told: list[tuple[str, str | None]] = []
    ended: list[bool] = []

    class Told(Progress):
        def stage(self, stage: str, case: str | None) -> None:
            told.append((stage, case))

        def done(self, *, well: bool) -> None:
            ended.append(well)

    line = pipeline(on_bad_case="skip")
    line._progress = Told(3, Budget(100), io.StringIO())
    line.run([job(0), job(1, None, failing), job(2)])
    assert sorted(ended) == [False, True, True]
    for stage, cases in (("reading", (0, 1, 2)), ("predicting", (0, 2)), ("writing", (0, 2))):
        assert [case for where, case in told if where == stage] == [case for n in cases for case in (f"case {n}", None)], stage


def test_a_failure_says_what_was_raised_once() -> None:
    named = PredictionError(case="a", stage="check", reason="expected x, got y")
    assert failure("b", "export", named) is named
    of_ours = failure("b", "export", StorageError("expected x, got y", file="file", reason="expected x, got y"))
    assert str(of_ours).count("StorageError") == 0
    assert (of_ours.case, of_ours.stage) == ("b", "export")
    other = ValueError("two\n  lines")
    made = failure("b", "predict", other)
    assert str(made) == "[b] prediction failed: ValueError: two lines"
    assert made.__cause__ is other
    assert str(failure("b", "predict", ValueError())).endswith("prediction failed: ValueError: no reason")
