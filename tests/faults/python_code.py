"""A user's code in Python that goes wrong, in the threads that make samples."""

from __future__ import annotations

import threading
import time
from typing import Any

import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform

import fastnnunet_loader as fl

from .fault import Ending, expect, fault
from .scene import Scene
from .transforms import Blocked, Failing, Reshaping, Waiting


def _named(error: Any, transform: str) -> None:
    expect(error.transform == transform, f"the error names transform {error.transform!r}")
    expect(not isinstance(error, fl.BadCaseError), "a case is blamed")
    expect(error.case and f"step {error.step}" in str(error), f"the message lacks case or step: {error}")


@fault("transform raises", "SampleError names transform and sample, has the original as its cause; batches go on")
def _(scene: Scene) -> str:
    loader = scene.loader(Failing())
    error = scene.error_of(loader, fl.SampleError)
    _named(error, "Failing")
    expect(isinstance(error.__cause__, KeyError), f"the cause is {error.__cause__!r}")
    expect(error.__cause__.__traceback__.tb_frame is not None, "the original has no traceback")
    found = 0
    for _ in range(10):
        try:
            next(loader)
            found += 1
        except fl.SampleError as again:
            again.__traceback__ = None
    expect(found > 0, "no batch came after it")
    return f"SampleError because of KeyError, then {found} of 10 batches"


@fault("transform raises in the first sample", "making the loader raises it, and leaves nothing")
def _(scene: Scene) -> str:
    failing = Failing()
    failing.calls = 2
    try:
        scene.loader(failing)
    except fl.SampleError as error:
        error.__traceback__ = None
        _named(error, "Failing")
        expect(isinstance(error.__cause__, KeyError), f"the cause is {error.__cause__!r}")
        return "SampleError because of KeyError"
    expect(False, "nothing was raised")
    return ""


@fault("transform returns the wrong shape", "SampleError tells the shape that was expected and that of the sample")
def _(scene: Scene) -> str:
    loader = scene.loader(Reshaping())
    error = scene.error_of(loader, fl.SampleError)
    expect(not isinstance(error, fl.BadCaseError), "a case is blamed")
    expect("expected" in error.reason and "got" in error.reason, error.reason)
    expect("(1, 28, 40, 32), got (1, 27, 40, 32)" in error.reason, f"the shapes are not told: {error.reason}")
    return f"SampleError: {error.reason}"


@fault(
    "transform never returns",
    "reported once with the line of code it is at; close() ends it within 4 s, and another loader works",
)
def _(scene: Scene) -> str:
    waiting = Waiting()
    loader = scene.loader(waiting, stall_after=0.3)
    said: list[str] = []
    loader.report = said.append
    waiting.seconds = 1e6
    threading.Timer(0.8, loader.close).start()
    with scene.within(6):
        scene.error_of(loader, fl.LoaderClosedError)
    with scene.within(4):
        loader.close()
    expect(len(said) == 1, f"{len(said)} reports")
    expect("Waiting, for" in said[0] and "transforms.py:" in said[0], said[0])
    waiting.seconds = 0
    with scene.loader(waiting) as other:
        scene.take(other, 2)
    scene.settle()
    return next(line.strip() for line in said[0].splitlines() if "Waiting" in line)


@fault(
    "transform never returns, abort_after",
    "a StallError within 2 s, with the line of code it is at; close() ends it within 4 s",
)
def _(scene: Scene) -> str:
    waiting = Waiting()
    loader = scene.loader(waiting, stall_after=0.3, abort_after=1.0)
    said: list[str] = []
    loader.report = said.append
    waiting.seconds = 1e6
    with scene.within(6):
        error = scene.error_of(loader, fl.StallError)
    expect(len(said) == 1, f"{len(said)} reports")
    expect("within 1 s" in str(error) and "transforms.py:" in str(error), str(error))
    with scene.within(4):
        loader.close()
    waiting.seconds = 0
    with scene.loader(waiting, abort_after=60.0) as other:
        scene.take(other, 2)
    scene.settle()
    return "StallError: " + str(error).splitlines()[0]


@fault("transform never returns in the first sample, abort_after", "a StallError within 3 s; nothing is left")
def _(scene: Scene) -> str:
    said: list[str] = []
    with scene.within(4):
        try:
            scene.loader(Waiting(1e6), abort_after=0.5, report=said.append)
        except fl.StallError as error:
            found = str(error)
        else:
            expect(False, "a loader was made")
    expect("the first cases and the first sample within 0.5 s" in found and "Waiting" in found, found)
    expect(said == [], f"reported before it was late: {said}")
    scene.settle()
    return "StallError: " + found.splitlines()[0]


@fault("transform never returns in the first sample", "reported once; Ctrl-C ends it")
def _(scene: Scene) -> str:
    import logging
    import signal

    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            scene.send(signal.SIGINT, 0.7)  # time enough for a second report

    logging.getLogger("fastnnunet_loader").addHandler(Handler())
    with scene.within(10):
        try:
            scene.loader(Waiting(1e6), stall_after=0.3)
        except KeyboardInterrupt as interrupt:
            interrupt.__traceback__ = None
        else:
            expect(False, "Ctrl-C was not heard")
    expect(len(said) == 1 and "Waiting" in said[0] and "transforms.py:" in said[0], f"reports: {said}")
    return said[0].splitlines()[0]


def _after_blocked(ending: Ending) -> str:
    expect(ending.code == 0, f"the process ended with {ending.code}")
    expect(ending.seconds < 14, f"the end took {ending.seconds:.1f} s")
    return f"exit code 0 after {ending.seconds:.1f} s"


@fault(
    "transform never returns, and hears nothing",
    "close() gives up after 10 s, and the program ends with its own exit code",
    limit=30,
    ended=_after_blocked,
)
def _(scene: Scene) -> str:
    blocked = Blocked()
    loader = scene.loader(blocked)
    next(loader)
    time.sleep(0.3)  # until what is made ahead is made
    blocked.blocked = True
    next(loader)  # so that one more is begun
    time.sleep(0.3)
    begin = time.monotonic()
    scene.note("closing")
    loader.close()
    scene._made.clear()
    del loader
    expect(9 < time.monotonic() - begin < 13, f"closing took {time.monotonic() - begin:.1f} s")
    return ""


@fault("callable scalar raises", "SampleError names the transform, has the original as its cause; batches go on")
def _(scene: Scene) -> str:
    calls = 0

    def scale(image: Any, channel: Any) -> float:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise ZeroDivisionError("of the user's")
        return 1.0

    loader = scene.loader(MultiplicativeBrightnessTransform(scale, False, 1))
    expect(loader.pipeline.all_native, "the transform is not native")
    error = scene.error_of(loader, fl.SampleError)
    _named(error, "MultiplicativeBrightnessTransform")
    expect(isinstance(error.__cause__, ZeroDivisionError), f"the cause is {error.__cause__!r}")
    found = 0
    for _ in range(10):
        try:
            found += isinstance(next(loader)["data"], torch.Tensor)
        except fl.SampleError as again:
            again.__traceback__ = None
    expect(found > 0, "no batch came after it")
    return f"SampleError because of ZeroDivisionError, then {found} of 10 batches"
