"""What stands for processes, what it says in the log, and the iterators that preprocess ahead; no network is needed."""

from __future__ import annotations

import inspect
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunetv2.inference import data_iterators
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from raw_images import copy_images, description, images_of

import fastnnunet_loader as fl
from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.replacements import iterators, options, speaking
from fastnnunet_loader.prediction.replacements.pools import ThreadManager, ThreadMultiprocessing, ThreadProcess
from fastnnunet_loader.settings import PATIENCE
from fastnnunet_loader.system import available_cores, threads_of
from fastnnunet_loader.threads import ThreadPool


@pytest.fixture
def installed() -> Iterator[None]:
    fl.install(threads=2)
    yield
    fl.uninstall()


def test_a_process_on_a_thread_runs_here_and_has_an_exit_code() -> None:
    seen: list[Any] = []

    def work(*args: Any, **kwargs: Any) -> None:
        seen.append((args, kwargs, threading.current_thread()))

    process = ThreadProcess(target=work, name="a name", args=(1, 2), kwargs={"three": 3}, daemon=True)
    assert (process.exitcode, process.daemon, process.name) == (None, True, "a name")
    process.start()
    process.join()
    assert seen == [((1, 2), {"three": 3}, process)]
    assert process.exitcode == 0
    process.terminate()
    process.kill()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_process_on_a_thread_that_fails_has_another_exit_code() -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    process = ThreadProcess(target=fail)
    process.start()
    process.join()
    assert process.exitcode == 1


def test_things_of_a_manager_are_this_process_own() -> None:
    with ThreadManager() as manager:
        queue = manager.Queue(1)
        queue.put(1)
        assert queue.full()
        event = manager.Event()
        event.set()
        assert event.is_set()
        with manager.Lock():
            pass
    manager.shutdown()


def test_pools_and_processes_are_threads_while_it_is_installed() -> None:
    spawning = ThreadMultiprocessing(multiprocessing).get_context("spawn")
    assert spawning.Process is multiprocessing.get_context("spawn").Process
    assert ThreadMultiprocessing(multiprocessing).Pool == multiprocessing.Pool
    assert not isinstance(data_iterators.multiprocessing, ThreadMultiprocessing)
    fl.install(threads=1)
    try:
        for kept in (spawning, data_iterators.multiprocessing, data_iterators.multiprocessing.get_context("spawn")):
            assert (kept.Pool, kept.Process, kept.Manager) == (ThreadPool, ThreadProcess, ThreadManager)
            assert kept.cpu_count() == multiprocessing.cpu_count()
        manager = data_iterators.Manager
        assert isinstance(manager(), ThreadManager)
    finally:
        fl.uninstall()
    assert spawning.Process is multiprocessing.get_context("spawn").Process
    assert data_iterators.multiprocessing is multiprocessing


def test_settings_are_those_of_the_installation() -> None:
    def now() -> tuple[bool, int, float]:
        return options.installed(), options.threads(), options.patience()

    default = threads_of(available_cores())
    assert now() == (False, default, PATIENCE)
    try:
        fl.install(threads=3, patience=7.5)
        assert now() == (True, 3, 7.5)
        fl.install(patience=0)
        assert now() == (True, default, 0)
    finally:
        fl.uninstall()
    assert now() == (False, default, PATIENCE)


def test_what_is_said_in_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "fastnnunet_loader")
    monkeypatch.setattr(speaking, "_said", set())
    speaking.say("warning: 100 % of it")
    speaking.say("a note")
    for text in ("once", "once", "another"):
        speaking.say_once(text)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "100 % of it"),
        ("INFO", "a note"),
        ("WARNING", "once"),
        ("WARNING", "another"),
    ]


def test_a_bad_case_is_left_out_where_that_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    error = PredictionError(case="a", stage="check", reason="expected x, got y")
    with pytest.raises(PredictionError) as raised:
        speaking.leave_out(error)
    assert raised.value is error
    try:
        fl.install()
        with pytest.raises(PredictionError):
            speaking.leave_out(error)
        fl.install(on_bad_case="skip")
        speaking.leave_out(error)
    finally:
        fl.uninstall()
    assert "left out: [a] expected x, got y" in caplog.text


class Cascade:
    """A data set whose network gets the stage before."""

    def __init__(self, dataset: Any) -> None:
        plans = PlansManager(dataset.plans)
        self.plan = (plans, description(dataset), plans.get_configuration("3d_cascade_fullres"))

    def arrays(self, images: Any, before: Any, targets: Any) -> Iterator[dict[str, Any]]:
        properties = [{"spacing": [4.0, 4.0, 4.0]} for _ in range(len(images))]
        made: Iterator[dict[str, Any]] = data_iterators.preprocessing_iterator_fromnpy(
            images, before, properties, targets, *self.plan
        )
        return made


@pytest.fixture
def cascade(nnunet_dataset: Any, installed: None) -> Cascade:
    return Cascade(nnunet_dataset("cascade"))


@pytest.mark.parametrize("verbose", [False, True])
def test_preprocessing_ahead_is_as_install_was_told(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: None, verbose: bool
) -> None:
    seen: dict[str, dict[str, Any]] = {}
    for name in ("Preprocessing", "CaseChecks"):
        kind = getattr(iterators, name)

        def made(*args: Any, name: str = name, kind: Any = kind, **kwargs: Any) -> Any:
            arguments = inspect.signature(kind).bind(*args, **kwargs)
            arguments.apply_defaults()
            seen[name] = dict(arguments.arguments)
            return kind(*args, **kwargs)

        monkeypatch.setattr(iterators, name, made)
    dataset = nnunet_dataset("default")
    copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    plans = PlansManager(dataset.plans)
    plan = (plans, description(dataset), plans.get_configuration("3d_fullres"))
    files = [images_of(tmp_path / "images", "brain_000")]
    fl.install(threads=3, patience=7.5)
    assert len(list(data_iterators.preprocessing_iterator_fromfiles(files, None, None, *plan, verbose=verbose))) == 1
    assert (seen["Preprocessing"]["threads"], seen["Preprocessing"]["verbose"]) == (3, verbose)
    assert [seen[name]["patience"].seconds for name in ("Preprocessing", "CaseChecks")] == [7.5, 7.5]
    seen.clear()
    properties = [{"spacing": [4.0, 4.0, 4.0]}]
    arrays = data_iterators.preprocessing_iterator_fromnpy([image(0)], None, properties, None, *plan, verbose=verbose)
    assert len(list(arrays)) == 1
    assert (seen["Preprocessing"]["threads"], seen["Preprocessing"]["verbose"]) == (3, verbose)


def image(seed: int) -> Any:
    return np.random.default_rng(seed).normal(100, 10, (1, 8, 9, 10)).astype(np.float32)


def test_each_array_gets_its_own_previous_stage_and_target(cascade: Cascade) -> None:
    images = [image(seed) for seed in range(3)]
    before = [np.full((1, 8, 9, 10), label, np.int16) for label in (2, 0, 1)]
    items = list(cascade.arrays(images, before, ["a", "b", "c"]))
    assert [item["ofile"] for item in items] == ["a", "b", "c"]
    assert [item["data"][1:].amax((1, 2, 3)).tolist() for item in items] == [[0, 1], [0, 0], [1, 0]]
    for item, source in zip(items, images, strict=True):
        assert item["data"].shape[0] == 3
        assert np.corrcoef(item["data"][0].numpy().ravel(), source[0].ravel())[0, 1] > 0.999
        assert item["data_properties"]["shape_before_cropping"] == (8, 9, 10)


@pytest.mark.parametrize("on_bad_case", ["raise", "skip"])
def test_an_array_that_is_bad_is_named_or_left_out(
    cascade: Cascade, on_bad_case: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = [np.zeros((1, 8, 9, 10), np.int16)] * 3
    before[1] = before[1][..., :-1]
    fl.install(threads=1, on_bad_case=on_bad_case)
    items = cascade.arrays([image(seed) for seed in range(3)], before, ["a", "b", "c"])
    assert next(items)["ofile"] == "a"
    if on_bad_case == "skip":
        assert [item["ofile"] for item in items] == ["c"]
        assert "left out: [image 1] expected a previous stage of the image's shape" in caplog.text
        return
    with pytest.raises(PredictionError, match=r"\[image 1\] expected a previous stage"):
        next(items)


class Counted(list[Any]):
    """Tells how many of its items were taken."""

    taken = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.taken += 1
            yield item


def settled(images: Counted) -> int:
    """How many were taken when no more are."""
    while True:
        before = images.taken
        time.sleep(0.3)
        if images.taken == before:
            return before


def test_images_are_made_ahead_but_not_all_of_them(cascade: Cascade) -> None:
    images = Counted(image(seed) for seed in range(9))
    before = [np.zeros((1, 8, 9, 10), np.int16)] * 9
    items: Any = cascade.arrays(images, before, None)
    assert settled(images) == 0, "nothing is done before it is asked for"
    next(items)
    assert 2 <= settled(images) <= 3
    next(items)
    assert 3 <= settled(images) <= 4
    items.close()
    taken = settled(images)
    assert list(items) == []
    assert settled(images) == taken
    assert not [thread for thread in threading.enumerate() if thread.name == "fastnnunet-reader"]


@pytest.mark.parametrize("on_bad_case", ["raise", "skip"])
def test_files_have_their_names_and_targets(
    nnunet_dataset: Any, tmp_path: Path, installed: None, on_bad_case: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = nnunet_dataset("default")
    folder = copy_images(dataset, tmp_path / "images", 3, (1, 1, 1))
    (folder / "brain_001_0000.nii.gz").write_bytes(b"no image")
    fl.install(threads=1, on_bad_case=on_bad_case)
    plans = PlansManager(dataset.plans)
    files = [images_of(folder, f"brain_00{n}") for n in range(3)]
    items = data_iterators.preprocessing_iterator_fromfiles(
        files, None, ["a", "b", "c"], plans, description(dataset), plans.get_configuration("3d_fullres")
    )
    if on_bad_case == "raise":
        with pytest.raises(PredictionError, match=r"\[brain_001\]"):
            next(items)
        return
    assert [item["ofile"] for item in items] == ["a", "c"]
    assert "left out: [brain_001]" in caplog.text


def test_lists_of_files_of_other_lengths_are_refused(nnunet_dataset: Any, installed: None) -> None:
    dataset = nnunet_dataset("default")
    plans = PlansManager(dataset.plans)
    plan = plans, description(dataset), plans.get_configuration("3d_fullres")
    make = data_iterators.preprocessing_iterator_fromfiles
    for previous, targets, said in (
        (["p"], None, r"\[previous\] expected one for each list of files, 2, got 1"),
        (None, ["t"], r"\[targets\] expected one for each list of files, 2, got 1"),
    ):
        with pytest.raises(ValueError, match=said):
            make([["a"], ["b"]], previous, targets, *plan)
    with pytest.raises(ValueError, match="expected files of every case, got none for case 1"):
        make([["a"], []], None, None, *plan)
