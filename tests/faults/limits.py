"""What the process may have is used up while batches flow."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

import fastnnunet_loader as fl

from .fault import become_another_user, expect, fault
from .scene import Scene


@fault("memory budget reached by batches that are kept", "MemoryBudgetError says so; with one let go the next batch comes")
def _(scene: Scene) -> str:
    loader = scene.loader(threads=1, memory_budget="32MB", prefetch=2)
    expected = scene.take(loader, 30)
    loader.load_state_dict({**loader.state_dict(), "step": 0})
    kept = []
    try:
        for _ in range(100):
            kept.append(next(loader))
    except fl.MemoryBudgetError as error:
        error.__traceback__ = None
        said = str(error)
    else:
        expect(False, "100 batches were kept without an error")
    expect("still referred to" in said, said)
    stats = loader.stats()
    expect(stats.batches_in_use * stats.batch_bytes <= loader.memory_budget, "the budget was exceeded")
    expect(all(torch.equal(k["data"], e) for k, e in zip(kept, expected, strict=False)), "what was kept has changed")
    count = len(kept)
    del kept[0]
    expect(torch.equal(next(loader)["data"], expected[count]), "the next batch is another")
    return f"MemoryBudgetError after {count} batches"


@fault("memory budget too small for one batch", "MemoryBudgetError says what is needed, before any batch")
def _(scene: Scene) -> str:
    try:
        scene.loader(memory_budget="1MB")
    except fl.MemoryBudgetError as error:
        error.__traceback__ = None
        expect("at least" in str(error) and "2 threads" in str(error), str(error))
        return str(error).partition(",")[0]
    expect(False, "a loader was made")
    return ""


@fault("what Slurm gives the job is used up, and nobody gave a budget", "it is said, and the same batches come as always")
def _(scene: Scene) -> str:
    with scene.loader() as loader:
        expected = scene.take(loader, 10)
    os.environ.update(SLURM_JOB_ID="1", SLURM_MEM_PER_NODE="1")
    expect(fl.memory().available == 0, f"{fl.memory()}")
    said: list[str] = []
    with scene.loader(report=said.append) as loader:
        expect(all(map(torch.equal, expected, scene.take(loader, 10))), "the batches differ")
        stats = loader.stats()
    expect(len(said) == 1 and "No memory budget was given" in said[0], str(said))
    expect(0 < stats.memory_used <= stats.memory_budget < 2**30, f"{stats.memory_used} of {stats.memory_budget} bytes")
    return said[0].partition(",")[0]


@fault("limit of 64 open files", "the same batches as without a limit")
def _(scene: Scene) -> str:
    with scene.loader(threads=8) as loader:
        expected = scene.take(loader, 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with scene.loader(threads=8) as loader:
        found = scene.take(loader, 20)
        handles = len(list(Path("/proc/self/fd").iterdir()))
    expect(all(map(torch.equal, found, expected)), "the batches differ")
    expect(handles < 64, f"{handles} handles")
    return f"the same 20 batches with {handles} handles"


@fault(
    "no file can be opened any more",
    "SampleError names file and reason and blames no case, also with 'skip'; later all cases are used",
)
def _(scene: Scene) -> str:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    loader = scene.loader(on_bad_case="skip", prefetch=1)
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    try:
        error = scene.error_of(loader, fl.SampleError)
    finally:
        for handle in taken:
            os.close(handle)
    expect(not isinstance(error, fl.BadCaseError), "a case is blamed")
    expect("Too many open files" in error.reason and error.file, str(error))
    expect(not loader.bad_cases, f"skipped: {loader.bad_cases}")
    seen = set()
    for _ in range(60):
        try:
            seen.update(next(loader)["keys"])
        except fl.SampleError as late:
            late.__traceback__ = None
    expect(seen == set(scene.cases), f"only {seen} are used")
    return f"SampleError: {error.reason}"


@fault("address space used up", "SampleError or MemoryError says so and blames no case; with memory again, batches come")
def _(scene: Scene) -> str:
    loader = scene.loader(on_bad_case="skip", prefetch=2)
    kept = scene.take(loader, 1)
    used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), before[1]))
    said = ""
    batches = []
    try:
        # What was given back is used again, so it takes batches that are kept to need more.
        for _ in range(3000):
            batches.append(next(loader))
    except (fl.SampleError, MemoryError) as error:
        error.__traceback__ = None
        expect(not isinstance(error, fl.BadCaseError), f"a case is blamed: {error}")
        said = f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    expect(said, f"{len(batches)} batches were kept, and no memory was missing")
    expect("memory" in said.lower(), said)
    batches.clear()
    expect(not loader.bad_cases, f"skipped: {loader.bad_cases}")
    for _ in range(10):
        try:
            kept += scene.take(loader, 1)
        except fl.SampleError as late:
            late.__traceback__ = None
    expect(len(kept) > 4, "no batches came")
    return said


@fault("address space too small for a loader", "MemoryError or SampleError, and nothing is left")
def _(scene: Scene) -> str:
    used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 10), before[1]))
    said = ""
    try:
        loader = scene.loader(threads=2)
        scene.take(loader, 3)
    except (MemoryError, fl.FastnnUNetError, RuntimeError) as error:
        error.__traceback__ = None
        said = f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    expect(said, "nothing was raised")
    with scene.loader() as other:
        scene.take(other, 3)
    return said


def _used() -> int:
    """Address space, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()


def _outcomes(
    scene: Scene, limit: Callable[[int], None], amounts: Iterable[int], threads: int, others: int = 0
) -> dict[str, int]:
    """How often a loader gives batches or an error under these limits, in a process of its own for each.

    others: so many may end without a message. An error never blames a case.
    """
    with scene.loader() as loader:  # what is imported late is there before the limits are
        scene.take(loader, 1)
    seen: dict[str, int] = {}
    for amount in amounts:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            said = "batches"
            try:
                limit(amount)
                loader = scene.loader(threads=threads, memory_budget="2GB")
                scene.take(loader, 4)
                loader.close()
            except (MemoryError, fl.FastnnUNetError) as error:
                said = f"{type(error).__name__}: {error}".splitlines()[0]
            except BaseException as error:
                said = f"unclear {type(error).__name__}: {error}".splitlines()[0]
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        status = os.waitpid(child, 0)[1]
        said = os.read(reading, 4096).decode()
        os.close(reading)
        if status != 0:
            others -= 1
            expect(others >= 0, f"the process ended with {status} where {amount} was left")
            said = "ended"
        expect(said != "" and not said.startswith(("unclear", "BadCaseError")), said or "the process said nothing")
        seen[said.partition(":")[0]] = seen.get(said.partition(":")[0], 0) + 1
    return seen


@fault(
    "too little address space for the threads, in many amounts",
    "batches, or an error that says so, nearly every time (docs/reliability.md, Not mended)",
    limit=90,
)
def _(scene: Scene) -> str:
    def limit(more: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_used() + more, resource.RLIM_INFINITY))

    seen = _outcomes(scene, limit, range(0, 160 << 20, 4 << 20), 8, others=4)
    expect(seen.get("batches", 0) > 0 and seen.get("ResourceError", 0) > 0, str(seen))
    return str(seen)


@fault("too few processes for the threads (ulimit -u)", "ResourceError says so, or batches come", limit=60)
def _(scene: Scene) -> str:
    if os.getuid() != 0:
        return "only root can become another user"

    def limit(threads: int) -> None:
        become_another_user()
        resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))

    seen = _outcomes(scene, limit, range(1, 16), 8)
    expect(set(seen) == {"batches", "ResourceError"}, str(seen))
    return str(seen)
