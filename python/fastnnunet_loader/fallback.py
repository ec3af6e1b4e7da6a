"""What the native threads call in Python: transforms that are not native, and callable scalars.

Both draw as they would in one of nnU-Net's workers, from the generators of `random`, NumPy and torch, which are the whole
process's. One call runs at a time, with generators seeded from the sample: so a sample does not depend on its neighbours. Nor
do samples and training depend on each other, as long as the training draws from torch's generators only, as nnU-Net's does.
"""

from __future__ import annotations

import ctypes
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import LoaderClosedError

__all__ = [
    "PythonTransform",
    "interrupt",
    "interrupt_all",
    "makes_a_sample",
    "noted",
    "python_stack",
    "python_stacks",
    "scalar_function",
    "seeded",
]

Array = npt.NDArray[Any]
_alone = threading.Lock()
_inside: dict[int, int] = {}  # the system's number of a thread, and Python's


def python_stack(thread: int) -> list[str]:
    """Where a thread is in Python code that a sample needs, innermost last; empty where it is in none.

    thread: the system's number, as `threading.get_native_id()` gives it.
    """
    identity = _inside.get(thread)
    frame = None if identity is None else sys._current_frames().get(identity)
    if frame is None:
        return []
    found = traceback.extract_stack(frame)
    return [f"{at.filename}:{at.lineno} in {at.name}" for at in found if at.filename != __file__]


def python_stacks() -> list[str]:
    """The same of every thread that is in such code."""
    return [line for thread in list(_inside) for line in python_stack(thread)]


def interrupt(threads: Iterable[int]) -> None:
    """Raise LoaderClosedError in those of these threads that are in Python code: nobody waits for their samples any more.

    It is heard between two instructions of Python: a call that never returns to Python does not hear it.
    """
    for thread in threads:
        identity = _inside.get(thread)
        if identity is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(LoaderClosedError))


def interrupt_all() -> None:
    """The same for every thread that is in such code."""
    interrupt(list(_inside))


def makes_a_sample() -> bool:
    """Whether the calling thread is in Python code that a sample needs: it must not wait for samples."""
    return threading.get_native_id() in _inside


@contextmanager
def noted() -> Iterator[None]:
    """Inside, the calling thread is in Python code that a sample needs."""
    thread = threading.get_native_id()
    _inside[thread] = threading.get_ident()
    try:
        yield
    finally:
        _inside.pop(thread, None)


class _TorchDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lets what torch draws on the CPU, in the calling thread, come from a generator of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = torch.Generator()
        self.generator.manual_seed(seed % 2**63)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (
            torch.Tag.nondeterministic_seeded not in func.tags
            or kwargs.get("generator") is not None
            or _device_of(args, kwargs).type != "cpu"
        ):
            return func(*args, **kwargs)
        # Either this overload takes a generator, or another one is the same but for taking it.
        packet = func.overloadpacket
        if "generator" in {argument.name for argument in func._schema.arguments} or "generator" in packet.overloads():
            return packet(*args, **{**kwargs, "generator": self.generator})
        # Attention with dropout, recurrent layers, and more in older versions of torch: only the process's will do.
        process, before = torch.default_generator, torch.default_generator.get_state()
        process.set_state(self.generator.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            self.generator.set_state(process.get_state())
            process.set_state(before)


def _device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    return next((value.device for value in args if isinstance(value, torch.Tensor)), torch.device("cpu"))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of `random`, NumPy and torch (CPU) inside are a function of `seed`; outside nothing changes.

    torch draws from a generator of the call's own, whatever the transform seeds (but for the few operations that know the
    process's only). Those of `random` and NumPy are the process's: they are seeded and put back.
    """
    with noted(), _alone:
        python, numpy = random.getstate(), np.random.get_state()
        torch_state, torch_seed = torch.random.get_rng_state(), torch.initial_seed()
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            with _TorchDraws(seed):
                yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            if torch.initial_seed() != torch_seed:  # the transform seeded the process's
                torch.random.set_rng_state(torch_state)


class PythonTransform:
    """One of batchgeneratorsv2's transforms, called by a native pipeline on its own memory."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        self._recorded: dict[int, dict[str, Any]] = {}

    def record(self, parameters: dict[str, Any]) -> int:
        """Keeps parameters for one later application; the number returned stands for them."""
        token = len(self._recorded)
        self._recorded[token] = parameters
        return token

    def apply(self, image: Array, segmentation: Array | None, seed: int, token: int) -> tuple[Array, list[Array], bool]:
        """Applies the transform to views of native memory, in place where it works in place.

        Args:
            image: (C, X, Y, Z) or (C, Y, Z) float32.
            segmentation: (C, X, Y, Z) or (C, Y, Z) int16, or None.
            seed: of the random numbers.
            token: of recorded parameters; -1 to draw them.

        Returns:
            The image, the segmentation (or one for each scale of deep supervision), and whether it was a list.
        """
        data: dict[str, Any] = {"image": torch.from_numpy(image)}
        if segmentation is not None:
            data["segmentation"] = torch.from_numpy(segmentation)
        with seeded(seed), torch.no_grad():
            if token < 0:
                data = self.transform(**data)
            else:
                data = self.transform.apply(data, **self._recorded[token])
        targets = data.get("segmentation")
        is_list = isinstance(targets, (list, tuple))
        several = [] if targets is None else list(targets) if is_list else [targets]
        return _array(data["image"], np.float32), [_labels(t) for t in several], is_list


def _array(value: Any, dtype: npt.DTypeLike) -> Array:
    array = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    return np.ascontiguousarray(array, dtype=dtype)


def _labels(value: Any) -> Array:
    boolean = value.dtype == torch.bool if isinstance(value, torch.Tensor) else np.asarray(value).dtype == np.bool_
    return _array(value, np.bool_ if boolean else np.int16)


def scalar_function(draw: Callable[..., float]) -> Callable[..., float]:
    """Wraps a callable scalar so that its random numbers are a function of the seed that the core gives."""

    def call(shape: tuple[int, ...], channel: int | None, axis: int | None, seed: int, **more: float) -> float:
        with seeded(seed):
            return float(draw(tuple(shape), channel, axis, **more))

    return call
