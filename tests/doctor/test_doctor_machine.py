"""What this process may use, with real limits set on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.doctor import Verdict, machine

POSIX = pytest.mark.skipif(os.name != "posix", reason="limits of POSIX systems")


@POSIX
def test_few_open_files_warn() -> None:
    code = """
import resource
from fastnnunet_loader.doctor import machine
from fastnnunet_loader.settings import in_units
for _ in range(2):
    check = machine.file_limit()
    print(check.verdict.value, check.found, check.mend, sep="|")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
"""
    command = ["bash", "-c", 'ulimit -S -n 64; exec "$@"', "bash", sys.executable, "-c", code]
    soft, hard = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=120).stdout.splitlines()
    assert soft.startswith("warning|at most 64|ulimit -n ")
    assert hard.startswith("warning|at most 64|docker run --ulimit nofile=4096")


def test_usual_number_of_open_files_is_fine() -> None:
    assert machine.file_limit().verdict is Verdict.OK


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity of Linux")
def test_affinity_counts() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        check = machine.cores()
    finally:
        os.sched_setaffinity(0, allowed)
    assert check.verdict is Verdict.WARNING
    assert check.found.startswith("1 of the machine's")
    if (os.cpu_count() or 1) > 1:
        assert "affinity allows 1" in check.found


@pytest.mark.parametrize(
    ("value", "verdict", "said"),
    [
        ("1", Verdict.OK, "1, from nnUNet_n_proc_DA"),
        ("100000", Verdict.NOTE, "asks for 100000"),
        ("many", Verdict.FAIL, "'many'"),
    ],
)
def test_number_of_threads(monkeypatch: pytest.MonkeyPatch, value: str, verdict: Verdict, said: str) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", value)
    check = machine.threads()
    assert check.verdict is verdict
    assert said in check.found
    assert ("unset nnUNet_n_proc_DA" in check.mend) == (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("value", "mend"),
    [("4096", f"export OMP_NUM_THREADS={fl.available_cores()}"), ("all", "unset OMP_NUM_THREADS"), ("1", ""), ("1,2", "")],
)
def test_variables_of_thread_pools(monkeypatch: pytest.MonkeyPatch, value: str, mend: str) -> None:
    for variable in machine.POOL_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    check = machine.thread_pools()
    assert f"OMP_NUM_THREADS={value}" in check.found
    assert "torch " in check.found
    if mend:
        assert check.verdict is Verdict.WARNING
        assert check.mend == mend
    else:
        assert check.verdict is not Verdict.WARNING


def test_memory_is_that_of_the_loader() -> None:
    check = machine.limits_of_memory()
    assert in_units(fl.memory().limit) in check.found
    assert (check.verdict is Verdict.WARNING) == (fl.memory().available < machine.LEAST_MEMORY)


def test_shared_memory_is_not_needed() -> None:
    check = machine.shared_memory()
    assert check.verdict is Verdict.OK
    assert "not needed" in check.found


@pytest.mark.parametrize(
    ("variable", "verdict"),
    [("nnUNet_preprocessed", Verdict.FAIL), ("nnUNet_results", Verdict.FAIL), ("nnUNet_raw", Verdict.NOTE)],
)
def test_folder_that_is_not_set(monkeypatch: pytest.MonkeyPatch, variable: str, verdict: Verdict) -> None:
    monkeypatch.delenv(variable, raising=False)
    check = machine.folder(variable)
    assert check.verdict is verdict
    assert check.found == "not set"
    assert check.mend == f"export {variable}=/path/to/{variable}"


@pytest.mark.parametrize(
    ("variable", "verdict"),
    [("nnUNet_preprocessed", Verdict.FAIL), ("nnUNet_results", Verdict.NOTE), ("nnUNet_raw", Verdict.NOTE)],
)
def test_folder_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, verdict: Verdict) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "no where"))
    check = machine.folder(variable)
    assert check.verdict is verdict
    assert f"mkdir -p '{tmp_path}/no where'" in check.mend


def test_file_in_place_of_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "file"))
    check = machine.folder("nnUNet_results")
    assert check.verdict is Verdict.FAIL
    assert "is not a folder" in check.found


@POSIX
def test_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Nobody makes files there, root included.
    where = "/proc" if Path("/proc/self").exists() else str(tmp_path)
    tmp_path.chmod(0o500)
    monkeypatch.setenv("nnUNet_results", where)
    assert machine.folder("nnUNet_results").verdict is Verdict.FAIL
    monkeypatch.setenv("nnUNet_preprocessed", where)
    check = machine.folder("nnUNet_preprocessed")
    assert check.verdict is Verdict.NOTE
    assert "not writable" in check.found


def test_good_folder_is_left_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    check = machine.folder("nnUNet_results")
    assert "free" in check.found
    assert check.verdict in (Verdict.OK, Verdict.WARNING)  # the disk of the tests may be full
    assert not list(tmp_path.iterdir())
