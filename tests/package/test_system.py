"""Cores and memory of this process: what batch systems say, what limits say, and that everybody goes by the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader import system
from fastnnunet_loader.system import Allotment, allotment, threads_of

MIB, GIB = 2**20, 2**30
SLURM, LSF, PBS = {"SLURM_JOB_ID": "7"}, {"LSB_JOBID": "7"}, {"PBS_JOBID": "7.server"}
STEP = {**SLURM, "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_NODEID": "1"}
BATCH_SYSTEMS = ("SLURM_", "LSB_", "PBS_", "SGE_", "NCPUS", "NSLOTS", "JOB_ID", "LOCAL_WORLD_SIZE", "nnUNet_n_proc_DA")
"""What the variables begin with that count."""

TABLE: list[tuple[str, Mapping[str, str], Allotment]] = [
    ("nothing", {}, Allotment()),
    (
        "a step of Slurm inside a job of another system: the least of both, and the tasks of whichever has several",
        {**STEP, "SLURM_CPUS_PER_TASK": "4", **PBS, "NCPUS": "3"},
        Allotment((3, "NCPUS"), tasks=2),
    ),
    # Slurm: a batch script stands for all of its node's tasks
    (
        "sbatch -c 4 --mem=16G",
        {
            **SLURM,
            "SLURM_CPUS_PER_TASK": "4",
            "SLURM_CPUS_ON_NODE": "4",
            "SLURM_MEM_PER_NODE": "16384",
            "SLURM_TASKS_PER_NODE": "1",
        },
        Allotment((4, "SLURM_CPUS_PER_TASK"), (16 * GIB, "SLURM_MEM_PER_NODE")),
    ),
    (
        "sbatch -n 2 -c 4 --mem-per-cpu=2G, a script that starts both GPUs' ranks itself",
        {
            **SLURM,
            "SLURM_CPUS_PER_TASK": "4",
            "SLURM_CPUS_ON_NODE": "8",
            "SLURM_MEM_PER_CPU": "2048",
            "SLURM_TASKS_PER_NODE": "2",
        },
        Allotment((8, "SLURM_CPUS_PER_TASK"), (16 * GIB, "SLURM_MEM_PER_CPU")),
    ),
    (
        "sbatch -c 4 on a node of its own with 128",
        {**SLURM, "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "128", "SLURM_TASKS_PER_NODE": "1"},
        Allotment((4, "SLURM_CPUS_PER_TASK")),
    ),
    (
        "the second of nodes that differ",
        {
            **SLURM,
            "SLURM_JOB_CPUS_PER_NODE": "72(x2),36",
            "SLURM_NODEID": "2",
            "SLURM_MEM_PER_GPU": "1024",
            "SLURM_GPUS_ON_NODE": "4",
        },
        Allotment((36, "SLURM_CPUS_ON_NODE"), (4 * GIB, "SLURM_MEM_PER_GPU")),
    ),
    # Slurm: srun starts tasks, each with its share
    (
        "srun -n 4 -c 3, two on a node of 6",
        {**STEP, "SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "6", "SLURM_MEM_PER_NODE": "8000"},
        Allotment((3, "SLURM_CPUS_PER_TASK"), (4000 * MIB, "SLURM_MEM_PER_NODE"), 2),
    ),
    ("srun -n 4 without -c", {**STEP, "SLURM_CPUS_ON_NODE": "6"}, Allotment((3, "SLURM_CPUS_ON_NODE"), None, 2)),
    ("srun -n 4 --overcommit on one core", {**STEP, "SLURM_CPUS_ON_NODE": "1"}, Allotment((1, "SLURM_CPUS_ON_NODE"), None, 2)),
    ("--mem=0 is all of the node", {**SLURM, "SLURM_MEM_PER_NODE": "0"}, Allotment()),
    ("a unit, as a user writes it", {**SLURM, "SLURM_MEM_PER_NODE": "3G"}, Allotment(None, (3 * GIB, "SLURM_MEM_PER_NODE"))),
    ("memory of each core of unknown many", {**SLURM, "SLURM_MEM_PER_CPU": "2048"}, Allotment()),
    (
        "variables without a job",
        {"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "100", "LSB_DJOB_NUMPROC": "3", "NCPUS": "2"},
        Allotment(),
    ),
    (
        "nonsense",
        {**SLURM, "SLURM_CPUS_ON_NODE": "-4", "SLURM_CPUS_PER_TASK": "four", "SLURM_MEM_PER_NODE": "1e9"},
        Allotment(),
    ),
    ("other digits", {**SLURM, "SLURM_CPUS_ON_NODE": "٤", "SLURM_CPUS_PER_TASK": "²"}, Allotment()),
    ("a list that is cut off", {**SLURM, "SLURM_JOB_CPUS_PER_NODE": "72(x2", "SLURM_TASKS_PER_NODE": ",,"}, Allotment()),
    ("a node that is not in the list", {**SLURM, "SLURM_JOB_CPUS_PER_NODE": "8", "SLURM_NODEID": "5"}, Allotment()),
    ("a number without end", {**SLURM, "SLURM_CPUS_ON_NODE": "9" * 5000, "SLURM_MEM_PER_NODE": "9" * 5000}, Allotment()),
    # LSF
    (
        "bsub -n 6 over two hosts",
        {**LSF, "LSB_DJOB_NUMPROC": "6", "LSB_MCPU_HOSTS": "other 4 here.cluster 2"},
        Allotment((2, "LSB_MCPU_HOSTS")),
    ),
    ("bsub -n 8", {**LSF, "LSB_DJOB_NUMPROC": "8", "LSB_MCPU_HOSTS": "here 8"}, Allotment((8, "LSB_MCPU_HOSTS"))),
    (
        "another name of this host",
        {**LSF, "LSB_DJOB_NUMPROC": "8", "LSB_MCPU_HOSTS": "a 4 b 4"},
        Allotment((4, "LSB_DJOB_NUMPROC")),
    ),
    ("LSF, nonsense", {**LSF, "LSB_DJOB_NUMPROC": "", "LSB_MCPU_HOSTS": "here many there"}, Allotment()),
    # PBS
    ("OpenPBS, select=1:ncpus=16", {**PBS, "NCPUS": "16"}, Allotment((16, "NCPUS"))),
    (
        "TORQUE, nodes=2:ppn=8",
        {**PBS, "PBS_NUM_PPN": "8", "PBS_NUM_NODES": "2", "PBS_NP": "16", "PBS_RESC_MEM": str(12 * GIB)},
        Allotment((8, "PBS_NUM_PPN"), (12 * GIB, "PBS_RESC_MEM")),
    ),
    ("TORQUE, procs=8", {**PBS, "PBS_NUM_PPN": "1", "PBS_NUM_NODES": "1", "PBS_NP": "8"}, Allotment((8, "PBS_NP"))),
    ("PBS, a unit", {**PBS, "PBS_RESC_MEM": "4gb"}, Allotment(None, (4 * GIB, "PBS_RESC_MEM"))),
    ("PBS, nonsense", {**PBS, "NCPUS": "0", "PBS_RESC_MEM": "a lot"}, Allotment()),
    # Grid Engine, and one system in another
    ("qsub -pe smp 4", {"JOB_ID": "7", "SGE_TASK_ID": "undefined", "NSLOTS": "4"}, Allotment((4, "NSLOTS"))),
    (
        "Slurm inside of LSF",
        {**LSF, "LSB_DJOB_NUMPROC": "3", **SLURM, "SLURM_CPUS_ON_NODE": "5"},
        Allotment((3, "LSB_DJOB_NUMPROC")),
    ),
]


@pytest.mark.parametrize(("environment", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_batch_systems_say(environment: Mapping[str, str], expected: Allotment) -> None:
    assert allotment(environment, host="here") == expected


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (9, 8), (10, 8), (128, 8)])
def test_default_threads_are_what_is_needed(cores: int, threads: int) -> None:
    assert threads_of(cores) == threads


OF_ITSELF = """
import json
from fastnnunet_loader import operating_system, system
cores, memory = system.cores(), system.memory()
said = {
    "cores": cores.count, "of cores": cores.source, "default": system.default_threads(), "limit": memory.limit,
    "available": memory.available, "of memory": memory.source, "resident": system._core.resident_memory(),
}
"""
OF_EVERYBODY = """
import fastnnunet_loader as fl
from fastnnunet_loader.doctor import machine
from fastnnunet_loader.nnunet import augmenter, install, runs
from fastnnunet_loader.prediction.replacements import options
from fastnnunet_loader.settings import Settings
from fastnnunet_loader.threads import ThreadPool
install(Settings())
said |= {
    "threads": [fl.default_threads(), augmenter.rank_threads(), options.threads()], "pool": len(ThreadPool(64)._pool),
    "doctor": [machine.cores().found, machine.limits_of_memory().found, machine.threads().found],
    "training": runs.Run().share_of_memory(Settings()),
}
"""


def tell(environment: Mapping[str, str], under: str = 'exec "$@"', more: str = "") -> dict[str, Any]:
    """What a process says of itself that has these variables, and that a shell has started so."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(BATCH_SYSTEMS)}
    command = ["bash", "-c", under, "bash", sys.executable, "-c", f"{OF_ITSELF}{more}print(json.dumps(said))"]
    done = subprocess.run(command, env={**own, **environment}, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_everybody_goes_by_what_the_batch_system_says() -> None:
    job = {**SLURM, "SLURM_CPUS_ON_NODE": "1", "SLURM_MEM_PER_NODE": "3000", "nnUNet_n_proc_DA": "10000"}
    said = tell(job, more=OF_EVERYBODY)
    assert (said["cores"], said["threads"], said["pool"]) == (1, [1, 1, 1], 1)
    assert said["limit"] == 3000 * MIB
    # What this process has already is no longer free.
    assert said["available"] == pytest.approx(said["limit"] - said["resident"], abs=MIB)
    assert 0 < said["training"] < said["available"] / 4  # of each of two loaders, when much more has been imported
    assert said["of memory"] == "SLURM_MEM_PER_NODE"
    assert "SLURM_MEM_PER_NODE" in said["doctor"][1]
    assert said["doctor"][2] == "1; nnUNet_n_proc_DA asks for 10000"
    if (os.cpu_count() or 1) > 1:
        assert said["of cores"] == "SLURM_CPUS_ON_NODE"
        assert "SLURM_CPUS_ON_NODE" in said["doctor"][0]


@pytest.mark.parametrize(
    ("cores", "given", "threads", "most", "numbers"),
    [
        (1, "", None, None, (1, 1)),
        (6, "", None, None, (5, 5)),
        (24, "", None, None, (8, 23)),
        (128, "", None, None, (8, 32)),
        (128, "", None, 100, (8, 100)),
        (24, "12", None, None, (12, 12)),  # who says how many threads there are, gets these
        (24, "", 3, None, (3, 3)),
        (24, "", 3, 6, (3, 6)),
        (24, "", 3, 2, (3, 3)),
    ],
)
def test_threads_may_be_added_where_nobody_said_how_many(
    cores: int, given: str, threads: int | None, most: int | None, numbers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "available_cores", lambda: cores)
    monkeypatch.setenv("nnUNet_n_proc_DA", given)
    assert system.numbers_of_threads(threads, most) == numbers


def test_a_batch_system_cannot_give_more_than_there_is() -> None:
    said = tell({**SLURM, "SLURM_CPUS_ON_NODE": "100000", "SLURM_MEM_PER_NODE": str(10**9), "nnUNet_n_proc_DA": "0"})
    assert (said["cores"], said["limit"]) == (fl.available_cores(), fl.memory().limit)
    assert (said["of cores"], said["of memory"]) == (system.cores().source, fl.memory().source)
    assert said["default"] == 1


@pytest.mark.parametrize("option", ["-m", "-v", "-d"])
def test_limits_of_the_shell_count(option: str) -> None:
    """`ulimit -m` is how OpenPBS and LSF hand on a job's memory; -v and -d are enforced by the system."""
    limit = 20 * GIB if fl.memory().limit > 20 * GIB else fl.memory().limit // 2
    said = tell({}, f'ulimit -S {option} {limit // 1024}; exec "$@"')
    assert said["limit"] == limit // 1024 * 1024
    assert said["of memory"] == f"ulimit {option}"
    assert said["available"] < limit - 100 * MIB  # torch alone has more than that


@pytest.fixture
def control_group() -> Iterator[Path]:
    """A real control group of memory, which only root may make, and not in every container."""
    for above, limit in ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max")):
        group = above / f"fastnnunet-test-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists() and os.access(group / limit, os.W_OK):
            (group / limit).write_text(str(3 * GIB), encoding="utf-8")
            yield group
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("no control group can be made here; those of a folder are read in cpp/tests/platform/control_groups.cpp")


def test_a_real_control_group_counts(control_group: Path) -> None:
    said = tell({}, f'echo $$ > {control_group}/cgroup.procs && exec "$@"')
    assert said["limit"] == 3 * GIB
    assert said["of memory"] == "a control group (container, job)"
    assert 0 < said["available"] < 3 * GIB


def test_ranks_share_what_their_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnnunet_loader.nnunet.distributed import ranks

    for name in [name for name in os.environ if name.startswith(BATCH_SYSTEMS)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(ranks, "ranks", lambda: 8)
    assert ranks.ranks_here() == 8  # nnU-Net's -num_gpus
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # torchrun on two machines
    assert ranks.ranks_here() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "four")
    assert ranks.ranks_here() == 8
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    for name, value in {**STEP, "SLURM_STEP_NUM_TASKS": "8"}.items():
        monkeypatch.setenv(name, value)
    assert ranks.ranks_here() == 1  # each is a task, and what it has is its own share
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")  # ranks that tasks have started themselves
    assert ranks.ranks_here() == 8


@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.parametrize("job", [None, 20, 70])
@pytest.mark.parametrize(
    "limits", [[], [(30, 2)], [(30, 2), (50, 45)], [(50, 45), (30, 2)], [(10, 12)], [(200, 5)], [(200, 180), (30, 2)]]
)
def test_the_least_of_all_limits_counts_and_the_least_that_any_of_them_leaves(
    limits: list[tuple[int, int]], job: int | None, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = int(system._core.resident_memory())
    monkeypatch.setattr(system._core, "memory", lambda: SimpleNamespace(limit=100 * GIB, available=60 * GIB))
    monkeypatch.setattr(system._core, "resident_memory", lambda: resident)
    monkeypatch.setattr(system, "physical_memory", lambda: 100 * GIB)
    named = [(limit * GIB, used * GIB, f"number {number}") for number, (limit, used) in enumerate(limits)]
    monkeypatch.setattr(system.operating_system, "memory_limits", lambda: named)
    environment = dict(SLURM)
    if tasks > 1:
        environment |= {"SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_STEP_TASKS_PER_NODE": str(tasks)}
    all_limits = [(100 * GIB // tasks, 40 * GIB // tasks, "the machine" + f", shared by {tasks} tasks" * (tasks > 1)), *named]
    if job is not None:  # of the node's job, of which a task has its share
        environment["SLURM_MEM_PER_NODE"] = str(job * 1024)
        all_limits.append((job * GIB // tasks, resident, "SLURM_MEM_PER_NODE"))
    found = system.memory(environment)
    assert (found.limit, found.source) == min(((limit, name) for limit, _, name in all_limits), key=lambda one: one[0])
    assert found.available == min(max(0, limit - used) for limit, used, _ in all_limits)


def test_each_limit_of_the_shell_is_of_what_it_limits() -> None:
    more = """
status = dict(line.split(":", 1) for line in open("/proc/self/status", encoding="ascii").read().splitlines())
said["used"] = {name: used / 1024 for _, used, name in operating_system.memory_limits()}
said["status"] = {name: int(status[name].split()[0]) for name in ("VmSize", "VmData", "VmRSS")}
"""
    kib = 50 * GIB // 1024
    said = tell({}, f'ulimit -S -v {kib} -d {kib} -m {kib}; exec "$@"', more)
    for option, name in {"-v": "VmSize", "-d": "VmData", "-m": "VmRSS"}.items():
        assert said["used"][f"ulimit {option}"] == pytest.approx(said["status"][name], rel=0.05), name


@pytest.mark.parametrize("given", ["0", " 0 ", "1"])
def test_no_worker_processes_are_one_thread(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", given)
    assert system.given_threads() == system.default_threads() == 1


def test_a_step_is_one_of_a_job() -> None:
    assert system.tasks_of_step(STEP) == 4
    assert system.tasks_of_step({name: value for name, value in STEP.items() if name != "SLURM_JOB_ID"}) is None
    assert system.tasks_of_step(SLURM) is None
