"""Statistics: that they are true of a loader's real work, and told whole to logs, files and terminals."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunet_loaders import nnunet_loaders
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import fastnnunet_loader as fl
from fastnnunet_loader.statistics import gpu
from fastnnunet_loader.statistics import reporter as reporter_module
from fastnnunet_loader.statistics.files import append_json, openmetrics, replace_text
from fastnnunet_loader.statistics.reporter import Reporter, ReportOptions
from fastnnunet_loader.statistics.text import line


@pytest.fixture
def loader(nnunet_dataset: Any, monkeypatch: Any) -> Any:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=1, prefetch=3) as made:
        yield made


class Sleeping(ImageOnlyTransform):  # type: ignore[misc]
    """A transform that takes a known time, and is not native."""

    def _apply_to_image(self, img: Any, **_: Any) -> Any:
        time.sleep(0.02)
        return img


def test_they_are_frozen_and_plain(loader: fl.DataLoader) -> None:
    next(loader)
    stats = loader.stats()
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.batches = 3  # type: ignore[misc]
    again = json.loads(json.dumps(stats.as_dict(), allow_nan=False))
    assert again["batches"] == 1
    assert [stage["name"] for stage in again["stages"]] == [stage.name for stage in stats.stages]


def test_before_the_first_batch_there_is_nothing(loader: fl.DataLoader) -> None:
    stats = loader.stats()
    assert (stats.batches, stats.running, stats.samples_per_second, stats.waited) == (0, 0.0, 0.0, 0.0)
    assert stats.sample_median == 0.0
    assert line(stats, None, loader.batch_size).startswith("no samples yet")


def test_they_say_what_was_done(loader: fl.DataLoader) -> None:
    began = time.monotonic()
    for _ in range(8):
        next(loader)
    elapsed = time.monotonic() - began
    while loader.stats().ready_batches < loader.stats().prefetch:  # nothing is being made any more
        time.sleep(0.01)
    stats = loader.stats()
    assert stats.batches == 8
    assert stats.samples >= 8 * loader.batch_size
    assert 2 <= stats.ready_batches == stats.prefetch <= stats.prefetch_limit == 3
    assert elapsed <= stats.running <= time.monotonic() - began
    assert stats.samples_per_second == pytest.approx(8 * loader.batch_size / stats.running, rel=1e-6)
    assert 0 < stats.waited <= elapsed
    assert stats.wait_median <= stats.wait_p99 <= 1.1 * stats.waited
    # Two threads, and no more.
    thread_time = stats.sample_time * stats.samples
    assert thread_time <= 2 * (stats.running + 1)
    assert stats.sample_median <= stats.sample_p99
    names = [stage.name for stage in stats.stages]
    assert names[:2] == ["sampling", "reading"]
    assert names[-1] == "writing"
    assert {"SpatialTransform", "MirrorTransform", "DownsampleSegForDSTransform"} <= set(names)
    assert 0.5 * thread_time <= sum(stage.total for stage in stats.stages) <= 1.02 * thread_time
    for stage in stats.stages:
        assert stage.native
        assert stage.count <= stats.samples
        assert (stage.median > 0) == (stage.count > 0)
        assert stage.median <= stage.p99
        if stage.count:
            assert stage.median * (stage.count / 2) <= 1.1 * stage.total + 1e-9
    assert stats.bytes_read > 0
    assert stats.cache_hits + stats.cache_misses > 0
    assert 0 <= stats.cache_hit_share <= 1
    status = dict(row.split(":", 1) for row in Path("/proc/self/status").read_text().splitlines() if ":" in row)
    assert stats.process_memory == pytest.approx(1024 * int(status["VmRSS"].split()[0]), rel=0.1)
    assert stats.process_memory < stats.memory_limit
    assert 0 < stats.memory_available <= stats.memory_limit
    assert stats.memory_budget == loader.memory_budget
    assert stats.prefetch * stats.batch_bytes <= stats.memory_used <= stats.memory_budget
    assert stats.gpu is None  # CUDA is not in use here
    assert (stats.python_fallbacks, stats.python_share, stats.skipped_cases) == ((), 0.0, 0)


def test_what_runs_in_python_is_named_with_its_share(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    train.transforms = ComposeTransforms([Sleeping(), *train.transforms.transforms])
    with fl.DataLoader.from_nnunet(train, threads=1, seed=1) as loader:
        for _ in range(3):
            next(loader)
        stats = loader.stats()
    (stage,) = (stage for stage in stats.stages if not stage.native)
    assert "Sleeping" in stage.name
    assert 0.018 <= stage.median <= 0.2
    (fallback,) = stats.python_fallbacks
    assert "Sleeping" in fallback
    assert stats.python_share == pytest.approx(stage.total / (stats.sample_time * stats.samples), rel=0.2)
    assert f"{100 * stats.python_share:.0f} % of the time in Python" in line(stats, None, loader.batch_size)


@pytest.fixture
def _fresh_nvml() -> Any:
    for cached in (gpu._nvml, gpu._handle):
        cached.cache_clear()
    yield
    for cached in (gpu._nvml, gpu._handle):
        cached.cache_clear()


@pytest.mark.usefixtures("_fresh_nvml")
def test_where_there_is_no_driver_there_is_no_gpu(monkeypatch: Any) -> None:
    def no_driver() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert gpu.gpu_stats(0) is None
    assert gpu.gpu_stats(None) is None


@pytest.mark.usefixtures("_fresh_nvml")
@pytest.mark.parametrize("whole", [True, False])
def test_a_gpu_is_found_by_its_uuid(loader: fl.DataLoader, monkeypatch: Any, whole: bool) -> None:
    # The driver is stood in for, behind the names that nvidia-ml-py has.
    def utilization(_: object) -> Any:
        if not whole:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)  # as of a part of a GPU
        return SimpleNamespace(gpu=83, memory=10)

    asked = []
    answers = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: asked.append(uuid) or "handle",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=3, total=7, free=4),
        "nvmlDeviceGetName": lambda _: "NVIDIA X",
        "nvmlDeviceGetUtilizationRates": utilization,
    }
    for name, answer in answers.items():
        assert callable(getattr(pynvml, name))
        monkeypatch.setattr(pynvml, name, answer)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1234-5678"))
    monkeypatch.setattr(loader, "_device", 1)
    next(loader)
    stats = loader.stats()
    assert asked == ["GPU-1234-5678"]
    assert stats.gpu == fl.GpuStats("NVIDIA X", 0.83 if whole else None, 3, 7)
    assert ("GPU 83 % busy" in line(stats, None, 2)) == whole
    assert "GPU " in line(stats, None, 2)


def test_a_line_is_of_the_time_since_the_last(loader: fl.DataLoader) -> None:
    next(loader)
    before = loader.stats()
    time.sleep(0.5)
    for _ in range(4):
        next(loader)
    now = loader.stats()
    rate = 4 * loader.batch_size / (now.running - before.running)
    text = line(now, before, loader.batch_size)
    assert text.startswith(f"{rate:.1f} samples/s, waited {now.waited - before.waited:.1f} s of ")
    assert f"{now.ready_batches} of {now.prefetch} batches ready" in text


def test_openmetrics_is_what_the_format_wants(loader: fl.DataLoader, tmp_path: Path) -> None:
    for _ in range(3):
        next(loader)
    stats = dataclasses.replace(loader.stats(), gpu=fl.GpuStats('GPU "A"\\1', 0.5, 2**30, 2**34))
    file = tmp_path / "nnunet.prom"
    replace_text(file, "old")
    replace_text(file, openmetrics({"training": stats, "validation": stats}, {"fold": "0", "dataset": "Dataset\n001"}))
    assert [f.name for f in tmp_path.iterdir() if "prom" in f.name] == ["nnunet.prom"]
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(file.read_text(encoding="utf-8"))
        for sample in family.samples
    }
    own = (("dataset", "Dataset\n001"), ("fold", "0"), ("loader", "training"))
    assert values[("fastnnunet_batches_total", *own)] == 3
    assert values[("fastnnunet_process_memory_bytes", *own)] == stats.process_memory
    assert values["fastnnunet_gpu_utilization", ("dataset", "Dataset\n001"), ("fold", "0"), ("gpu", 'GPU "A"\\1')] == 0.5
    stages = [key for key in values if key[0] == "fastnnunet_stage_seconds_count"]
    assert len(stages) == 2 * len(stats.stages)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    file, texts = tmp_path / "whole.prom", ["a" * 200_000, "b" * 200_000]
    replace_text(file, texts[0])
    done = threading.Event()

    def write() -> None:
        for i in range(200):
            replace_text(file, texts[i % 2])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    while not done.is_set():
        seen.add(file.read_text())
    thread.join()
    assert seen <= set(texts)


def reporter(loader: fl.DataLoader, log: list[str], **options: Any) -> Reporter:
    return Reporter(ReportOptions(**options), lambda: {"training": loader}, log.append, {"fold": "0"})


def test_a_reporter_writes_now_and_then_and_ends(loader: fl.DataLoader, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter_module, "FILES_EVERY", 0.2)
    log: list[str] = []
    before = set(threading.enumerate())
    telling = reporter(loader, log, stats=tmp_path / "s.jsonl", metrics=tmp_path / "m.prom", log_stats=True)
    for _ in range(3):
        next(loader)
    deadline = time.monotonic() + 20
    while not (tmp_path / "s.jsonl").exists() or (tmp_path / "s.jsonl").read_text().count("\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    telling.epoch(7)
    telling.stop()
    telling.stop()
    assert set(threading.enumerate()) <= before
    entries = [json.loads(row) for row in (tmp_path / "s.jsonl").read_text().splitlines()]
    events = [entry["event"] for entry in entries]
    assert events[0] == "running"
    assert events[-2:] == ["epoch", "end"]
    assert events.count("running") >= 3
    assert entries[-2]["epoch"] == 7
    assert {entry["loader"] for entry in entries} == {"training"}
    assert entries[-1]["batches"] == 3
    assert (tmp_path / "m.prom").read_text().endswith("# EOF\n")
    (told,) = log
    assert told.startswith("fastnnunet_loader, training, epoch 7: ")


def test_a_file_that_cannot_be_written_is_said_once(loader: fl.DataLoader, tmp_path: Path) -> None:
    next(loader)
    log: list[str] = []
    telling = reporter(loader, log, stats=tmp_path / "nowhere" / "s.jsonl")
    telling.epoch(0)
    telling.epoch(1)
    telling.stop()
    assert log == [f"fastnnunet_loader: statistics cannot be written to {tmp_path / 'nowhere' / 's.jsonl'}: "
                   "No such file or directory"]  # fmt: skip


def test_a_reporter_follows_new_loaders_and_ends_with_the_training(
    loader: fl.DataLoader, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(reporter_module, "FILES_EVERY", 0.1)
    for _ in range(2):
        next(loader)
    loaders: dict[str, dict[str, fl.DataLoader] | None] = {"now": {"training": loader}}
    log: list[str] = []
    telling = Reporter(ReportOptions(stats=tmp_path / "s.jsonl", log_stats=True), lambda: loaders["now"], log.append, {})
    telling.epoch(0)
    state = loader.state_dict()
    loader.close()
    telling.epoch(1)  # there is none to tell of
    loader._core = loader._make()
    loader.load_state_dict(state)
    next(loader)
    telling.epoch(2)
    assert len(log) == 2
    assert "epoch 2" in log[1]
    assert "-" not in log[1].split("samples/s")[0].split(": ")[-1]
    loaders["now"] = None
    assert telling._thread is not None
    telling._thread.join(timeout=10)
    assert not telling._thread.is_alive()
    telling.stop()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_view_and_anything_else_lines(loader: fl.DataLoader, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter_module, "VIEW_EVERY", 0.1)
    monkeypatch.setattr(reporter_module, "FILES_EVERY", 0.1)
    monkeypatch.setattr(reporter_module, "LINES_EVERY", 0.1)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    next(loader)
    for stream, is_terminal in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stdout", stream)
        telling = reporter(loader, [], live=True)
        print("what the training says", flush=True)
        deadline = time.monotonic() + 20
        while "samples/s" not in stream.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        telling.stop()
        said = stream.getvalue()
        assert "what the training says" in said
        assert "samples/s" in said
        assert ("\x1b[" in said) == is_terminal
        assert ("stage" in said) == is_terminal  # the table of them
        assert ("training: " in said) != is_terminal


def test_ranks_have_files_of_their_own(tmp_path: Path) -> None:
    options = ReportOptions(stats=tmp_path / "s.jsonl", live=True)
    assert options.of_rank(0, 1) == options
    assert options.of_rank(1, 2) == ReportOptions(stats=tmp_path / "s.rank1.jsonl", live=False)
    assert options.of_rank(0, 2).live


def test_json_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"

    def write(number: int) -> None:
        for _ in range(50):
            append_json(file, {"writer": number, "text": "x" * 3000})

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [json.loads(row) for row in file.read_text().splitlines()]
    assert len(entries) == 200
