"""Files that go bad while batches flow, and disks that fail."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import torch

import fastnnunet_loader as fl

from .fault import expect, fault
from .scene import Scene

__all__: list[str] = []

NAMED = "one BadCaseError names case, file and reason, and the batch after it comes"


def _bad(scene: Scene, loader: fl.DataLoader, file: Path, reason: str) -> str:
    """The next error is about this file, and batches without the case go on."""
    with scene.within(10):
        error = scene.error_of(loader, fl.BadCaseError)
    expect(error.file == str(file), f"the error names {error.file}, not {file}")
    expect(file.name.startswith(error.case), f"the error names case {error.case}")
    expect(reason in error.reason, f"the reason is {error.reason!r}, without {reason!r}")
    expect(isinstance(error.__cause__, fl.StorageError), f"the cause is {error.__cause__!r}")
    for part in (error.case, error.file, error.reason, "seed 1", f"step {error.step}", f"slot {error.slot}"):
        expect(part in str(error), f"the message lacks {part!r}: {error}")
    for _ in range(40):
        try:
            batch = next(loader)
        except fl.BadCaseError as again:
            again.__traceback__ = None
            expect(again.case == error.case, f"another case is named then: {again.case}")
        else:
            expect(error.case not in batch["keys"], "a batch has the bad case")
            return f"BadCaseError: {error.reason}"
    expect(False, "no batch came after the error")
    return ""


def _flowing(scene: Scene, **options: Any) -> tuple[fl.DataLoader, Path]:
    # One thread, which then has all files open: what it says of a file does not depend on which thread comes to it.
    # What is in memory would need no file.
    loader = scene.loader(**{"threads": 1, "keep_blocks": False, **options})
    scene.take(loader, 20)
    return loader, scene.folder / f"{scene.cases[1]}.b2nd"


def _well_again(loader: fl.DataLoader) -> None:
    """Batches that were made ahead may have the error in them, good ones between; then all come."""
    came = 0
    for _ in range(60):
        try:
            next(loader)
            came += 1
        except fl.BadCaseError as late:
            late.__traceback__ = None
            came = 0
        if came == 12:
            return
    expect(False, f"{came} batches came after all was well again")


@fault("image deleted", NAMED)
def _(scene: Scene) -> str:
    loader, file = _flowing(scene)
    file.unlink()
    return _bad(scene, loader, file, "gone")


@fault("segmentation deleted", NAMED)
def _(scene: Scene) -> str:
    loader, file = _flowing(scene)
    file = file.with_name(f"{file.stem}_seg.b2nd")
    file.unlink()
    return _bad(scene, loader, file, "gone")


@fault("image truncated", NAMED)
def _(scene: Scene) -> str:
    loader, file = _flowing(scene)
    os.truncate(file, file.stat().st_size // 3)
    return _bad(scene, loader, file, "truncated")


@fault("image replaced by another image", NAMED)
def _(scene: Scene) -> str:
    loader, file = _flowing(scene)
    other = file.with_name("other.b2nd")
    blosc2.asarray(np.zeros((1, 9, 9, 9), np.float32), urlpath=str(other))
    other.replace(file)
    return _bad(scene, loader, file, "replaced")


@fault("image overwritten with garbage in place", NAMED)
def _(scene: Scene) -> str:
    loader, file = _flowing(scene)
    with file.open("r+b") as image:
        image.write(os.urandom(file.stat().st_size))
    return _bad(scene, loader, file, "changed")


@fault("properties damaged", NAMED)
def _(scene: Scene) -> str:
    # Class locations are read where foreground is forced, and then kept: the case must be one whose turn comes late.
    first: dict[str, int] = {}
    with scene.loader() as asked:
        for step in range(200):
            for slot in range(asked.batch_size):
                name, forced, _ = asked.sampled(step, slot)
                if forced:
                    first.setdefault(name, step)
    name, late = max(first.items(), key=lambda item: item[1])
    expect(late > 3, "every case has its turn at once")
    loader = scene.loader(threads=1, prefetch=1)
    scene.take(loader, late - 2)
    file = scene.folder / f"{name}.pkl"
    file.write_bytes(file.read_bytes()[:100])
    return _bad(scene, loader, file, "whole pickle")


@fault("properties that would run code", NAMED + "; the code is not run")
def _(scene: Scene) -> str:
    mark = scene.root / "attacked"

    class Attack:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(mark),))

    file = scene.folder / f"{scene.cases[1]}.pkl"
    file.write_bytes(pickle.dumps({"class_locations": Attack()}))
    seen = _bad(scene, scene.loader(), file, "posix.mkdir")
    expect(not mark.exists(), "the code was run")
    return seen


@fault("folder made unreadable", "one BadCaseError says that permission is denied; readable again, batches come")
def _(scene: Scene) -> str:
    loader, _ = _flowing(scene)
    root = os.geteuid() == 0
    scene.folder.chmod(0)
    try:
        if root:  # who may read everything
            os.seteuid(65534)
        error = scene.error_of(loader, fl.BadCaseError)
    finally:
        if root:
            os.seteuid(0)
        scene.folder.chmod(0o755)
    expect("Permission denied" in error.reason, error.reason)
    _well_again(loader)
    return f"BadCaseError: {error.reason}"


@fault("image deleted, on_bad_case='skip'", "one warning names the case; batches go on without it, the same for any threads")
def _(scene: Scene) -> str:
    said: list[str] = []
    runs = []
    for threads in (1, 3):
        loader = scene.loader(threads=threads, on_bad_case="skip", keep_blocks=False)
        runs.append(scene.take(loader, 10))
        if threads == 1:
            file = scene.folder / f"{scene.cases[1]}.b2nd"
            moved = file.rename(scene.root / "moved")
            runs[0] += scene.take(loader, 20)
            moved.rename(file)
            (bad,) = loader.bad_cases
            expect(bad.name == scene.cases[1], f"skipped {bad.name}")
            expect(loader.stats().skipped_cases == 1, "statistics do not count it")
            state = loader.state_dict()
            expect(state["excluded"] == {bad.name: bad.step}, f"the state has {state['excluded']}")
            said.append(loader.reproduction(bad))
        loader.close()
    expect(all(torch.equal(a, b) for a, b in zip(runs[0][:9], runs[1][:9], strict=True)), "batches before it differ")
    expect("loader.sample(" in said[0], said[0])
    return f"skipped {scene.cases[1]}; {said[0]}"


@fault("disk returns errors, patience 0", "one BadCaseError says so and names the file; later, batches come")
def _(scene: Scene) -> str:
    loader = scene.loader(prefetch=1, keep_blocks=False)
    scene.take(loader, 3)
    scene.disk(1)
    error = scene.error_of(loader, fl.BadCaseError)
    scene.disk(0)
    expect("Input/output error" in error.reason and error.file.endswith(".b2nd"), str(error))
    _well_again(loader)
    return f"BadCaseError: {error.reason}"


@fault("disk does not answer", "the stall is reported once with case and stage; Ctrl-C is heard; then batches come")
def _(scene: Scene) -> str:
    import signal

    loader = scene.loader(prefetch=1, keep_blocks=False, stall_after=0.3)
    said: list[str] = []
    loader.report = said.append
    scene.take(loader, 3)
    scene.disk(2)
    scene.send(signal.SIGINT, 1)
    try:
        for _ in range(60):
            next(loader)
    except KeyboardInterrupt as interrupt:
        interrupt.__traceback__ = None
    else:
        expect(False, "Ctrl-C was not heard")
    expect(len(said) == 1, f"{len(said)} reports")
    expect("reading the image, for" in said[0] or "opening files, for" in said[0] or "reading labels" in said[0], said[0])
    expect("case brain_" in said[0], said[0])
    scene.disk(0)
    scene.take(loader, 3)
    return said[0].splitlines()[-1].strip()
