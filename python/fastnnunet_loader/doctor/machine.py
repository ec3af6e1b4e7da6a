"""Cores, memory, files and folders that this process may really use."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from functools import partial
from pathlib import Path

import torch

from .. import _core, operating_system, system
from ..settings import in_units
from .report import Check, Task, Verdict

__all__ = ["cores", "file_limit", "folder", "limits_of_memory", "shared_memory", "tasks", "thread_pools", "threads"]

GIB = 2**30
MIB = 2**20
LEAST_MEMORY = 4 * GIB
# The loader takes a quarter of what is allowed and needs three files for each thread; torch and nnU-Net open others.
LEAST_FILES = 256
LEAST_DISK = 5 * GIB
POOL_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLOSC_NTHREADS",
)


def tasks() -> list[Task]:
    """All checks of this module."""
    return [
        ("cores", cores),
        ("loader threads", threads),
        ("thread pools", thread_pools),
        ("memory", limits_of_memory),
        (operating_system.SHARED_MEMORY, shared_memory),
        ("open files", file_limit),
        *((name, partial(folder, name)) for name in ("nnUNet_preprocessed", "nnUNet_results", "nnUNet_raw")),
    ]


def cores() -> Check:
    """Cores that affinity, control groups and the batch system leave to this process."""
    found_cores, machine = system.cores(), os.cpu_count() or 1
    usable = found_cores.count
    affinity = operating_system.affinity()
    found = f"{usable} of the machine's {machine}"
    if affinity < machine:
        found += f"; affinity allows {affinity}"
    if usable < affinity:
        found += f"; limited by {found_cores.source}"
    more = "docker run --cpus=4 ...    or: sbatch --cpus-per-task=4 ..."
    if usable < 2:
        why = "The thread that makes batches and the training share one core: a GPU will wait for batches."
        return Check("cores", Verdict.WARNING, found, why, more)
    if usable < machine:
        return Check(
            "cores", Verdict.NOTE, found, "Only these are counted on, which is right; more have to be asked for.", more
        )
    return Check("cores", Verdict.OK, found)


def threads() -> Check:
    """The number of threads that a training would start, and where it comes from."""
    name, given, usable = "loader threads", os.environ.get("nnUNet_n_proc_DA", "").strip(), system.available_cores()
    try:
        count, asked = system.default_threads(), system.given_threads()
    except ValueError as error:
        return Check(name, Verdict.FAIL, str(error), "A training stops at this.", "unset nnUNet_n_proc_DA")
    more = f"; up to {most} while a training waits for them" if (most := system.most_threads(usable)) > count else ""
    found = (
        f"{count}, from nnUNet_n_proc_DA"
        if given
        else f"{count}: one less than the cores, and at most {system.MOST_THREADS}{more}"
    )
    if asked is not None and asked > usable:
        found = f"{count}; nnUNet_n_proc_DA asks for {asked}"
        why = f"There are {usable} cores: more threads than these would make no more batches and take memory."
        return Check(name, Verdict.NOTE, found, why, f"unset nnUNet_n_proc_DA    or: --threads {max(1, usable - 1)}")
    return Check(name, Verdict.OK, found)


def thread_pools() -> Check:
    """Thread pools of other libraries, and the variables that set them."""
    name, usable = "thread pools", system.available_cores()
    settings = {variable: os.environ[variable] for variable in POOL_VARIABLES if os.environ.get(variable)}
    pools = {"torch": torch.get_num_threads()}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        pass
    else:
        for pool in threadpool_info():
            library = f"{pool['user_api']} {pool['internal_api']}"
            pools[library] = max(pools.get(library, 0), int(pool["num_threads"]))
    found = ", ".join(f"{library} {count}" for library, count in pools.items())
    found += "; " + (", ".join(f"{k}={v}" for k, v in settings.items()) or "no variable sets them")
    # OMP_NUM_THREADS may be a list, one number for each level of nesting.
    numbers = {k: v.split(",")[0].strip() for k, v in settings.items()}
    wrong = [k for k, v in numbers.items() if not v.isdecimal() or int(v) < 1]
    large = [k for k, v in numbers.items() if k not in wrong and int(v) > usable]
    if wrong:
        why = "Expected a number from 1 on: libraries ignore anything else, or stop."
        return Check(name, Verdict.WARNING, found, why, f"unset {' '.join(wrong)}")
    if large:
        why = f"More threads than the {usable} cores wait for each other."
        return Check(name, Verdict.WARNING, found, why, "\n".join(f"export {k}={usable}" for k in large))
    if any(count > usable for count in pools.values()):
        why = (
            f"Pools larger than the {usable} cores slow each other down. fastnnunet train sets torch's; a script has to do it."
        )
        return Check(name, Verdict.NOTE, found, why, f"export OMP_NUM_THREADS={usable}")
    return Check(name, Verdict.OK, found)


def limits_of_memory() -> Check:
    """Memory that this process may use, and what of it is free."""
    now, machine = system.memory(), system.physical_memory()
    found = f"{in_units(now.available)} free of {in_units(now.limit)}"
    limited = machine is not None and now.limit < machine
    if limited:
        assert machine is not None
        found += f"; the machine has {in_units(machine)}, {now.source} allows less"
    more = "docker run --memory=16g ...    or: sbatch --mem=16G ..."
    if now.available < LEAST_MEMORY:
        why = f"A training in 3D takes about {in_units(LEAST_MEMORY)} with torch and nnU-Net; beyond the limit it is killed."
        return Check("memory", Verdict.WARNING, found, why, more)
    if limited:
        why = f"The loader keeps to half of what is free within the limit, and at most {in_units(system.MOST_MEMORY)}."
        return Check("memory", Verdict.NOTE, found, why, more)
    return Check("memory", Verdict.OK, found)


def shared_memory() -> Check:
    """The size of /dev/shm, which worker processes would need."""
    name, total = operating_system.SHARED_MEMORY, operating_system.shared_memory()
    if total is None:
        return Check(name, Verdict.OK, "none, and not needed: batches are made in the training process")
    return Check(name, Verdict.OK, f"{in_units(total)}, and not needed: batches are made in the training process")


def file_limit() -> Check:
    """How many files may be open at once."""
    limits = operating_system.file_limits()
    if limits is None:
        return Check("open files", Verdict.OK, "no limit of its own on this system")
    soft, hard = limits
    allowed = _core.open_file_limit()
    shown = "no limit" if soft is None else str(soft)
    if allowed < LEAST_FILES:
        raisable = hard is None or hard >= LEAST_FILES
        why = f"torch, nnU-Net and the loader hold up to {LEAST_FILES} open; then 'Too many open files' ends the training."
        mend = "ulimit -n 4096" if hard is None or hard >= 4096 else f"ulimit -n {hard}"
        if not raisable:
            mend = "docker run --ulimit nofile=4096 ...    or ask the administrator: the hard limit is too low"
        return Check("open files", Verdict.WARNING, f"at most {shown}", why, mend)
    return Check("open files", Verdict.OK, f"at most {shown}")


def folder(variable: str) -> Check:
    """One of the folders that nnU-Net's environment variables name."""
    raw, results = variable == "nnUNet_raw", variable == "nnUNet_results"
    needed = Verdict.NOTE if raw else Verdict.FAIL
    use = {
        "nnUNet_preprocessed": "The training reads its cases there, and writes the split of a new data set.",
        "nnUNet_results": "The training writes its checkpoints there.",
        "nnUNet_raw": "Only planning and preprocessing read it.",
    }[variable]
    given = os.environ.get(variable, "")
    if not given:
        return Check(variable, needed, "not set", use, f"export {variable}=/path/to/{variable}")
    path = Path(given)
    if not path.exists():
        # nnU-Net makes the folder of results where it may.
        above = next((parent for parent in path.absolute().parents if parent.exists()), None)
        if results and above is not None and os.access(above, os.W_OK):
            return Check(
                variable, Verdict.NOTE, f"{given} does not exist; nnU-Net makes it", use, f"mkdir -p {shlex.quote(given)}"
            )
        return Check(
            variable, needed, f"{given} does not exist", use, f"mkdir -p {shlex.quote(given)}    or correct {variable}"
        )
    if not path.is_dir():
        return Check(variable, needed, f"{given} is not a folder", use, f"export {variable}=/path/to/{variable}")
    writable, free = _writable(path), shutil.disk_usage(path).free
    found = f"{given}; {in_units(free)} free"
    if not writable:
        verdict = Verdict.FAIL if results else Verdict.NOTE
        return Check(
            variable, verdict, f"{found}; not writable", use, f"chmod u+w {shlex.quote(given)}    or mount it writable"
        )
    if free < LEAST_DISK and not raw:
        why = f"{use} A full disk leaves files that are cut off."
        return Check(variable, Verdict.WARNING, found, why, f"df -h {shlex.quote(given)}    (shows the disk)")
    return Check(variable, Verdict.OK, found)


def _writable(path: Path) -> bool:
    # Asked of the system by doing it: rights, read-only mounts and quotas all count.
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"\0" * 4096)
    except OSError:
        return False
    return True
