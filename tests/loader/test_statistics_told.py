"""Every figure of a loader under its own name: in `stats()`, in files for machines, and in words."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import operator
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from nnunet_loaders import nnunet_loaders
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

import fastnnunet_loader as fl
from fastnnunet_loader.loading.statistics import StageStats
from fastnnunet_loader.statistics import reporter as reporter_module
from fastnnunet_loader.statistics.files import append_json, write_metrics
from fastnnunet_loader.statistics.places import taken
from fastnnunet_loader.statistics.reporter import Reporter, ReportOptions
from fastnnunet_loader.statistics.text import line, table


@pytest.fixture
def loader(nnunet_dataset: Any, monkeypatch: Any) -> Any:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=1, prefetch=3) as made:
        yield made


def figures(number: int, **others: Any) -> fl.LoaderStats:
    """Statistics in which no two figures are the same, and those of another number are larger."""
    numbers = itertools.count(1000 * number + 1)
    stages = tuple(
        StageStats(name, native, next(numbers), float(next(numbers)), next(numbers) / 1e6, next(numbers) / 1e6)
        for name, native in (("sampling", True), ("reading", True), ("Own", False), ("Own", True), ("writing", True))
    )
    values: dict[str, Any] = {}
    for field in dataclasses.fields(fl.LoaderStats):
        values[field.name] = float(next(numbers)) if field.type == "float" else next(numbers)
    values.update(stages=stages, gpu=fl.GpuStats("GPU", 0.25, next(numbers), next(numbers)), python_fallbacks=("Own: why",))
    return fl.LoaderStats(**{**values, **others})


OF_THE_CORE = {
    "batches": "batches", "samples": "samples", "waited": "waited_seconds", "wait_median": "wait.median",
    "wait_p99": "wait.p99", "first_batch": "first_batch_seconds", "sample_median": "sample.median", "sample_p99": "sample.p99",
    "bytes_read": "bytes_read", "cache_bytes": "cache_bytes", "cache_hits": "cache_hits", "cache_misses": "cache_misses",
    "ready_batches": "ready_batches", "batch_bytes": "batch_bytes", "batches_in_use": "batches_in_use",
    "workspace_bytes": "workspace_bytes", "location_bytes": "location_bytes", "location_reads": "location_reads",
    "open_files": "open_files", "open_file_bytes": "open_file_bytes", "memory_budget": "memory_budget", "threads": "threads",
    "prefetch": "prefetch", "prefetch_limit": "prefetch_limit",
}  # fmt: skip


def test_every_figure_is_that_of_the_same_name(loader: fl.DataLoader) -> None:
    kept = [next(loader) for _ in range(6)]
    deadline = time.monotonic() + 20
    while loader.stats().ready_batches < loader.stats().prefetch:  # nothing is being made any more
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert loader._core is not None
    stats, core = loader.stats(), loader._core.statistics()
    for name, of_core in OF_THE_CORE.items():
        assert getattr(stats, name) == operator.attrgetter(of_core)(core), name
    assert [stage.name for stage in stats.stages] == [stage.name for stage in core.stages]
    for stage, of in zip(stats.stages, core.stages, strict=True):
        assert dataclasses.astuple(stage)[1:] == (of.native, of.time.count, of.time.total, of.time.median, of.time.p99)
    assert stats.sample_time == core.sample.total / core.sample.count
    assert stats.sampling_time == core.stages[0].time.total / core.sample.count
    assert stats.first_batch <= stats.running
    assert stats.open_files > 0 and stats.location_reads > 0
    parts = (
        stats.batches_in_use * stats.batch_bytes, stats.workspace_bytes, stats.location_bytes, stats.open_file_bytes,
        stats.cache_bytes,
    )  # fmt: skip
    assert all(part > 0 for part in parts)
    assert stats.memory_used == sum(parts)
    assert stats.cache_hit_share == stats.cache_hits / (stats.cache_hits + stats.cache_misses)
    assert dataclasses.replace(stats, cache_hits=0, cache_misses=0).cache_hit_share == 0
    assert (stats.memory_limit, fl.memory().limit) == (fl.memory().limit, stats.memory_limit)
    assert stats.memory_available == pytest.approx(fl.memory().available, rel=0.2)
    assert kept


COUNTERS = {
    "batches": "batches", "samples": "samples", "waited_seconds": "waited", "running_seconds": "running",
    "read_bytes": "bytes_read", "cache_hits": "cache_hits", "cache_misses": "cache_misses", "python_calls": "python_calls",
}  # fmt: skip
GAUGES = {
    "cache_bytes": "cache_bytes", "ready_batches": "ready_batches", "prefetch_batches": "prefetch",
    "prefetch_limit_batches": "prefetch_limit", "batches_in_use": "batches_in_use", "threads": "threads",
    "used_bytes": "memory_used", "budget_bytes": "memory_budget", "process_memory_bytes": "process_memory",
    "memory_limit_bytes": "memory_limit", "memory_available_bytes": "memory_available", "python_share": "python_share",
    "skipped_cases": "skipped_cases",
}  # fmt: skip


def read_metrics(file: Path) -> tuple[dict[Any, float], dict[str, str]]:
    """Values by name and labels, and the type of each metric."""
    families = list(text_string_to_metric_families(file.read_text(encoding="utf-8")))
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found, {family.name: family.type for family in families}


def test_every_metric_is_the_figure_that_it_is_named_after(tmp_path: Path) -> None:
    loaders = {"training": figures(1), "validation": figures(2, gpu=None)}
    labels = {"fold": "3", "dataset": "Dataset001_A"}
    write_metrics(tmp_path / "m.prom", loaders, labels)
    values, kinds = read_metrics(tmp_path / "m.prom")
    wanted: dict[Any, float] = {}
    for loader, stats in loaders.items():
        own = {**labels, "loader": loader}
        for name, field in COUNTERS.items():
            wanted[f"fastnnunet_{name}_total", frozenset(own.items())] = getattr(stats, field)
        for name, field in GAUGES.items():
            wanted[f"fastnnunet_{name}", frozenset(own.items())] = getattr(stats, field)
        for number, stage in enumerate(stats.stages):
            place = {**own, "stage": stage.name, "number": str(number)}
            for quantile, value in (("0.5", stage.median), ("0.99", stage.p99)):
                wanted["fastnnunet_stage_seconds", frozenset({**place, "quantile": quantile}.items())] = value
            wanted["fastnnunet_stage_seconds_sum", frozenset(place.items())] = stage.total
            wanted["fastnnunet_stage_seconds_count", frozenset(place.items())] = stage.count
    gpu = loaders["training"].gpu
    assert gpu is not None
    of_gpu = frozenset({**labels, "gpu": "GPU"}.items())
    wanted["fastnnunet_gpu_utilization", of_gpu] = 0.25
    wanted["fastnnunet_gpu_memory_used_bytes", of_gpu] = gpu.memory_used
    wanted["fastnnunet_gpu_memory_total_bytes", of_gpu] = gpu.memory_total
    assert values == wanted
    assert {name for name, kind in kinds.items() if kind == "counter"} == {f"fastnnunet_{name}" for name in COUNTERS}
    assert kinds["fastnnunet_stage_seconds"] == "summary"


@pytest.mark.parametrize("place", [0, 1])
def test_a_gpu_of_any_loader_is_told_without_what_the_driver_does_not_tell(tmp_path: Path, place: int) -> None:
    gpus = [None, None]
    gpus[place] = fl.GpuStats("part", None, 3, 7)  # type: ignore[call-overload]
    write_metrics(tmp_path / "m.prom", {str(n): figures(n + 1, gpu=gpu) for n, gpu in enumerate(gpus)}, {})
    values, _ = read_metrics(tmp_path / "m.prom")
    of_gpu = {name: value for (name, _), value in values.items() if "_gpu_" in name}
    assert of_gpu == {"fastnnunet_gpu_memory_used_bytes": 3, "fastnnunet_gpu_memory_total_bytes": 7}


BEFORE = {
    "samples": 1000,
    "sample_time": 0.02,
    "batches": 10,
    "running": 20.0,
    "waited": 5.0,
    "cache_hits": 100,
    "cache_misses": 50,
    "bytes_read": 2**30,
}
NOW = {
    "batches": 40, "running": 30.0, "waited": 7.5, "cache_hits": 160, "cache_misses": 70, "bytes_read": 3 * 2**30,
    "ready_batches": 2, "prefetch": 6, "prefetch_limit": 8, "sample_median": 0.00512, "sample_p99": 0.0256,
    "memory_used": 2**29, "memory_budget": 2**31, "process_memory": 3 * 2**30, "memory_available": 5 * 2**30,
    "memory_limit": 2**33, "python_share": 0.42, "skipped_cases": 3, "samples": 3000, "sample_time": 0.02, "threads": 2,
    "gpu": fl.GpuStats("GPU", 0.834, 2**32, 2**34),
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_a_line_in_full(first: bool) -> None:
    since = ("80.0", "7.5 s of 30.0 s", 3, "3.0 GiB read, 70") if first else ("180.0", "2.5 s of 10.0 s", 5, "2.0 GiB read, 75")
    assert line(figures(1, **NOW), None if first else figures(1, **BEFORE), 60) == (
        f"{since[0]} samples/s, waited {since[1]}, bound by the loader, without waiting 1.33 times as fast, "
        f"which takes {since[2]} threads instead of 2, 2 of 6 batches ready, "
        "a sample takes 5.12 ms, at most 25.6 ms in 99 of 100, "
        f"{since[3]} % of blocks cached, "
        "loader 512.0 MiB of 2.0 GiB, process 3.0 GiB, 5.0 GiB of 8.0 GiB free, GPU 83 % busy, 4.0 GiB of 16.0 GiB, "
        "42 % of the time in Python, 3 cases skipped"
    )


def test_a_line_of_little() -> None:
    """Nothing is told of what is not there."""
    quiet = {"gpu": None, "python_fallbacks": (), "skipped_cases": 0, "cache_hits": 0, "cache_misses": 0}
    said = line(figures(1, **{**NOW, **quiet}), None, 60)
    memory = "loader 512.0 MiB of 2.0 GiB, process 3.0 GiB, 5.0 GiB of 8.0 GiB free"
    assert said.endswith(f"3.0 GiB read, no blocks cached, {memory}")
    same = figures(1, **NOW)
    assert line(same, same, 60).startswith("no samples yet, waited 0.0 s of 0.0 s, ")
    assert ", no blocks cached, " in line(same, same, 60)
    # As many batches as the one before is no new loader.
    later = dataclasses.replace(same, running=31.0, waited=8.0)
    assert line(later, same, 60).startswith("0.0 samples/s, waited 0.5 s of 1.0 s, ")
    assert "GPU 4.0 GiB of 16.0 GiB" in line(dataclasses.replace(same, gpu=fl.GpuStats("part", None, 2**32, 2**34)), None, 60)


def test_a_table_has_the_stages_that_take_longest() -> None:
    order = (3, 9, 2, 7, 1, 5, 4, 8, 6, 10)
    stages = [StageStats(f"stage {n}", n != 4, 10 * (n != 6), float(n), n / 1e3, n / 1e2) for n in order]
    now, before = figures(1, **NOW, stages=tuple(stages)), figures(1, **BEFORE)
    console = Console(file=io.StringIO(), width=2000)
    console.print(table({"training": (now, before, 60), "validation": (before, None, 30)}))
    assert isinstance(console.file, io.StringIO)
    rows = [" ".join(row.split()) for row in console.file.getvalue().splitlines()]
    assert rows[0] == "loader stage ms median ms p99 share"
    assert rows[1] == f"training {line(now, before, 60)}"
    assert rows[2:9] == [  # of the eight longest those that were ever taken
        "stage 10 10 100 18 %", "stage 9 9 90 16 %", "stage 8 8 80 15 %", "stage 7 7 70 13 %", "stage 5 5 50 9 %",
        "stage 4 (Python) 4 40 7 %", "stage 3 3 30 5 %",
    ]  # fmt: skip
    assert rows[9] == f"validation {line(before, None, 30)}"
    assert len(rows) == 10 + len(before.stages)


OPTIONS = {"stats": Path("s.jsonl"), "metrics": Path("m.prom"), "log_stats": True, "live": True}


@pytest.mark.parametrize("name", OPTIONS)
def test_any_of_the_options_is_reason_enough_to_tell(name: str) -> None:
    assert not ReportOptions().wanted
    assert not ReportOptions(stats_every=1.0).wanted
    assert ReportOptions(**{name: OPTIONS[name]}).wanted  # type: ignore[arg-type]


def test_options_of_ranks() -> None:
    options = ReportOptions(Path("a/s.jsonl"), Path("b/m.prom"), True, True, 5.0)
    assert options.of_rank(0, 1) is options
    for rank in range(2):
        own = (Path(f"a/s.rank{rank}.jsonl"), Path(f"b/m.rank{rank}.prom"), True, rank == 0, 5.0)
        assert options.of_rank(rank, 2) == ReportOptions(*own)
    assert ReportOptions(log_stats=True).of_rank(1, 2) == ReportOptions(log_stats=True)


def test_every_line_of_a_file_says_whose_it_is(loader: fl.DataLoader, tmp_path: Path) -> None:
    next(loader)
    log: list[str] = []
    both = {"training": loader, "validation": loader}
    options = ReportOptions(stats=tmp_path / "s.jsonl", metrics=tmp_path / "m.prom", stats_every=0.1)
    began = time.time()
    telling = Reporter(options, lambda: both, log.append, {"fold": "0", "rank": "1"})
    deadline = time.monotonic() + 20
    while not (tmp_path / "s.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    telling.epoch(4)
    telling.stop()
    entries = [json.loads(row) for row in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {entry["event"] for entry in entries} == {"running", "epoch", "end"}
    names = {field.name for field in dataclasses.fields(fl.LoaderStats)}
    for entry in entries:
        extra = {"epoch"} if entry["event"] == "epoch" else set()
        without = {"stages"} if entry["event"] == "running" else set()
        assert entry.keys() == {"time", "event", "loader", "fold", "rank"} | extra | (names - without)
        assert (entry["fold"], entry["rank"], entry["batches"]) == ("0", "1", 1)
        assert began <= entry["time"] <= time.time()
    for event in ("running", "epoch", "end"):  # an epoch may end while a thread writes lines of its own
        told = [entry["loader"] for entry in entries if entry["event"] == event]
        assert told == ["training", "validation"] * (len(told) // 2)
    values, _ = read_metrics(tmp_path / "m.prom")
    assert {dict(labels)["loader"] for name, labels in values if name == "fastnnunet_batches_total"} == set(both)
    assert {(dict(labels)["fold"], dict(labels)["rank"]) for _, labels in values} == {("0", "1")}
    assert log == []  # no line was asked for


def test_nothing_is_written_that_was_not_asked_for(loader: fl.DataLoader, tmp_path: Path) -> None:
    next(loader)
    for name in ("stats", "metrics"):
        telling = Reporter(ReportOptions(**{name: tmp_path / name}), lambda: {"training": loader}, print, {})  # type: ignore[arg-type]
        telling.epoch(0)
        telling.stop()
    assert {file.name for file in tmp_path.iterdir() if file.is_file()} == {"metrics", "stats"}
    assert (tmp_path / "metrics").read_text(encoding="utf-8").startswith("# HELP fastnnunet_")
    assert (tmp_path / "stats").read_text(encoding="utf-8").count("\n") == 2
    assert taken(tmp_path / "stats", tmp_path / "metrics") is None
    assert "metrics" in (taken(tmp_path / "metrics", None) or "")
    assert "stats" in (taken(None, tmp_path / "stats") or "")


def test_lines_for_a_file_are_of_the_time_since_the_last(loader: fl.DataLoader, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter_module, "LINES_EVERY", 0.3)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    begin = time.monotonic()
    next(loader)
    time.sleep(1.0)
    telling = Reporter(ReportOptions(live=True), lambda: {"training": loader}, lambda _: None, {})
    deadline = time.monotonic() + 20
    while stream.getvalue().count("\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    telling.stop()
    of = [float(row.partition(" s of ")[2].partition(" s")[0]) for row in stream.getvalue().splitlines()]
    assert of[0] > 1.0
    # None begins where an earlier one did: together they are no longer than the loader.
    assert min(of) > 0 and sum(of[:3]) <= time.monotonic() - begin + 0.2  # figures are rounded


def test_a_loader_without_a_batch_has_no_line(loader: fl.DataLoader, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporter_module, "LINES_EVERY", 0.1)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    telling = Reporter(ReportOptions(live=True), lambda: {"training": loader}, lambda _: None, {})
    time.sleep(0.5)
    assert stream.getvalue() == ""
    next(loader)
    deadline = time.monotonic() + 20
    while not stream.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    telling.stop()


def test_a_line_of_json_has_a_time_and_no_number_that_is_none(tmp_path: Path) -> None:
    nan, infinite = float("nan"), float("inf")
    append_json(tmp_path / "s", {"a": (1, nan, [-infinite]), "b": {"c": infinite, 3: True}, "d": None, "e": "x"})
    (row,) = (tmp_path / "s").read_text(encoding="utf-8").splitlines()
    entry = json.loads(row)
    assert abs(entry.pop("time") - time.time()) < 60
    assert entry == {"a": [1, None, [None]], "b": {"c": None, "3": True}, "d": None, "e": "x"}


@pytest.mark.parametrize("often", ["stats", "metrics"])
def test_each_file_has_an_interval_of_its_own(loader: fl.DataLoader, tmp_path: Path, monkeypatch: Any, often: str) -> None:
    next(loader)
    stats, metrics = tmp_path / "s.jsonl", tmp_path / "m.prom"
    monkeypatch.setattr(reporter_module, "METRICS_EVERY", 0.1 if often == "metrics" else 1000.0)
    options = ReportOptions(stats, metrics, stats_every=0.1 if often == "stats" else 1000.0)
    telling = Reporter(options, lambda: {"training": loader}, lambda _: None, {})
    deadline = time.monotonic() + 20
    while not (stats if often == "stats" else metrics).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if often == "stats":
        while stats.read_text(encoding="utf-8").count("\n") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not metrics.exists()
    else:
        first = metrics.stat().st_ino, metrics.stat().st_mtime_ns
        while (metrics.stat().st_ino, metrics.stat().st_mtime_ns) == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not stats.exists()
    telling.stop()
    assert stats.exists() and metrics.exists()  # both at the end


@pytest.mark.parametrize("driver", [True, False])
def test_no_gpu_is_asked_for_where_cuda_is_not_in_use(monkeypatch: Any, driver: bool) -> None:
    import torch

    from fastnnunet_loader.loading import gpu

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: driver)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert gpu.device_in_use() == (3 if driver else None)
    assert gpu.gpu_stats(None) is None
