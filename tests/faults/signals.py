"""Real signals, in every state of a loader."""

from __future__ import annotations

import contextlib
import io
import signal
import time
from collections.abc import Callable
from typing import Any

import torch

import fastnnunet_loader as fl
from fastnnunet_loader.listening import listens

from .fault import Ending, expect, fault
from .scene import Scene
from .transforms import Waiting


def _interrupted(scene: Scene, action: Callable[[], Any], seconds: float = 1.5) -> float:
    """Ctrl-C comes 0.3 s from now; `action` must end with it in time."""
    scene.send(signal.SIGINT, 0.3)
    begin = time.monotonic()
    try:
        action()
        time.sleep(1)
    except KeyboardInterrupt as interrupt:
        interrupt.__traceback__ = None
    else:
        expect(False, "Ctrl-C was not heard")
    took = time.monotonic() - begin
    expect(took < seconds, f"it took {took:.1f} s")
    return took


def _forever(loader: Any) -> Callable[[], None]:
    def take() -> None:
        while True:
            next(loader)

    return take


@fault("Ctrl-C while batches flow", "KeyboardInterrupt; the batches after it are those of an undisturbed run")
def _(scene: Scene) -> str:
    with scene.loader() as loader:
        step = 0

        def take() -> None:
            nonlocal step
            while True:
                next(loader)
                step += 1

        took = _interrupted(scene, take)
        after = loader.step
        expect(after in (step, step + 1), f"batch {step} was the last, {after} is the next")
        found = scene.take(loader, 3)
    with scene.loader() as loader:
        loader.load_state_dict({**loader.state_dict(), "step": after})
        expect(all(map(torch.equal, found, scene.take(loader, 3))), "batches were lost or changed")
    return f"KeyboardInterrupt after {took:.1f} s"


@fault("Ctrl-C while waiting for a batch", "KeyboardInterrupt within a second, whatever the threads do")
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting, threads=1, prefetch=1)
    waiting.seconds = 0.8
    return f"KeyboardInterrupt after {_interrupted(scene, _forever(loader)):.1f} s"


@fault("Ctrl-C while the loader is made", "KeyboardInterrupt when the first sample is done or stopped")
def _(scene: Scene) -> str:
    return f"KeyboardInterrupt after {_interrupted(scene, lambda: scene.loader(Waiting(1.0))):.1f} s"


@fault("Ctrl-C while the state is loaded", "KeyboardInterrupt within a second")
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting, threads=1, prefetch=2)
    state = loader.state_dict()
    waiting.seconds = 1.5
    next(loader)

    def load() -> None:
        while True:
            loader.load_state_dict(state)
            next(loader)

    took = _interrupted(scene, load)
    waiting.seconds = 0
    return f"KeyboardInterrupt after {took:.1f} s"


@fault("Ctrl-C while closing", "KeyboardInterrupt within a second, and what was at work ends by itself")
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting, threads=1, prefetch=2)
    next(loader)
    waiting.seconds = 0.9
    next(loader)
    next(loader)
    waiting.seconds = 2
    took = _interrupted(scene, loader.close)
    return f"KeyboardInterrupt after {took:.1f} s"


@fault("a thousand signals that are handled", "the same batches as without; nothing is raised")
def _(scene: Scene) -> str:
    with scene.loader() as loader:
        expected = scene.take(loader, 60)
    heard = 0

    def handler(*_: Any) -> None:
        nonlocal heard
        heard += 1

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 3e-4)
    found = []
    try:
        while heard < 1000:
            with scene.loader() as loader:
                found = scene.take(loader, 60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    expect(all(map(torch.equal, found, expected)), "the batches differ")
    return f"{heard} signals, the same 60 batches"


@fault("SIGUSR1 while waiting for a batch", "the command writes what each thread is doing, and the batch comes")
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting, threads=2, prefetch=1)
    expect(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL, "a library has set what a signal does")
    written = io.StringIO()
    waiting.seconds = 0.8
    with listens(), contextlib.redirect_stderr(written):
        scene.send(signal.SIGUSR1, 0.2)
        scene.take(loader, 2)
    said = written.getvalue()
    expect(said.count("loader of role") == 1, said)
    expect("Waiting, for" in said and "case brain_" in said and "transforms.py:" in said, said)
    expect(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL, "the signal does not do what it did before")
    text = loader.dump(written)
    expect(text.startswith("loader of role 0, rank 0, seed 1: batch "), text)
    expect(fl.dump(written).startswith("loader of role 0, rank 0, seed 1: batch "), text)
    return said.splitlines()[1].strip()


def _terminated(ending: Ending) -> str:
    expect(ending.code == -signal.SIGTERM, f"the process ended with {ending.code}")
    expect(ending.seconds < 2, f"the end took {ending.seconds:.1f} s")
    return f"ended by SIGTERM after {ending.seconds:.1f} s"


@fault("SIGTERM while batches flow", "the process ends at once", ended=_terminated)
def _(scene: Scene) -> str:
    loader = scene.loader()
    scene.take(loader, 3)
    scene.send(signal.SIGTERM, 0.2)
    scene.note("sent")
    _forever(loader)()
    return ""


@fault("SIGTERM while a transform in Python is at work", "the process ends at once", ended=_terminated)
def _(scene: Scene) -> str:
    waiting = Waiting(0)
    loader = scene.loader(waiting)
    waiting.seconds = 5
    scene.send(signal.SIGTERM, 0.2)
    scene.note("sent")
    _forever(loader)()
    return ""


def _interrupted_program(ending: Ending) -> str:
    expect(ending.code in (1, 130, -signal.SIGINT), f"the process ended with {ending.code}")
    expect("KeyboardInterrupt" in ending.said, f"it said {ending.said!r}")
    expect(ending.said.count("Traceback") == 1, f"it said {ending.said!r}")
    expect(ending.seconds < 8, f"the end took {ending.seconds:.1f} s")
    return f"KeyboardInterrupt ends the program after {ending.seconds:.1f} s"


@fault(
    "Ctrl-C that nobody catches", "the program ends with one traceback, that of KeyboardInterrupt", ended=_interrupted_program
)
def _(scene: Scene) -> str:
    loader = scene.loader(Waiting(0.05))
    scene.take(loader, 1)
    scene.send(signal.SIGINT, 0.2)
    scene.note("sent")
    _forever(loader)()
    return ""
