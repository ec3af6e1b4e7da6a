"""The figures of a comparison, and that what is asked for is what is measured; no loader runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from fastnnunet_loader.bench import measure as measuring
from fastnnunet_loader.bench.measure import Measurement, measure, process_tree, tree_cpu_seconds, tree_memory
from fastnnunet_loader.cli.bench import comparison
from fastnnunet_loader.cli.command import main

OURS = Measurement("fastnnunet", 2, 3, (8, 16, 24), 30, 12.25, 0.03125, 1.5, 512 * 2**20, {})
THEIRS = Measurement("nnunet", 4, 3, (8, 16, 24), 30, 2.5, 0.25, 9.75, 3072 * 2**20, {})


def rows(measured: list[Measurement]) -> list[list[str]]:
    stream = io.StringIO()
    Console(file=stream, width=140).print(comparison(measured))
    lines = [line.replace("┃", "│").strip("│ ") for line in stream.getvalue().splitlines()]
    return [[cell.strip() for cell in line.split("│")] for line in lines]


def test_a_table_has_each_figure_in_its_row_and_column() -> None:
    found = rows([OURS, THEIRS])
    assert found[0] == ["batches of 3 x (8 x 16 x 24)"]
    assert ["this loader, 2 threads", "nnU-Net, 4 processes"] in [row[-2:] for row in found]
    assert ["samples per second", "12.2", "2.5"] in found
    assert ["CPU seconds per sample", "0.0312", "0.2500"] in found
    assert ["first batch after, s", "1.50", "9.75"] in found
    assert ["peak memory of all processes, MiB", "512", "3072"] in found
    alone = rows([replace(OURS, workers=1), replace(THEIRS, workers=1)])
    assert ["this loader, 1 thread", "nnU-Net, 1 process"] in [row[-2:] for row in alone]


ASKED = ["--workers", "3", "--seconds", "0.5", "-tr", "T", "-p", "P", "--seed", "9", "--no-blocks"]
MEASURING = """#!{python}
import json, os, sys
print("what is printed before")
print(json.dumps({{**{figures}, "stages": {{"arguments": sys.argv[1:], "run": os.environ["FASTNNUNET_RUN"]}}}}))
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of Python: tells how it was called."""
    file = tmp_path / "python"
    file.write_text(MEASURING.format(python=sys.executable, figures=asdict(OURS)), encoding="utf-8")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    return file


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux")
@pytest.mark.parametrize("watched", [False, True])
def test_all_that_is_asked_for_reaches_the_process_that_measures(command: Path, watched: bool) -> None:
    found = measure(
        "nnunet", "Dataset001_x", "2d", "all", workers=3, seconds=0.5, trainer="T", plans="P", seed=9, keep_blocks=False,
        watch_memory=watched,
    )  # fmt: skip
    stages: Any = found.stages
    assert stages["run"] == "0", "nnU-Net is measured as it is"
    assert stages["arguments"][:6] == ["-m", "fastnnunet_loader.bench.measure", "nnunet", "Dataset001_x", "2d", "all"]
    assert stages["arguments"][6:] == ASKED
    assert replace(found, stages={}, peak_memory=0) == replace(OURS, peak_memory=0)
    assert (found.peak_memory > 0) <= watched
    kept: Any = measure("fastnnunet", "1", "2d", seconds=1).stages
    assert "--no-blocks" not in kept["arguments"]


def test_what_a_process_that_measures_is_told_is_what_it_measures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def note(args: Any) -> Measurement:
        asked.append(args)
        return OURS

    monkeypatch.setattr(measuring, "_measure_here", note)
    monkeypatch.setattr(sys, "argv", ["measure", "nnunet", "1", "2d", "3", *ASKED])
    measuring._main()
    assert json.loads(capsys.readouterr().out)["samples_per_second"] == 12.25
    (args,) = asked
    assert (args.loader, args.dataset, args.configuration, args.fold) == ("nnunet", "1", "2d", 3)
    assert (args.workers, args.seconds, args.tr, args.p, args.seed, args.no_blocks) == (3, 0.5, "T", "P", 9, True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux")
@pytest.mark.parametrize("form", ["text", "json"])
def test_options_of_the_command_are_those_of_the_measurement(
    nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    dataset = nnunet_dataset("default")
    asked: list[tuple[Any, Any]] = []

    def note(*args: Any, **kwargs: Any) -> Measurement:
        asked.append((args, kwargs))
        return OURS if args[0] == "fastnnunet" else THEIRS

    monkeypatch.setattr(measuring, "measure", note)
    options = ["--threads", "3", "--seconds", "0.5", "-tr", "T", "--seed", "9", *(["--json"] if form == "json" else [])]
    assert main(["bench", str(dataset.id), "2d", "1", *options]) == 0
    same = {"workers": 3, "seconds": 0.5, "trainer": "T", "plans": "nnUNetPlans", "seed": 9}
    assert [args[0] for args, _ in asked] == ["fastnnunet", "nnunet"]
    assert all((args[1:3], str(args[3]), kwargs) == ((dataset.name, "2d"), "1", same) for args, kwargs in asked)
    said = " ".join(capsys.readouterr().out.split())
    if form == "json":
        assert [figures["loader"] for figures in json.loads(said)] == ["fastnnunet", "nnunet"]
        return
    assert "8.0 times fewer CPU seconds per sample than nnU-Net's" in said
    assert "4.9 times its samples per second" in said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux")
def test_a_process_that_has_gone_has_nothing() -> None:
    gone = 2**22 - 1
    assert process_tree(gone) == []
    assert (tree_memory(gone), tree_cpu_seconds(gone)) == (0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="figures are those of Linux")
def test_processor_time_is_that_of_children_too_whether_they_live_or_have_ended() -> None:
    busy = "import time\nwhile time.process_time() < {}: pass\n"
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {busy.format(0.6)!r}], check=True)
living = subprocess.Popen([sys.executable, "-c", {busy.format(0.5) + "print(flush=True); input()"!r}], stdin=-1, stdout=-1)
living.stdout.readline()
print(flush=True)
input()
living.communicate(b"\\n")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert tree_cpu_seconds(process.pid) >= 1.0  # of the one that has ended and of the one that lives
        process.communicate(b"\n")
    assert process.returncode == 0


def test_a_loader_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[measure\] expected one of \('fastnnunet', 'nnunet'\), got 'both'"):
        measure("both", "1", "2d")


def test_seconds_of_a_stage_are_those_of_one_sample() -> None:
    class Stage:
        def __init__(self, name: str, total: float) -> None:
            self.name, self.total = name, total

    class Stats:
        samples = 4
        stages = (Stage("read", 2.0), Stage("augment", 6.0), Stage("read", 1.0))

    assert measuring._stages(Stats()) == {"read": 0.75, "augment": 1.5}  # type: ignore[arg-type]


def test_the_peak_is_the_most_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [5, 9, 3, 4]
    ended = threading.Event()

    def memory(pid: int) -> int:
        assert pid == 42
        if len(seen) == 1:
            ended.set()
        return seen.pop(0) if len(seen) > 1 else seen[0]

    monkeypatch.setattr(measuring, "tree_memory", memory)
    with measuring.PeakMemory(42, interval=0.001) as peak:
        assert ended.wait(30)
    assert peak.bytes == 9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux")
def test_memory_that_processes_share_counts_once() -> None:
    code = """
import os
content = bytearray(os.urandom(2**20)) * 64
child = os.fork()
if child == 0:
    sum(content[::4096])
    print(flush=True)
    input()
else:
    os.wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(process_tree(process.pid)) == 2
        assert 64 * 2**20 < tree_memory(process.pid) < 100 * 2**20
        process.communicate(b"\n")


class Loader:
    """In the place of both: tells how often it was asked, and how it was ended."""

    def __init__(self) -> None:
        self.asked = 0
        self.ended: list[str] = []

    def __next__(self) -> None:
        self.asked += 1
        time.sleep(0.005)

    def stats(self) -> Any:
        return SimpleNamespace(samples=1, stages=())

    def close(self) -> None:
        self.ended.append("close")

    def _finish(self) -> None:
        self.ended.append("_finish")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processor time is measured on Linux")
@pytest.mark.parametrize(("flat", "patch"), [(False, (8, 16, 24)), (True, (16, 24))])
@pytest.mark.parametrize(("kind", "ending"), [("fastnnunet", "close"), ("nnunet", "_finish")])
def test_figures_are_of_what_comes_after_the_warm_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, ending: str, flat: bool, patch: tuple[int, ...]
) -> None:
    loader, made = Loader(), []
    source = SimpleNamespace(batch_size=3, final_patch_size=np.array([8, 16, 24]), patch_size_was_2d=flat)
    trainer = SimpleNamespace(preprocessed_dataset_folder=str(tmp_path))
    opened = SimpleNamespace(train=source, trainer=trainer)
    monkeypatch.setattr("fastnnunet_loader.nnunet.sources.open_source", lambda *_: opened)
    monkeypatch.setattr(measuring, "_make_loader", lambda *given: made.append(given) or loader)
    args = SimpleNamespace(
        loader=kind, dataset="1", configuration="2d", fold=0, tr="T", p="P", workers=2, seed=9, no_blocks=True, seconds=0.1
    )
    before = torch.get_num_threads()
    try:
        found = measuring._measure_here(args)  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(before)
    assert made == [(kind, source, 2, 9, False)]
    assert loader.ended == [ending]
    counted = loader.asked - 1 - (2 * 2 + 2)
    assert counted >= 4
    assert (found.loader, found.workers, found.batch_size, found.patch_size) == (kind, 2, 3, patch)
    assert found.samples == 3 * counted
    assert found.samples / 10 < found.samples_per_second <= found.samples / 0.1
    assert found.samples_per_second <= 3 / 0.005
    assert found.first_batch_seconds >= 0.005
