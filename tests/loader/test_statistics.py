"""Statistics: that they are true of a loader's real work, and told whole to logs, files and terminals."""

from __future__ import annotations

import dataclasses
import io
import json
import math
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
from prometheus_client.parser import text_string_to_metric_families

import fastnnunet_loader as fl
from fastnnunet_loader.loading import gpu
from fastnnunet_loader.statistics import files
from fastnnunet_loader.statistics import reporter as reporter_module
from fastnnunet_loader.statistics.files import append_json, write_metrics
from fastnnunet_loader.statistics.places import older, taken
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
    began = time.perf_counter()  # on Windows, monotonic() moves in steps of 15 ms
    for _ in range(8):
        next(loader)
    elapsed = time.perf_counter() - began
    while loader.stats().ready_batches < loader.stats().prefetch:  # nothing is being made any more
        time.sleep(0.01)
    stats = loader.stats()
    assert stats.batches == 8
    assert stats.samples >= 8 * loader.batch_size
    assert 2 <= stats.ready_batches == stats.prefetch <= stats.prefetch_limit == 3
    assert elapsed <= stats.running <= time.perf_counter() - began
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
    if sys.platform == "linux":
        rows = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        status = dict(row.split(":", 1) for row in rows if ":" in row)
        assert stats.process_memory == pytest.approx(1024 * int(status["VmRSS"].split()[0]), rel=0.1)
    assert 0 < stats.process_memory < stats.memory_limit
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


def test_a_line_of_a_loader_that_follows_another_begins_anew(loader: fl.DataLoader) -> None:
    next(loader)
    now = loader.stats()
    before = dataclasses.replace(now, batches=900, running=1e4, waited=5e3, cache_hits=10**6, bytes_read=10**12)
    assert line(now, before, loader.batch_size) == line(now, None, loader.batch_size)


def test_metrics_are_what_the_node_exporter_reads(loader: fl.DataLoader, tmp_path: Path) -> None:
    """Its textfile collector reads Prometheus' text format, whose parser this is, and not OpenMetrics."""
    for _ in range(3):
        next(loader)
    gpu_now = fl.GpuStats('GPU "A"\\1', 0.5, 2**30, 2**34)
    stats = dataclasses.replace(loader.stats(), gpu=gpu_now, python_share=float("nan"))
    file = tmp_path / "nnunet.prom"
    for _ in range(2):
        write_metrics(file, {"training": stats, "validation": stats}, {"fold": "0", "dataset": "Dataset\n001"})
    assert [one for one in tmp_path.iterdir() if "prom" in one.name] == [file]
    families = list(text_string_to_metric_families(file.read_text(encoding="utf-8")))
    values = {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}
    own = (("dataset", "Dataset\n001"), ("fold", "0"), ("loader", "training"))
    assert values[("fastnnunet_batches_total", *own)] == 3
    assert values[("fastnnunet_process_memory_bytes", *own)] == stats.process_memory
    assert values["fastnnunet_gpu_utilization", ("dataset", "Dataset\n001"), ("fold", "0"), ("gpu", 'GPU "A"\\1')] == 0.5
    assert math.isnan(values[("fastnnunet_python_share", *own)])
    stages = [key for key in values if key[0] == "fastnnunet_stage_seconds_count"]
    assert len(stages) == 2 * len(stats.stages)
    kinds = {family.name: family.type for family in families}
    assert (kinds["fastnnunet_batches"], kinds["fastnnunet_threads"]) == ("counter", "gauge")
    assert kinds["fastnnunet_stage_seconds"] == "summary"
    assert "unknown" not in kinds.values()  # as counters in OpenMetrics' form would be


def test_a_reader_never_sees_half_a_file(loader: fl.DataLoader, tmp_path: Path) -> None:
    file, stats = tmp_path / "whole.prom", loader.stats()
    write_metrics(file, {"training": stats}, {})
    whole = file.read_text(encoding="utf-8")
    done = threading.Event()

    def write() -> None:
        for _ in range(50):
            write_metrics(file, {"training": stats}, {})
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    while not done.is_set():
        seen.add(file.read_text(encoding="utf-8"))
    thread.join()
    assert seen == {whole}


def reporter(loader: fl.DataLoader, log: list[str], **options: Any) -> Reporter:
    return Reporter(ReportOptions(**options), lambda: {"training": loader}, log.append, {"fold": "0"})


def test_a_reporter_writes_now_and_then_and_ends(loader: fl.DataLoader, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter_module, "METRICS_EVERY", 0.2)
    log: list[str] = []
    before = set(threading.enumerate())
    telling = reporter(loader, log, stats=tmp_path / "s.jsonl", metrics=tmp_path / "m.prom", log_stats=True, stats_every=0.2)
    for _ in range(3):
        next(loader)
    deadline = time.monotonic() + 20
    while not (tmp_path / "s.jsonl").exists() or (tmp_path / "s.jsonl").read_text(encoding="utf-8").count("\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    telling.epoch(7)
    beginning = loader.stats()
    next(loader)
    telling.epoch(8)
    telling.stop()
    telling.stop()
    assert set(threading.enumerate()) <= before
    entries = [json.loads(row) for row in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    events = [entry["event"] for entry in entries]
    assert events[0] == "running"
    assert events[-2:] == ["epoch", "end"]
    assert events.count("running") >= 3
    assert [entry["epoch"] for entry in entries if entry["event"] == "epoch"] == [7, 8]
    assert {entry["loader"] for entry in entries} == {"training"}
    assert entries[-1]["batches"] == 4
    assert {entry["event"] for entry in entries if "stages" not in entry} == {"running"}  # which are nearly all of a week's
    assert 'fastnnunet_batches_total{fold="0",loader="training"} 4.0' in (tmp_path / "m.prom").read_text(encoding="utf-8")
    first, second = log
    assert first.startswith("fastnnunet_loader, training, epoch 7: ")
    assert second.startswith("fastnnunet_loader, training, epoch 8: ")
    # The second line is of the time since the first, and not of all since the beginning.
    end = loader.stats()
    waited = float(second.partition("waited ")[2].partition(" s of ")[2].partition(" s")[0])
    assert waited == pytest.approx(end.running - beginning.running, abs=0.3)
    assert waited < beginning.running


def surprise(*_: Any, **__: Any) -> Any:
    raise AttributeError("a surprise")


class Broken:
    """What can go wrong with statistics, each a way that a training has ended, or could."""

    @staticmethod
    def no_folder(loader: Any, options: dict[str, Any], tmp_path: Path, _: Any) -> str:
        options["stats"] = tmp_path / "nowhere" / "s.jsonl"
        return f"cannot be written to {options['stats']}: No such file or directory"

    @staticmethod
    def folder_that_is_removed_meanwhile(loader: Any, options: dict[str, Any], tmp_path: Path, _: Any) -> str:
        options["metrics"] = tmp_path / "gone" / "m.prom"
        write_metrics(tmp_path / "m.prom", {"training": loader.stats()}, {})
        return f"cannot be written to {options['metrics']}: No such file or directory"

    @staticmethod
    def full_disk(loader: Any, options: dict[str, Any], tmp_path: Path, _: Any) -> str:
        if not Path("/dev/full").exists():
            pytest.skip("this system has no file that is always full")
        options["stats"] = tmp_path / "full.jsonl"
        options["stats"].symlink_to("/dev/full")
        return f"cannot be written to {options['stats']}: No space left on device"

    @staticmethod
    def loader_that_cannot_tell(loader: Any, options: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> str:
        monkeypatch.setattr(loader, "stats", surprise)
        return "cannot be taken: AttributeError: a surprise"

    @staticmethod
    def words_that_cannot_be_made(loader: Any, options: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> str:
        monkeypatch.setattr(reporter_module, "line", surprise)
        return "cannot be told: AttributeError: a surprise"

    @staticmethod
    def values_that_json_has_no_words_for(loader: Any, options: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> str:
        monkeypatch.setattr(fl.LoaderStats, "as_dict", lambda _: {"stages": [], "value": object()})
        return f"cannot be written to {options['stats']}: TypeError: Object of type object is not JSON serializable"


@pytest.mark.parametrize("way", [name for name in vars(Broken) if not name.startswith("_")])
def test_statistics_never_end_a_training(loader: fl.DataLoader, tmp_path: Path, monkeypatch: Any, way: str) -> None:
    next(loader)
    log: list[str] = []
    options: dict[str, Any] = {"stats": tmp_path / "s.jsonl", "log_stats": True}
    said = getattr(Broken, way)(loader, options, tmp_path, monkeypatch)
    telling = reporter(loader, log, **options)
    telling.epoch(0)
    telling.epoch(1)
    telling.stop()
    assert [text for text in log if "epoch" not in text] == [f"fastnnunet_loader: statistics {said}"]


def test_a_log_that_cannot_be_written_either(loader: fl.DataLoader, tmp_path: Path) -> None:
    telling = Reporter(ReportOptions(stats=tmp_path / "nowhere" / "s", log_stats=True), lambda: {"t": loader}, surprise, {})
    telling.epoch(0)
    telling.stop()


@pytest.mark.usefixtures("_fresh_nvml")
@pytest.mark.parametrize("name", ["nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName", "nvmlDeviceGetUtilizationRates"])
def test_a_driver_that_does_something_new(loader: fl.DataLoader, monkeypatch: Any, name: str) -> None:
    for function in ("nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName"):
        monkeypatch.setattr(pynvml, function, lambda *_: SimpleNamespace(used=1, total=2, decode=lambda: "GPU"))
    monkeypatch.setattr(pynvml, name, surprise)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1234"))
    monkeypatch.setattr(loader, "_device", 0)
    assert (loader.stats().gpu is None) == (name != "nvmlDeviceGetUtilizationRates")


def test_a_file_of_json_lines_is_bounded(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 10_000)
    file = tmp_path / "s.jsonl"
    for number in range(500):
        append_json(file, {"number": number, "share": float("inf"), "stages": [{"median": float("nan")}]})
        assert sum(one.stat().st_size for one in tmp_path.glob("s.*")) <= 20_000
    kept = [json.loads(row) for one in (older(file), file) for row in one.read_text(encoding="utf-8").splitlines()]
    assert [entry["number"] for entry in kept] == list(range(500 - len(kept), 500))
    assert len(kept) > 100
    assert kept[0]["share"] is kept[0]["stages"][0]["median"] is None
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.jsonl", "s.jsonl.1"]


def test_a_line_that_just_fits_is_in_the_same_file(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files.time, "time", lambda: 1.5)
    file = tmp_path / "s.jsonl"
    append_json(file, {"number": 0})
    size = file.stat().st_size
    for room, lines in ((2 * size, [2, 1]), (2 * size - 1, [1, 1]), (2 * size + 1, [2, 1]), (1, [1, 1])):
        for old in tmp_path.iterdir():
            old.unlink()
        monkeypatch.setattr(files, "MOST_BYTES", room)
        append_json(file, {"number": 1})
        assert not older(file).exists()  # nothing is moved for the sake of one line that is longer than a file may be
        for number in range(2, sum(lines) + 1):
            append_json(file, {"number": number})
        texts = [one.read_text(encoding="utf-8").splitlines() for one in (older(file), file)]
        assert [len(rows) for rows in texts] == lines
        assert [json.loads(row)["number"] for rows in texts for row in rows] == list(range(1, sum(lines) + 1))


def test_the_last_figures_stay_when_the_loaders_are_gone(loader: fl.DataLoader, tmp_path: Path) -> None:
    next(loader)
    telling = reporter(loader, [], metrics=tmp_path / "m.prom", stats=tmp_path / "s.jsonl")
    telling.epoch(0)
    before = (tmp_path / "m.prom").read_text(encoding="utf-8")
    loader.close()
    telling.stop()
    assert (tmp_path / "m.prom").read_text(encoding="utf-8") == before != ""
    assert (tmp_path / "s.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_a_week_of_statistics_is_small(loader: fl.DataLoader, tmp_path: Path) -> None:
    next(loader)
    telling = reporter(loader, [], stats=tmp_path / "s.jsonl")
    telling._write_stats(telling._now(), {"event": "running"})
    running = (tmp_path / "s.jsonl").stat().st_size
    telling.stop()
    assert 2 * running * 7 * 24 * 60 < 30 * 2**20  # of two loaders, a line a minute


def test_files_of_others_are_left_alone(loader: fl.DataLoader, tmp_path: Path) -> None:
    stats, metrics, theirs = tmp_path / "s.jsonl", tmp_path / "m.prom", tmp_path / "theirs"
    assert taken(stats, metrics) is None  # neither is there
    stats.touch()
    assert taken(stats, None) is None
    telling = reporter(loader, [], stats=stats, metrics=metrics)
    telling.epoch(0)
    telling.stop()
    assert taken(stats, metrics) is None  # of an earlier training
    for content in (b"a,b\n1,2\n", b'{"time": 1}\n', b"\x00\xff", b"[]\n", b"# HELP node_cpu\n"):
        theirs.write_bytes(content)
        for given in ((theirs, None), (None, theirs)):
            assert "with other content" in (taken(*given) or "")
        with pytest.raises(ValueError, match="with other content"):
            fl.install(stats=theirs)
    older(tmp_path / "t.jsonl").write_text("mine", encoding="utf-8")
    assert "t.jsonl.1" in (taken(tmp_path / "t.jsonl", None) or "")
    assert "folder" in (taken(tmp_path, None) or "")


def test_metrics_without_prometheus_client(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install prometheus_client"):
        fl.install(metrics=tmp_path / "m.prom")
    fl.uninstall()


def test_a_reporter_follows_new_loaders_and_ends_with_the_training(
    loader: fl.DataLoader, tmp_path: Path, monkeypatch: Any
) -> None:
    for _ in range(2):
        next(loader)
    loaders: dict[str, dict[str, fl.DataLoader] | None] = {"now": {"training": loader}}
    log: list[str] = []
    telling = Reporter(
        ReportOptions(tmp_path / "s.jsonl", log_stats=True, stats_every=0.1), lambda: loaders["now"], log.append, {}
    )
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
    entries = [json.loads(row) for row in file.read_text(encoding="utf-8").splitlines()]
    assert len(entries) == 200
