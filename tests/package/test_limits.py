"""Of several limits of cores and memory the smallest counts, and its source is named."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastnnunet_loader import operating_system, system
from fastnnunet_loader.system import Allotment, Cores, Memory, allotment

MIB, GIB = 2**20, 2**30
STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "4"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that says what the system tells of cores and memory."""

    def tell(
        cpus: int = 16, affinity: int = 16, measured: int = 16, limit: int = 64 * GIB, free: int = 40 * GIB,
        physical: int | None = 64 * GIB, resident: int = GIB, limits: tuple[tuple[int, int, str], ...] = (),
    ) -> None:  # fmt: skip
        monkeypatch.setattr(system.os, "cpu_count", lambda: cpus)
        monkeypatch.setattr(system.os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        core = SimpleNamespace(
            available_cores=lambda: measured,
            memory=lambda: SimpleNamespace(limit=limit, available=free),
            resident_memory=lambda: resident,
        )
        monkeypatch.setattr(system, "_core", core)
        monkeypatch.setattr(system, "physical_memory", lambda: physical)
        monkeypatch.setattr(system.operating_system, "memory_limits", lambda: limits)

    return tell


@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        ({}, {}, Cores(16, "the machine")),
        ({"affinity": 6, "measured": 6}, {}, Cores(6, "the process's affinity")),
        ({"affinity": 6, "measured": 3}, {}, Cores(3, "a control group (container, job)")),
        ({"measured": 3}, {}, Cores(3, "a control group (container, job)")),
        ({}, {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "5"}, Cores(5, "SLURM_CPUS_ON_NODE")),
        ({"measured": 5}, {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "5"}, Cores(5, "a control group (container, job)")),
        ({"measured": 3}, {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "5"}, Cores(3, "a control group (container, job)")),
    ],
)
def test_the_least_number_of_cores_counts(machine: Any, given: dict[str, Any], environment: Any, found: Cores) -> None:
    machine(**given)
    assert system.cores(environment) == found


@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        ({}, {}, Memory(64 * GIB, 40 * GIB, "the machine")),
        ({"physical": None}, {}, Memory(64 * GIB, 40 * GIB, "the machine")),
        ({"limit": 8 * GIB, "free": 5 * GIB}, {}, Memory(8 * GIB, 5 * GIB, "a control group (container, job)")),
        # Four tasks of a step share both.
        ({}, STEP, Memory(16 * GIB, 10 * GIB, "the machine, shared by 4 tasks")),
        (
            {"limit": 8 * GIB, "free": 6 * GIB},
            STEP,
            Memory(2 * GIB, 6 * GIB // 4, "a control group (container, job), shared by 4 tasks"),
        ),
        # A job's memory: what this process has already is not free.
        (
            {},
            {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "8192"},
            Memory(8 * GIB, 7 * GIB, "SLURM_MEM_PER_NODE"),
        ),
        ({}, {**STEP, "SLURM_MEM_PER_NODE": "16384"}, Memory(4 * GIB, 3 * GIB, "SLURM_MEM_PER_NODE")),
        # More than there is, and less free than that.
        (
            {"free": 2 * GIB},
            {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "8192"},
            Memory(8 * GIB, 2 * GIB, "SLURM_MEM_PER_NODE"),
        ),
        ({}, {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "99999999"}, Memory(64 * GIB, 40 * GIB, "the machine")),
        # ulimit
        ({"limits": ((10 * GIB, 3 * GIB, "ulimit -v"),)}, {}, Memory(10 * GIB, 7 * GIB, "ulimit -v")),
        ({"limits": ((10 * GIB, 11 * GIB, "ulimit -v"),)}, {}, Memory(10 * GIB, 0, "ulimit -v")),
        ({"limits": ((100 * GIB, 90 * GIB, "ulimit -v"),)}, {}, Memory(64 * GIB, 10 * GIB, "the machine")),
        (
            {"limits": ((10 * GIB, 3 * GIB, "ulimit -v"), (8 * GIB, GIB, "ulimit -d"), (9 * GIB, 8 * GIB, "ulimit -m"))},
            {},
            Memory(8 * GIB, GIB, "ulimit -d"),
        ),
    ],
)  # fmt: skip
def test_the_least_memory_counts_and_the_least_that_is_free(
    machine: Any, given: dict[str, Any], environment: Any, found: Memory
) -> None:
    machine(**given)
    assert system.memory(environment) == found


@pytest.mark.parametrize(("free", "budget"), [(10 * GIB, 5 * GIB), (64 * GIB, 32 * GIB), (65 * GIB, 32 * GIB), (3, 1)])
def test_the_default_budget_is_half_of_what_is_free_at_most_32_gib(machine: Any, free: int, budget: int) -> None:
    machine(limit=100 * GIB, free=free, physical=100 * GIB)
    assert system.default_budget() == budget


@pytest.mark.parametrize(
    ("given", "cores", "found", "default"),
    [
        (None, 4, None, 3),
        ("", 4, None, 3),
        ("  ", 4, None, 3),
        ("0", 4, 1, 1),
        ("1", 4, 1, 1),
        (" 3 ", 4, 3, 3),
        ("4", 4, 4, 4),
        ("5", 4, 5, 4),
        ("12", 16, 12, 12),  # more than the default, as asked
        (None, 16, None, 8),
        (None, 1, None, 1),
    ],
)
def test_threads_that_nnunets_variable_asks_for(
    machine: Any, monkeypatch: pytest.MonkeyPatch, given: str | None, cores: int, found: int | None, default: int
) -> None:
    machine(cpus=cores, affinity=cores, measured=cores)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "LSB_", "PBS_", "SGE_", "JOB_ID"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    if given is not None:
        monkeypatch.setenv("nnUNet_n_proc_DA", given)
    assert (system.given_threads(), system.default_threads()) == (found, default)


@pytest.mark.parametrize("given", ["-1", "1.0", "two", "²", "٣", "1_0", "+1"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", given)
    for call in (system.given_threads, system.default_threads):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == f"[nnUNet_n_proc_DA] expected a number, got {given!r}"


@pytest.mark.parametrize(("count", "beside", "threads"), [(4, 0, 4), (4, 1, 3), (4, 3, 1), (4, 5, 1), (20, 1, 8), (20, 14, 6)])
def test_cores_that_stay_free(count: int, beside: int, threads: int) -> None:
    assert system.threads_of(count, beside) == threads


@pytest.mark.parametrize(
    ("environment", "tasks"),
    [({}, None), ({"SLURM_STEP_NUM_TASKS": "4"}, None), (STEP, 4), ({**STEP, "SLURM_STEP_NUM_TASKS": "0"}, None)],
)
def test_tasks_of_a_step(environment: dict[str, str], tasks: int | None) -> None:
    assert system.tasks_of_step(environment) == tasks


SYSTEMS: dict[str, tuple[dict[str, str], str]] = {
    "Slurm": ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "4"}, "SLURM_JOB_ID"),
    "LSF": ({"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "4"}, "LSB_JOBID"),
    "PBS": ({"PBS_JOBID": "7.server", "NCPUS": "4"}, "PBS_JOBID"),
    "TORQUE": ({"PBS_JOBID": "7.server", "PBS_NUM_PPN": "4"}, "PBS_JOBID"),
    "Grid Engine": ({"JOB_ID": "7", "SGE_TASK_ID": "1", "NSLOTS": "4"}, "JOB_ID"),
    "a Grid Engine's task": ({"JOB_ID": "7", "SGE_TASK_ID": "1", "NSLOTS": "4"}, "SGE_TASK_ID"),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_variables_count_in_a_job_only(name: str) -> None:
    environment, job = SYSTEMS[name]
    found = allotment(environment, host="here").cores
    assert found is not None and found[0] == 4
    assert allotment({**environment, job: ""}, host="here") == Allotment()
    assert allotment({key: value for key, value in environment.items() if key != job}, host="here") == Allotment()


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(["Slurm", "LSF", "PBS", "Grid Engine"], 2)))
def test_of_two_systems_the_smaller_number_counts(one: str, other: str) -> None:
    smaller = {key: "3" if value == "4" else value for key, value in SYSTEMS[other][0].items()}
    found = allotment({**SYSTEMS[one][0], **smaller}, host="here").cores
    assert found is not None and found[0] == 3
    assert found[1] in smaller


@pytest.mark.parametrize("amounts", list(itertools.permutations([4096, 2048, 1024])))
def test_of_several_amounts_of_memory_the_least_counts(amounts: tuple[int, ...]) -> None:
    names = ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_MEM_PER_GPU")
    environment = {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "1", "SLURM_GPUS_ON_NODE": "1"}
    environment.update({name: str(amount) for name, amount in zip(names, amounts, strict=True)})
    assert allotment(environment).memory == (1024 * MIB, names[amounts.index(1024)])
    with_cpus = {**environment, "SLURM_CPUS_ON_NODE": "8", "SLURM_GPUS_ON_NODE": "16"}
    least = min((amounts[0], names[0]), (8 * amounts[1], names[1]), (16 * amounts[2], names[2]))
    assert allotment(with_cpus).memory == (least[0] * MIB, least[1])


def test_what_the_system_tells_of_this_process() -> None:
    status = dict(row.split(":", 1) for row in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if ":" in row)
    for key in ("VmSize", "VmData"):
        assert operating_system._status(key) == pytest.approx(1024 * int(status[key].split()[0]), rel=0.05)
    assert operating_system._status("VmNothing") == 0
    total = next(row for row in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines() if row.startswith("MemTotal"))
    assert system.physical_memory() == pytest.approx(1024 * int(total.split()[1]), rel=0.05)
