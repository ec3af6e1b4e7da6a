"""Loaders that are left, programs that end and processes that fork while batches are in flight."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import torch

import fastnnunet_loader as fl
import fastnnunet_loader.loading.core_loader

from .fault import Ending, expect, fault
from .scene import Scene
from .transforms import Drawing, Waiting


@fault("exception in the training, in a with block", "it goes on its way; the loader is closed when it leaves the block")
def _(scene: Scene) -> str:
    core: Any = None
    try:
        with scene.within(3), scene.loader(Drawing()) as loader:
            core = loader._core
            for step in range(10):
                next(loader)
                if step == 5:
                    raise ArithmeticError("loss is nan")
    except ArithmeticError as error:
        error.__traceback__ = None
    expect(core.activity()[1] == 0, "threads are still at work")
    return "ArithmeticError, and no work is left"


@fault("exception in nnU-Net's trainer", "run_training raises it; when it does, the threads are gone", limit=60)
def _(scene: Scene) -> str:
    from .training import train_until

    before = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    with scene.within(45):
        trainer, error = train_until(scene, ArithmeticError("loss is nan"))
    expect(isinstance(error, ArithmeticError), f"it raised {error!r}")
    expect(trainer.steps == 3, f"{trainer.steps} steps")
    after = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    expect(after <= before, f"{after - before} threads are left while the exception is on its way")
    return "ArithmeticError from the third step"


@fault("loader dropped without close", "threads and memory go with it; batches that were handed out stay as they are")
def _(scene: Scene) -> str:
    loader: Any = scene.loader(Drawing())
    scene._made.clear()  # which knows it, too
    before = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    batch = next(loader)["data"]
    expected = batch.clone()
    with scene.within(3):
        del loader
        gc.collect()
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    deadline = time.monotonic() + 2
    while threads >= before and time.monotonic() < deadline:
        time.sleep(0.01)
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    expect(threads < before, f"{threads} threads, as before")
    expect(torch.equal(batch, expected), "the batch has changed")
    return f"{before - threads} threads ended"


@fault("loader dropped in a cycle, found by the collector in one of its own threads", "no deadlock; everything goes")
def _(scene: Scene) -> str:
    for _ in range(5):
        loader: Any = scene.loader(Collecting())
        scene._made.clear()
        next(loader)
        loader.myself = loader
        del loader
        time.sleep(0.05)
    with scene.within(5):
        gc.collect()
    return "5 loaders collected"


class Collecting(Drawing):
    """Runs the garbage collector in the thread that makes the sample."""

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        gc.collect()
        return super()._apply_to_image(img, **params)


@fault("closed twice, and by two threads at once", "both return; the loader says that it is closed")
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting)
    waiting.seconds = 0.2
    next(loader)
    others = [threading.Thread(target=loader.close) for _ in range(4)]
    with scene.within(5):
        for other in others:
            other.start()
        loader.close()
        loader.close()
        for other in others:
            other.join()
    for touch in _touches(loader):
        try:
            touch()
        except fl.LoaderClosedError as error:
            error.__traceback__ = None
        else:
            expect(False, "a closed loader answered")
    return "LoaderClosedError from then on"


def _touches(loader: fl.DataLoader) -> list[Callable[[], Any]]:
    return [
        lambda: next(loader),
        loader.stats,
        lambda: loader.load_state_dict({**state_of(loader), "step": 0}),
        lambda: loader.sampled(0, 0),
        lambda: loader.patch(0, 0),
        lambda: loader.sample(0, 0),
        lambda: loader.step,
        lambda: loader.bad_cases,
    ]


def state_of(loader: fl.DataLoader) -> dict[str, Any]:
    """A state that fits the loader, made without asking it."""
    return {
        "version": 2,
        "seed": loader.seed,
        "rank": 0,
        "role": 0,
        "step": 0,
        "excluded": {},
        "fingerprint": loader.fingerprint,
    }


def _silent(ending: Ending) -> str:
    expect(ending.code == 0, f"the process ended with {ending.code}")
    expect(not ending.said.strip(), f"it said {ending.said!r}")
    expect(ending.seconds < 8, f"the end took {ending.seconds:.1f} s")
    return f"exit code 0 after {ending.seconds:.1f} s, nothing printed"


_kept: list[Any] = []


@fault("interpreter exit with batches in flight", "exit code 0, nothing printed", ended=_silent)
def _(scene: Scene) -> str:
    loader = scene.loader()
    scene._made.clear()
    _kept.extend([loader, next(loader), next(loader)])
    scene.note("ending")
    return ""


@fault("interpreter exit with a transform in Python at work", "exit code 0, nothing printed", ended=_silent)
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting)
    scene._made.clear()
    waiting.seconds = 0.3
    _kept.extend([loader, next(loader)])
    scene.note("ending")
    return ""


@fault("interpreter exit with a transform in Python that never returns", "exit code 0, nothing printed", ended=_silent)
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting)
    scene._made.clear()
    waiting.seconds = 1e6
    _kept.append(loader)
    time.sleep(0.1)
    scene.note("ending")
    return ""


def _raised(ending: Ending) -> str:
    expect(ending.code == 1, f"the process ended with {ending.code}")
    expect(ending.said.count("Traceback") == 1 and "ArithmeticError: loss is nan" in ending.said, f"it said {ending.said!r}")
    expect(ending.seconds < 8, f"the end took {ending.seconds:.1f} s")
    return f"exit code 1 after {ending.seconds:.1f} s, one traceback"


@fault("exception that nobody catches, batches in flight", "exit code 1, one traceback", ended=_raised)
def _(scene: Scene) -> str:
    loader = scene.loader(Drawing())
    next(loader)
    scene.note("ending")
    raise ArithmeticError("loss is nan")


@fault(
    "fork while batches flow", "the child gets LoaderClosedError wherever it touches the loader, and ends; the parent goes on"
)
def _(scene: Scene) -> str:
    with scene.loader(Drawing()) as loader:
        expected = scene.take(loader, 40)
    loader = scene.loader(Drawing())
    found = []
    for _ in range(10):
        found += scene.take(loader, 4)
        child = os.fork()
        if child == 0:
            os._exit(_in_child(scene, loader))
        _expect_ends(child)
    expect(all(map(torch.equal, found, expected)), "the parent's batches differ")
    return "LoaderClosedError in 10 children; the parent's batches are the same"


@fault("fork when the last loader is closed", "the child can make a loader, with the same batches")
def _(scene: Scene) -> str:
    with scene.loader() as loader:
        expected = scene.take(loader, 3)
    child = os.fork()
    if child == 0:
        with scene.loader() as loader:
            same = all(map(torch.equal, scene.take(loader, 3), expected))
        os._exit(0 if same else 6)
    _expect_ends(child)
    return "the same 3 batches"


@fault("what is done at the end of one tensor asks for the memory of another", "neither waits for the other")
def _(scene: Scene) -> str:
    # Memory of torch's goes the way of pinned memory.
    fastnnunet_loader.loading.core_loader.memory_kind = lambda _: "torch"
    ended: list[int] = []
    with scene.loader() as loader:
        batch, other = next(loader), next(loader)["data"]
        block = torch.ops.fastnnunet_loader.block(batch["data"].data_ptr())
        weakref.finalize(block, lambda: ended.append(torch.ops.fastnnunet_loader.block(other.data_ptr()).numel()))
        # The block lives as long as the batch, and the tensor on it as long as the block.
        del block
        expect(not ended, "the tensor has ended before its block")
        del batch
        gc.collect()
        expect(ended == [other.nbytes], f"the tensor has not ended with its block: {ended}")
    return "both went on"


@fault("fork after the thread that trains has resized an image", "the child can make a loader, with the same batches")
def _(scene: Scene) -> str:
    image = torch.rand(1, 24, 24, 24).numpy()
    with scene.loader() as loader:
        expected = scene.take(loader, 3)
        fl.resample(image, (30, 30, 30), threads=2)
    fl.resample(image, (30, 30, 30), threads=2)
    child = os.fork()
    if child == 0:
        fl.resample(image, (30, 30, 30), threads=2)
        with scene.loader() as loader:
            same = all(map(torch.equal, scene.take(loader, 3), expected))
        os._exit(0 if same else 6)
    _expect_ends(child)
    return "the same 3 batches"


@fault("fork after loaders of several sizes were open at once", "the child can make a loader, with the same batches")
def _(scene: Scene) -> str:
    with scene.loader() as loader:
        expected = scene.take(loader, 3)
    for first in (0, 1, 2):
        loaders = [scene.loader(threads=threads) for threads in (1, 3, 2)]
        for loader in loaders:
            scene.take(loader, 1)
        for loader in (loaders[first], *loaders):
            loader.close()
        child = os.fork()
        if child == 0:
            with scene.loader() as loader:
                same = all(map(torch.equal, scene.take(loader, 3), expected))
            os._exit(0 if same else 6)
        _expect_ends(child)
    return "the same 3 batches, whichever was closed first"


@fault("fork while another thread makes and closes loaders", "the child gets a loader or LoaderClosedError, and never waits")
def _(scene: Scene) -> str:
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            for threads in (1, 2):
                with scene.loader(threads=threads) as loader:
                    scene.take(loader, 1)

    # First what Python imports for a loader: a child that is forked in an import of another thread's waits for it for ever.
    with scene.loader(threads=1) as first:
        scene.take(first, 1)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(40):
            child = os.fork()
            if child == 0:
                try:
                    fl.DataLoader.from_nnunet(scene.source.train, threads=1, seed=1, memory_budget="256MB").close()
                except fl.LoaderClosedError:
                    pass
                except BaseException:
                    traceback.print_exc()
                    os._exit(7)
                os._exit(0)
            _expect_ends(child)
    finally:
        end.set()
        worker.join()
    return "40 children ended"


@fault("fork; the child ends like a program", "no deadlock, nothing printed", ended=_silent)
def _(scene: Scene) -> str:
    loader = scene.loader(Drawing())
    _kept.append(next(loader))
    child = os.fork()
    if child == 0:
        return ""  # with the loader, through the interpreter's end
    _expect_ends(child)
    loader.close()
    scene.note("ending")
    return ""


def _in_child(scene: Scene, loader: fl.DataLoader) -> int:
    try:
        for touch in _touches(loader):
            try:
                touch()
            except fl.LoaderClosedError:
                continue
            return 3
        loader.close()
        loader.__del__()
        try:
            fl.DataLoader.from_nnunet(scene.source.train, threads=1, seed=1)
        except fl.LoaderClosedError:
            return 0
        return 5
    except BaseException:
        traceback.print_exc()
        return 4


def _expect_ends(child: int) -> None:
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            expect(code == 0, f"the child ended with {code}")
            return
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    expect(False, "the child hung")
