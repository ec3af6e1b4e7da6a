"""Real signals, in every state of a loader."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

import torch

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


@fault("SIGUSR1 while waiting for a batch", "what each thread is doing is logged, and the batch comes")
def _(scene: Scene) -> str:
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logging.getLogger("fastnnunet_loader").addHandler(Handler())
    waiting = Waiting(0)
    loader = scene.loader(waiting, threads=2, prefetch=1)
    waiting.seconds = 0.8
    scene.send(signal.SIGUSR1, 0.2)
    scene.take(loader, 2)
    expect(len(said) == 1, f"{len(said)} messages")
    expect("Waiting, for" in said[0] and "case brain_" in said[0] and "transforms.py:" in said[0], said[0])
    text = loader.dump()
    expect(text.startswith("loader of role 0, rank 0, seed 1: batch "), text)
    return said[0].splitlines()[1].strip()


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
