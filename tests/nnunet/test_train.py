"""Whole trainings through the command, on real images."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
import torch
from processes import Trace, created_processes, small_shared_memory
from prometheus_client.parser import text_string_to_metric_families
from training_runs import TRAINERS, assert_finished, batches, checkpoint, log_of, output_folder, train

from datasets import KINDS_OF_DATA

pytestmark = pytest.mark.slow


def check_statistics(stats: Path, metrics: Path, log: str) -> None:
    """Of a training of two epochs of three training batches and two of validation; nnU-Net takes one of each beforehand."""
    entries = [json.loads(row) for row in stats.read_text(encoding="utf-8").splitlines()]
    told = [(e["event"], e.get("epoch"), e["loader"], e["batches"]) for e in entries if e["event"] != "running"]
    assert told == [
        ("epoch", 0, "training", 4),
        ("epoch", 0, "validation", 3),
        ("epoch", 1, "training", 7),
        ("epoch", 1, "validation", 5),
        ("end", None, "training", 7),
        ("end", None, "validation", 5),
    ]
    last = entries[-2]
    assert last["samples_per_second"] > 0
    assert last["stages"][1]["name"] == "reading"
    assert last["stages"][1]["count"] >= 7
    assert last["process_memory"] > 2**27
    values = {
        (sample.name, sample.labels.get("loader")): sample.value
        for family in text_string_to_metric_families(metrics.read_text(encoding="utf-8"))
        for sample in family.samples
    }
    assert values[("fastnnunet_batches_total", "training")] == 7
    lines = [row for row in log.splitlines() if "samples/s" in row]
    assert len(lines) == 4
    assert "fastnnunet_loader, training, epoch 1:" in lines[2]


# A cascade's second stage needs the first (below).
@pytest.mark.parametrize(
    ("variant", "configuration"),
    [
        pytest.param(*kind, marks=() if kind[0] in ("default", "regions") else pytest.mark.long)
        for kind in KINDS_OF_DATA
        if kind[0] != "cascade"
    ],
)
def test_training_runs_to_the_metrics(nnunet_dataset: Any, tmp_path: Path, variant: str, configuration: str) -> None:
    dataset, trace = nnunet_dataset(variant), Trace(tmp_path / "trace.txt")
    stats, metrics = tmp_path / "stats.jsonl", tmp_path / "stats.prom"
    telling = ("--stats", str(stats), "--metrics", str(metrics), "--log-stats", "--live")
    run = train(dataset, tmp_path, *telling, configuration=configuration, under=trace.command)
    output = output_folder(dataset, tmp_path, configuration)
    assert_finished(run, output)
    trace.assert_no_worker()
    check_statistics(stats, metrics, log_of(output))
    assert [line.split()[0] for line in batches(tmp_path)] == (["train"] * 3 + ["val"] * 2) * 2
    assert re.search(r"seed \d+", log_of(output)), "a drawn seed must be in nnU-Net's log"


def test_cascade_trains_on_the_stage_before(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("cascade")
    early = train(dataset, tmp_path, configuration="3d_cascade_fullres", fold="all")
    assert early.returncode == 2
    assert "3d_lowres" in early.stderr
    assert_finished(
        train(dataset, tmp_path, configuration="3d_lowres", fold="all"),
        output_folder(dataset, tmp_path, "3d_lowres", "all"),
    )
    trace = Trace(tmp_path / "trace.txt")
    assert_finished(
        train(dataset, tmp_path, configuration="3d_cascade_fullres", fold="all", under=trace.command),
        output_folder(dataset, tmp_path, "3d_cascade_fullres", "all"),
    )
    trace.assert_no_worker()


def test_trace_of_a_worker_is_recognised() -> None:
    spawned = '10 vfork( <unfinished ...>\n11 execve("/usr/bin/python3", ["python3"], 0x0) = 0\n10 <... vfork resumed>) = 11'
    forked = "10 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 12"
    thread = "10 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0} => {parent_tid=[13]}, 88) = 13"
    assert created_processes(spawned) == {11: "python3"}
    assert created_processes(forked) == {12: ""}
    assert created_processes(thread) == {}


def test_four_kilobytes_of_shared_memory_suffice(nnunet_dataset: Any, tmp_path: Path) -> None:
    under = small_shared_memory()
    if not under:
        pytest.skip("this system does not let the test mount a file system")
    dataset = nnunet_dataset("default")
    assert_finished(train(dataset, tmp_path, under=under), output_folder(dataset, tmp_path))


def assert_equal_weights(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, weights in one.items():
        assert torch.equal(weights, other[name]), name


def test_continued_training_equals_an_uninterrupted_one(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    three = {"RECORD_EPOCHS": "3"}
    whole = train(dataset, tmp_path / "whole", "--seed", "5", environment=three)
    stopped = train(dataset, tmp_path / "parts", "--seed", "5", environment={**three, "RECORD_STOP_AFTER": "1"})
    assert stopped.returncode == 130, stopped.stderr[-2000:]
    assert "Traceback" not in stopped.stderr
    # The seed comes from the checkpoint; with another number of threads the batches are the same.
    continued = train(dataset, tmp_path / "parts", "--c", "--threads", "1", environment=three)

    assert_finished(whole, output_folder(dataset, tmp_path / "whole"))
    assert_finished(continued, output_folder(dataset, tmp_path / "parts"))
    assert batches(tmp_path / "parts") == batches(tmp_path / "whole")
    assert len(set(batches(tmp_path / "whole"))) == 15
    assert_equal_weights(
        checkpoint(output_folder(dataset, tmp_path / "whole"))["network_weights"],
        checkpoint(output_folder(dataset, tmp_path / "parts"))["network_weights"],
    )


def test_training_from_npz_sees_the_same_batches(nnunet_dataset: Any, tmp_path: Path) -> None:
    """nnU-Net's older format, which nnU-Net unpacks to .npy, in processes, before it trains."""
    dataset = nnunet_dataset("default")
    older = dataset.copy(tmp_path)
    for case in older.cases():
        image, segmentation = (older.folder() / f"{case}{of}.b2nd" for of in ("", "_seg"))
        arrays = {name: blosc2.open(urlpath=str(f), mode="r")[:] for name, f in (("data", image), ("seg", segmentation))}
        np.savez_compressed(older.folder() / f"{case}.npz", **arrays)
        image.unlink()
        segmentation.unlink()
    trace = Trace(tmp_path / "trace.txt")
    assert_finished(train(older, tmp_path / "npz", "--seed", "5", under=trace.command), output_folder(older, tmp_path / "npz"))
    trace.assert_no_worker()
    unpacked = {file.name for file in older.folder().glob("*.npy")}
    assert unpacked == {f"{case}{of}.npy" for case in older.cases() for of in ("", "_seg")}
    assert_finished(train(dataset, tmp_path / "b2nd", "--seed", "5"), output_folder(dataset, tmp_path / "b2nd"))
    assert batches(tmp_path / "npz") == batches(tmp_path / "b2nd")


def test_other_seeds_give_other_batches(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    for name in ("one", "other"):
        assert train(dataset, tmp_path / name).returncode == 0
    assert not set(batches(tmp_path / "one")) & set(batches(tmp_path / "other"))


def test_checkpoint_without_state_starts_anew(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    three = {"RECORD_EPOCHS": "3"}
    train(dataset, tmp_path, environment={**three, "RECORD_STOP_AFTER": "1"})
    file = output_folder(dataset, tmp_path) / "checkpoint_latest.pth"
    content = checkpoint(output_folder(dataset, tmp_path), file.name)
    assert content.pop("fastnnunet_loader")
    torch.save(content, file)
    continued = train(dataset, tmp_path, "--c", environment=three)
    assert_finished(continued, output_folder(dataset, tmp_path))
    assert "batches start anew" in log_of(output_folder(dataset, tmp_path))


@pytest.fixture
def damaged(nnunet_dataset: Any, tmp_path: Path) -> tuple[Any, Path]:
    """A copy of a data set, and the image of one of its training cases, cut short."""
    dataset = nnunet_dataset("default").copy(tmp_path)
    splits = json.loads((dataset.preprocessed / dataset.name / "splits_final.json").read_text(encoding="utf-8"))
    file = dataset.folder() / f"{splits[0]['train'][0]}.b2nd"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return dataset, file


def test_voxels_that_are_not_numbers_are_named_where_asked_for(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default").copy(tmp_path)
    splits = json.loads((dataset.preprocessed / dataset.name / "splits_final.json").read_text(encoding="utf-8"))
    case = splits[0]["train"][1]
    file = dataset.folder() / f"{case}.b2nd"
    image = blosc2.open(urlpath=str(file), mode="r")[:]
    image[:, ::4, ::4, ::4] = float("nan")
    file.unlink()
    blosc2.asarray(image, urlpath=str(file))
    run = train(dataset, tmp_path / "results", "--check-finite", environment={"RECORD_EPOCHS": "20"})
    assert run.returncode == 1
    assert case in run.stderr
    assert "expected finite voxels, got nan" in run.stderr


def test_truncated_file_is_named(damaged: tuple[Any, Path], tmp_path: Path) -> None:
    dataset, file = damaged
    run = train(dataset, tmp_path / "results", environment={"RECORD_EPOCHS": "20"})
    assert run.returncode == 1
    assert file.stem in run.stderr
    assert str(file) in run.stderr
    assert "Traceback" not in run.stderr
    assert len(run.stderr.strip().splitlines()) <= 7, run.stderr
    # The traceback is where a week later it is looked for.
    (log,) = (Path(line.split("traceback: ")[1]) for line in run.stderr.splitlines() if "traceback: " in line)
    assert log.is_relative_to(tmp_path / "results")
    logged = log.read_text(encoding="utf-8")
    assert logged.count("Traceback (most recent call last)") == 1
    assert "BadCaseError" in logged and ", in run_training\n" in logged
    # The error ends with the line that makes the same sample, and so the same error, again.
    (line,) = (line.strip() for line in run.stderr.splitlines() if "fl.reproduce(" in line)
    environment = {**os.environ, **dataset.env, "nnUNet_extTrainer": str(TRAINERS)}
    again = subprocess.run([sys.executable, "-c", line], env=environment, capture_output=True, encoding="utf-8", check=False)
    message = again.stderr[again.stderr.index("[case ") :].splitlines()[0]
    assert message in run.stderr
    assert str(file) in message


def test_truncated_file_is_skipped_and_listed(damaged: tuple[Any, Path], tmp_path: Path) -> None:
    dataset, file = damaged
    run = train(dataset, tmp_path / "results", "--on-bad-case", "skip", environment={"RECORD_EPOCHS": "4"})
    output = output_folder(dataset, tmp_path / "results")
    assert_finished(run, output)
    listed = [line for line in log_of(output).splitlines() if "trained without bad cases" in line]
    assert len(listed) == 1
    assert file.stem in listed[0]
    assert len(re.findall(r"fl\.reproduce\('Dataset.*, step=\d+, slot=\d+", log_of(output))) == 1
    assert "fastnnunet preview Dataset" in log_of(output)
    assert checkpoint(output)["fastnnunet_loader"]["loaders"][0]["excluded"].keys() == {file.stem}


@pytest.fixture
def damaged_validation(nnunet_dataset: Any, tmp_path: Path) -> tuple[Any, Path, set[str]]:
    """A copy of a data set, the image of one of its validation cases, cut short, and the other ones."""
    dataset = nnunet_dataset("default").copy(tmp_path)
    splits = json.loads((dataset.preprocessed / dataset.name / "splits_final.json").read_text(encoding="utf-8"))
    bad, *good = splits[0]["val"]
    assert good
    file = dataset.folder() / f"{bad}.b2nd"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return dataset, file, set(good)


def test_case_of_the_final_validation_that_cannot_be_read(
    damaged_validation: tuple[Any, Path, set[str]], tmp_path: Path
) -> None:
    dataset, file, good = damaged_validation
    run = train(dataset, tmp_path / "results", "--on-bad-case", "skip")
    output = output_folder(dataset, tmp_path / "results")
    assert_finished(run, output)
    told = [line for line in log_of(output).splitlines() if "validating without case" in line]
    assert len(told) == 1
    assert str(file) in told[0]
    assert {found.name for found in (output / "validation").glob("*.nii.gz")} == {f"{case}.nii.gz" for case in good}

    run = train(dataset, tmp_path / "results", "--val")
    assert run.returncode == 1
    assert str(file) in run.stderr
    assert f"[{file.stem}]" in run.stderr
    assert "Traceback" not in run.stderr
