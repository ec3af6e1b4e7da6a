"""What this process may use, with real limits set on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.doctor import Verdict, machine
from fastnnunet_loader.settings import in_units
from fastnnunet_loader.system import Cores, Memory

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


@pytest.mark.parametrize(
    ("usable", "affinity", "total", "found", "verdict"),
    [
        (16, 16, 16, "16 of the machine's 16", Verdict.OK),
        (6, 6, 16, "6 of the machine's 16; affinity allows 6", Verdict.NOTE),
        (2, 16, 16, "2 of the machine's 16; limited by a job", Verdict.NOTE),
        (2, 6, 16, "2 of the machine's 16; affinity allows 6; limited by a job", Verdict.NOTE),
        (1, 16, 16, "1 of the machine's 16; limited by a job", Verdict.WARNING),
        (1, 1, 1, "1 of the machine's 1", Verdict.WARNING),
        (2, 2, 2, "2 of the machine's 2", Verdict.OK),
    ],
)
def test_cores_are_told_with_what_limits_them(
    monkeypatch: pytest.MonkeyPatch, usable: int, affinity: int, total: int, found: str, verdict: Verdict
) -> None:
    monkeypatch.setattr(machine.system, "cores", lambda: Cores(usable, "a job"))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: total)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    check = machine.cores()
    assert (check.found, check.verdict) == (found, verdict)
    assert ("sbatch --cpus-per-task" in check.mend) == (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("limit", "free", "physical", "found", "verdict"),
    [
        (64, 40, 64, "40.0 GiB free of 64.0 GiB", Verdict.OK),
        (64, 4, 64, "4.0 GiB free of 64.0 GiB", Verdict.OK),
        (64, 3, 64, "3.0 GiB free of 64.0 GiB", Verdict.WARNING),
        (8, 5, 64, "5.0 GiB free of 8.0 GiB; the machine has 64.0 GiB, a job allows less", Verdict.NOTE),
        (8, 2, 64, "2.0 GiB free of 8.0 GiB; the machine has 64.0 GiB, a job allows less", Verdict.WARNING),
        (8, 5, None, "5.0 GiB free of 8.0 GiB", Verdict.OK),
    ],
)
def test_memory_is_told_with_what_limits_it(
    monkeypatch: pytest.MonkeyPatch, limit: int, free: int, physical: int | None, found: str, verdict: Verdict
) -> None:
    monkeypatch.setattr(machine.system, "memory", lambda: Memory(limit * 2**30, free * 2**30, "a job"))
    monkeypatch.setattr(machine.system, "physical_memory", lambda: None if physical is None else physical * 2**30)
    check = machine.limits_of_memory()
    assert (check.found, check.verdict) == (found, verdict)
    assert ("at most 32.0 GiB" in check.why) == (verdict is Verdict.NOTE)
    assert ("about 4.0 GiB" in check.why) == (verdict is Verdict.WARNING)


@pytest.mark.parametrize(
    ("given", "usable", "found", "verdict"),
    [
        ("", 4, "3: one less than the cores, and at most 8", Verdict.OK),
        ("", 64, "8: one less than the cores, and at most 8; up to 32 while a training waits for them", Verdict.OK),
        ("3", 4, "3, from nnUNet_n_proc_DA", Verdict.OK),
        ("4", 4, "4, from nnUNet_n_proc_DA", Verdict.OK),
        ("5", 4, "4; nnUNet_n_proc_DA asks for 5", Verdict.NOTE),
        ("2", 1, "1; nnUNet_n_proc_DA asks for 2", Verdict.NOTE),
    ],
)
def test_threads_are_told_with_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, given: str, usable: int, found: str, verdict: Verdict
) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", given)
    monkeypatch.setattr(machine.system, "cores", lambda: Cores(usable, "a job"))
    check = machine.threads()
    assert (check.found, check.verdict) == (found, verdict)
    if verdict is Verdict.NOTE:
        assert check.mend.endswith(f"--threads {max(1, usable - 1)}")


@POSIX
@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "found", "verdict", "mend"),
    [
        (1024, 4096, 256, "at most 1024", Verdict.OK, ""),
        (255, 4096, 255, "at most 255", Verdict.WARNING, "ulimit -n 4096"),
        (64, -1, 64, "at most 64", Verdict.WARNING, "ulimit -n 4096"),
        (64, 1000, 64, "at most 64", Verdict.WARNING, "ulimit -n 1000"),
        (64, 256, 64, "at most 64", Verdict.WARNING, "ulimit -n 256"),
        (64, 255, 64, "at most 64", Verdict.WARNING, "docker run --ulimit nofile=4096"),
        (-1, -1, 2**20, "at most no limit", Verdict.OK, ""),
    ],
)
def test_open_files_are_raised_as_far_as_the_system_lets(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: int, found: str, verdict: Verdict, mend: str
) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(machine, "_core", SimpleNamespace(open_file_limit=lambda: allowed))
    check = machine.file_limit()
    assert (check.found, check.verdict) == (found, verdict)
    assert check.mend.startswith(mend) and bool(check.mend) == bool(mend)


@pytest.mark.parametrize(
    ("variable", "free", "verdict"),
    [
        ("nnUNet_preprocessed", 4, Verdict.WARNING),
        ("nnUNet_results", 4, Verdict.WARNING),
        ("nnUNet_raw", 4, Verdict.OK),
        ("nnUNet_results", 5, Verdict.OK),
    ],
)
def test_a_disk_that_is_nearly_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, free: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=free * 2**30))
    monkeypatch.setenv(variable, str(tmp_path))
    check = machine.folder(variable)
    assert (check.found, check.verdict) == (f"{tmp_path}; {free}.0 GiB free", verdict)
    assert ("A full disk leaves files that are cut off." in check.why) == (verdict is Verdict.WARNING)


@pytest.mark.parametrize(
    ("settings", "verdict", "mend"),
    [
        ({"MKL_NUM_THREADS": "0"}, Verdict.WARNING, "unset MKL_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "two,1", "BLOSC_NTHREADS": "-1"}, Verdict.WARNING, "unset OMP_NUM_THREADS BLOSC_NTHREADS"),
        ({"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1"}, Verdict.OK, ""),
        ({"OMP_NUM_THREADS": "1,9"}, Verdict.OK, ""),
        (
            {"OMP_NUM_THREADS": "5,1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "6"},
            Verdict.WARNING,
            "export OMP_NUM_THREADS=4\nexport OPENBLAS_NUM_THREADS=4",
        ),
        ({"OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "all"}, Verdict.WARNING, "unset MKL_NUM_THREADS"),
    ],
)
def test_each_variable_of_a_pool_is_judged(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], verdict: Verdict, mend: str
) -> None:
    for variable in machine.POOL_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(machine.system, "cores", lambda: Cores(4, "a job"))
    monkeypatch.setattr(machine.torch, "get_num_threads", lambda: 2)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    check = machine.thread_pools()
    assert (check.verdict, check.mend) == (verdict, mend)
    assert check.found == "torch 2; " + ", ".join(
        f"{name}={settings[name]}" for name in machine.POOL_VARIABLES if name in settings
    )
    for variable in settings:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(machine.torch, "get_num_threads", lambda: 5)
    check = machine.thread_pools()
    assert (check.found, check.verdict) == ("torch 5; no variable sets them", Verdict.NOTE)
    assert check.mend == "export OMP_NUM_THREADS=4"
