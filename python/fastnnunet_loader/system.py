"""Cores and memory that this process may use, each with the name of what limits it.

The smallest of these limits counts:

- the machine, the process's affinity, and Linux's control groups (version 1 and 2), which containers, Kubernetes and most batch
  systems set; on Windows, a job object;
- `ulimit`. The system enforces the limits of the address space (-v) and of the data segment (-d). Linux does not enforce the limit
  of the resident set (-m), but OpenPBS and LSF pass a job's memory limit to its processes in this way: `mem` and `pmem` in
  OpenPBS's `mom_set_limits`, MEMLIMIT in "OS memory limit enforcement" of LSF's reference;
- the environment variables that a batch system sets in its jobs. Some batch systems poll the memory that a job uses and kill the
  job; these variables are then the only sign of the limit.

Variables that are read:

| | cores | memory |
|---|---|---|
| Slurm (`man sbatch`, `man srun`, output environment variables) | `SLURM_CPUS_PER_TASK`, `SLURM_CPUS_ON_NODE`, `SLURM_JOB_CPUS_PER_NODE` | `SLURM_MEM_PER_NODE`, `SLURM_MEM_PER_CPU`, `SLURM_MEM_PER_GPU`, in MiB |
| LSF ("Environment variables set for job execution") | `LSB_MCPU_HOSTS`, `LSB_DJOB_NUMPROC` | none is documented; see `ulimit` above |
| OpenPBS, PBS Professional ("Environment variables" of the user's guide) | `NCPUS` | none; see `ulimit` above |
| TORQUE ("Exported batch environment variables") | `PBS_NUM_PPN`, `PBS_NP` over `PBS_NUM_NODES` | `PBS_RESC_MEM` where a site sets it, as MetaCentrum does, in bytes |
| Grid Engine (`man qsub`) | `NSLOTS` | none; see `ulimit` above |

Kubernetes sets both limits by control groups. The variables of its downward API have names that the user chooses, so they are
not read.

A value that is not a number from 1 on is ignored. So are the variables of a batch system whose job number is not set.
"""  # noqa: E501

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from . import _core, operating_system
from .operating_system import physical_memory
from .settings import parse_bytes

__all__ = [
    "MOST_MEMORY",
    "MOST_THREADS",
    "Allotment",
    "Cores",
    "Memory",
    "allotment",
    "available_cores",
    "cores",
    "default_budget",
    "default_threads",
    "given_threads",
    "memory",
    "most_threads",
    "numbers_of_threads",
    "physical_memory",
    "tasks_of_step",
    "threads_of",
]

MOST_THREADS = 8
"""Largest default number of threads. With nnU-Net's default recipe, one thread makes about 140 samples of 128^3 voxels a
second, and two make 260 (benchmarks/results/loader.json). An epoch of nnU-Net has 500 samples and takes tens of seconds on the
fastest GPUs, so eight threads suffice even if a sample takes ten times as long. On a shared machine, others use the remaining
cores."""

MOST_MEMORY = 32 * 2**30
"""Largest default memory budget of a training, in bytes. The loaders keep decompressed cases, so they never need more than the
size of the data set. But even for a data set of 200 GiB, they should not take half of a machine that others use, too."""

_MIB = 2**20


@dataclass(frozen=True)
class Cores:
    """Cores that this process may use, at least 1, and what limits them."""

    count: int
    source: str


@dataclass(frozen=True)
class Memory:
    """Bytes of memory that this process may use, what of them is free, and what limits them."""

    limit: int
    available: int
    source: str = "the machine"


@dataclass(frozen=True)
class Allotment:
    """What a batch system allots to this process: numbers, each with the variable that it comes from, or None."""

    cores: tuple[int, str] | None = None
    memory: tuple[int, str] | None = None
    tasks: int = 1
    """How many tasks of the job run on this node. The other numbers are this task's share."""


def available_cores() -> int:
    """Cores that this process may use, by affinity, control groups and the batch system. At least 1."""
    return cores().count


def cores(environment: Mapping[str, str] | None = None) -> Cores:
    """Cores that this process may use, and what limits them."""
    machine = os.cpu_count() or 1
    affinity = operating_system.affinity()
    measured = int(_core.available_cores())
    found = Cores(measured, "the machine")
    if measured < affinity:
        found = Cores(measured, "a control group (container, job)")
    elif affinity < machine:
        found = Cores(measured, "the process's affinity")
    given = allotment(environment).cores
    if given is not None and given[0] < found.count:
        found = Cores(*given)
    return found


def memory(environment: Mapping[str, str] | None = None) -> Memory:
    """Bytes of memory that this process may use, what of them is free, and what limits them."""
    measured = _core.memory()
    machine = physical_memory()
    limited = machine is not None and measured.limit < machine
    given = allotment(environment)
    # Several tasks of a batch system share what the machine and the control group have.
    source = "a control group (container, job)" if limited else "the machine"
    if given.tasks > 1:
        source = f"{source}, shared by {given.tasks} tasks"
    found = Memory(measured.limit // given.tasks, measured.available // given.tasks, source)
    limits: list[tuple[int, int, str]] = list(operating_system.memory_limits())
    if given.memory is not None:
        limits.append((given.memory[0], int(_core.resident_memory()), given.memory[1]))
    for limit, used, source in limits:
        if limit < found.limit:
            found = Memory(limit, found.available, source)
        found = Memory(found.limit, min(found.available, max(0, limit - used)), found.source)
    return found


def given_threads() -> int | None:
    """Return nnUNet_n_proc_DA, nnU-Net's number of worker processes, at least 1; None if it is not set.

    Raises:
        ValueError: it is not a number.
    """
    given = os.environ.get("nnUNet_n_proc_DA", "").strip()
    if not given:
        return None
    if not (given.isascii() and given.isdigit()):
        raise ValueError(f"[nnUNet_n_proc_DA] expected a number, got {given!r}")
    return max(1, int(given))


def default_threads() -> int:
    """Return nnUNet_n_proc_DA, limited to the number of cores. If it is not set, one less than the cores, at most 8.

    Raises:
        ValueError: nnUNet_n_proc_DA is not a number.
    """
    given = given_threads()
    return threads_of(available_cores()) if given is None else min(given, available_cores())


def numbers_of_threads(threads: int | None, most: int | None) -> tuple[int, int]:
    """Return the number of a loader's threads, and how many there may be while its batches are waited for.

    Args:
        threads: as the user gave them; None for `default_threads()`.
        most: as the user gave them; None for `most_threads()`, if neither the user nor nnUNet_n_proc_DA gave `threads`.
    """
    count = default_threads() if threads is None else int(threads)
    if most is None:
        most = most_threads(available_cores()) if threads is None and given_threads() is None else count
    return count, max(count, int(most))


def most_threads(count: int) -> int:
    """Return how many threads a loader may have on `count` cores while its batches are waited for, from 1 to 32."""
    return max(1, min(count - 1, 4 * MOST_THREADS))


def threads_of(count: int, beside: int = 1) -> int:
    """Return the number of threads for `count` cores, from 1 to 8. `beside`: cores that stay free for other work."""
    return max(1, min(count - beside, MOST_THREADS))


def default_budget() -> int:
    """Return the default memory budget of all loaders of a training together, in bytes."""
    return min(memory().available // 2, MOST_MEMORY)


def tasks_of_step(environment: Mapping[str, str] | None = None) -> int | None:
    """Return how many tasks the step of `srun` has that this process belongs to; None outside of a step."""
    environment = os.environ if environment is None else environment
    return _number(environment, "SLURM_STEP_NUM_TASKS") if _number(environment, "SLURM_JOB_ID") else None


def allotment(environment: Mapping[str, str] | None = None, host: str | None = None) -> Allotment:
    """Return what batch systems allot to a job on `host` (default: this one), by an environment (default: this process's)."""
    environment = os.environ if environment is None else environment
    found = Allotment()
    for system in (_slurm, _lsf, _pbs, _grid_engine):
        told = system(environment, host)
        if told is not None:  # inside a job of another system, both limits hold
            found = Allotment(_least(found.cores, told.cores), _least(found.memory, told.memory), max(found.tasks, told.tasks))
    return found


def _least(one: tuple[int, str] | None, other: tuple[int, str] | None) -> tuple[int, str] | None:
    return min((told for told in (one, other) if told is not None), default=None)


def _slurm(environment: Mapping[str, str], _: str | None) -> Allotment | None:
    if not _number(environment, "SLURM_JOB_ID"):
        return None
    # srun starts one process for each task; the batch script, and a shell of salloc, have all tasks of their node.
    in_step = _number(environment, "SLURM_STEP_NUM_TASKS") is not None
    tasks = _of_node(environment, "SLURM_STEP_TASKS_PER_NODE" if in_step else "SLURM_TASKS_PER_NODE") or 1
    per_task = _number(environment, "SLURM_CPUS_PER_TASK")
    on_node = _number(environment, "SLURM_CPUS_ON_NODE") or _of_node(environment, "SLURM_JOB_CPUS_PER_NODE")
    told = []
    if per_task is not None:
        told.append((per_task if in_step else per_task * tasks, "SLURM_CPUS_PER_TASK"))
    if on_node is not None:
        told.append((max(1, on_node // tasks) if in_step else on_node, "SLURM_CPUS_ON_NODE"))
    found = min(told, key=lambda one: one[0], default=None)  # if both are equal, the one that the user asked for is named

    amounts = [
        (_mib(environment, "SLURM_MEM_PER_NODE"), 1, "SLURM_MEM_PER_NODE"),
        (_mib(environment, "SLURM_MEM_PER_CPU"), on_node or (None if found is None else found[0]), "SLURM_MEM_PER_CPU"),
        (_mib(environment, "SLURM_MEM_PER_GPU"), _number(environment, "SLURM_GPUS_ON_NODE"), "SLURM_MEM_PER_GPU"),
    ]
    share = tasks if in_step else 1
    of_memory = [(each * times // share, name) for each, times, name in amounts if each is not None and times is not None]
    return Allotment(found, min(of_memory, default=None), share)


def _lsf(environment: Mapping[str, str], host: str | None) -> Allotment | None:
    if not _number(environment, "LSB_JOBID"):
        return None
    words = environment.get("LSB_MCPU_HOSTS", "").split()  # "hostA 2 hostB 4"
    pairs = list(zip(words[::2], words[1::2], strict=False))
    slots = {name.partition(".")[0]: int(count) for name, count in pairs if count.isdigit() and int(count) > 0}
    here = (socket.gethostname() if host is None else host).partition(".")[0]
    if here in slots:
        return Allotment((slots[here], "LSB_MCPU_HOSTS"))
    total = _number(environment, "LSB_DJOB_NUMPROC")
    return Allotment(None if total is None else (max(1, total // max(1, len(slots))), "LSB_DJOB_NUMPROC"))


def _pbs(environment: Mapping[str, str], _: str | None) -> Allotment | None:
    if not environment.get("PBS_JOBID"):
        return None
    per_node = _number(environment, "PBS_NUM_PPN")
    if per_node is not None:
        # If a job asks for processors without nodes, TORQUE sets one for each node.
        total, nodes = _number(environment, "PBS_NP"), _number(environment, "PBS_NUM_NODES")
        found: tuple[int, str] | None = (per_node, "PBS_NUM_PPN")
        if total is not None and nodes is not None and total // nodes > per_node:
            found = (total // nodes, "PBS_NP")
    else:
        count = _number(environment, "NCPUS")
        found = None if count is None else (count, "NCPUS")
    size = _bytes(environment, "PBS_RESC_MEM")
    return Allotment(found, None if size is None else (size, "PBS_RESC_MEM"))


def _grid_engine(environment: Mapping[str, str], _: str | None) -> Allotment | None:
    if not _number(environment, "JOB_ID") or not environment.get("SGE_TASK_ID"):
        return None
    count = _number(environment, "NSLOTS")
    return Allotment(None if count is None else (count, "NSLOTS"))


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0 else None


def _of_node(environment: Mapping[str, str], name: str) -> int | None:
    """Return this node's number in a list such as '72(x2),36'."""
    numbers: list[int] = []
    for part in environment.get(name, "").split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\(x(\d{1,6})\))?\s*", part, re.ASCII)
        if match is None:
            return None
        numbers += [int(match[1])] * int(match[2] or 1)
    text = environment.get("SLURM_NODEID", "0").strip()
    node = int(text) if text.isascii() and text.isdigit() else 0
    return numbers[node] or None if node < len(numbers) else None


def _mib(environment: Mapping[str, str], name: str) -> int | None:
    # Slurm sets a plain number, but a user may have set one with a unit. 0 means all of the node.
    text = environment.get(name, "").strip()
    count = _number(environment, name)
    return count * _MIB if count is not None else _size(text) if text[-1:].isalpha() else None


def _bytes(environment: Mapping[str, str], name: str) -> int | None:
    return _size(environment.get(name, ""))


def _size(text: str) -> int | None:
    try:
        return parse_bytes(text) or None if text.isascii() and len(text) < 32 else None
    except ValueError:
        return None
