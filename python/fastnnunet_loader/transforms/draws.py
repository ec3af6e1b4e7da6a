"""Random numbers of code in Python that a sample needs: a function of the sample, and of nothing that happens beside it.

In nnU-Net's workers a transform draws from the generators of `random`, NumPy and torch that belong to its process. Here several
transforms run at once in one process, so while one is at work the functions of these modules draw, in its thread, from
generators of its own. In every other thread they are what they were, and when no transform is at work nothing is replaced.

Code that took such a function before (`from numpy.random import uniform`, scipy.stats) still draws from the generator of the
process. That is noticed, since the generator moves; such code then runs alone, with these generators seeded and put back.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Turn", "drawing"]

_TRIALS = 3  # calls of new code that run alone, to see which generators it draws from
_alone = threading.Lock()
_here = threading.local()  # .own: the generators of the code that runs in this thread


class _Own:
    """Generators of one call."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generators = 0
        self.torch = torch.Generator()
        self.torch.manual_seed(seed % 2**63)

    def default_rng(self, seed: Any = None) -> np.random.Generator:
        """As NumPy's; without a seed it is the call's and not the system's."""
        if seed is None:
            self._generators += 1
            seed = [self._seed % 2**64, self._generators]
        return _default_rng(seed)

    @functools.cached_property
    def numpy(self) -> np.random.RandomState:
        return np.random.RandomState(self._seed % 2**32)

    @functools.cached_property
    def python(self) -> random.Random:
        return random.Random(self._seed)


def _own() -> _Own | None:
    return getattr(_here, "own", None)


# The functions that are replaced


_process_numpy: Any = np.random.mtrand._rand
_default_rng = np.random.default_rng
_process_python: Any = random._inst


class _AnyRandomState:
    """Stands for NumPy's RandomState of the process, which scikit-learn and SciPy take from its module."""

    def __getattr__(self, name: str) -> Any:
        own = _own()
        return getattr(_process_numpy if own is None else own.numpy, name)


def _dispatching(original: Callable[..., Any], of: Callable[[_Own], Callable[..., Any]]) -> Callable[..., Any]:
    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        own = _own()
        return original(*args, **kwargs) if own is None else of(own)(*args, **kwargs)

    return function


def _seed_torch(own: _Own) -> Callable[..., Any]:
    return lambda seed: own.torch.manual_seed(int(seed))


def _method(generator: str, name: str) -> Callable[[_Own], Callable[..., Any]]:
    return lambda own: getattr(getattr(own, generator), name)


def _replacements() -> Iterator[tuple[ModuleType, str, Any]]:
    for name in dir(np.random):
        found = getattr(np.random, name)
        if getattr(found, "__self__", None) is _process_numpy:
            yield np.random, name, _dispatching(found, _method("numpy", name))
    yield np.random, "default_rng", _dispatching(np.random.default_rng, lambda own: own.default_rng)
    yield np.random, "seed", _dispatching(np.random.seed, lambda own: own.numpy.seed)
    yield np.random.mtrand, "_rand", _AnyRandomState()
    for name in dir(random):
        found = getattr(random, name)
        if getattr(found, "__self__", None) is _process_python:
            yield random, name, _dispatching(found, _method("python", name))
    for name, of in (
        ("manual_seed", _seed_torch),
        ("seed", lambda own: own.torch.seed),
        ("initial_seed", lambda own: own.torch.initial_seed),
        ("get_rng_state", lambda own: own.torch.get_state),
        ("set_rng_state", lambda own: own.torch.set_state),
    ):
        for module in (torch, torch.random):
            yield module, name, _dispatching(getattr(module, name), of)


class _Replaced:
    """The functions, replaced as long as somebody is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._made: list[tuple[ModuleType, str, Any]] = []
        self._before: list[tuple[ModuleType, str, Any, Any]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._made = self._made or list(_replacements())
            self._before = [(module, name, getattr(module, name), value) for module, name, value in self._made]
            for module, name, _, value in self._before:
                setattr(module, name, value)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            for module, name, before, value in self._before:
                if getattr(module, name) is value:  # else somebody else replaced it since
                    setattr(module, name, before)


_replaced = _Replaced()


class _TorchDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lets what torch draws on the CPU, in the calling thread, come from a generator of its own."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = generator

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
        with _process_torch:
            process, before = torch.default_generator, torch.default_generator.get_state()
            process.set_state(self.generator.get_state())
            try:
                return func(*args, **kwargs)
            finally:
                self.generator.set_state(process.get_state())
                process.set_state(before)


_process_torch = threading.Lock()


def _device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    return next((value.device for value in args if isinstance(value, torch.Tensor)), torch.device("cpu"))


# Who runs alone


class Turn:
    """Whether one transform, or one callable scalar, may run beside others."""

    def __init__(self) -> None:
        self.clean = 0  # calls so far that drew from their own generators only
        self.alone_for = ""  # the reason why it always runs alone


@contextmanager
def drawing(seed: int, turn: Turn) -> Iterator[None]:
    """Random numbers of `random`, NumPy and torch (CPU) inside are a function of `seed`; outside nothing changes."""
    if turn.alone_for or turn.clean < _TRIALS:
        with _alone, _process.seeded(seed), _own_generators(seed) as moved:
            yield
    else:
        seedings = _process.seedings
        with _own_generators(seed) as moved:
            yield
        if moved() and (_process.seedings != seedings or seedings % 2):
            return  # it was another call, which ran alone
    if moved():
        turn.alone_for = "it draws from the generator that NumPy, or `random`, has for the whole process"
    else:
        turn.clean += 1


@contextmanager
def _own_generators(seed: int) -> Iterator[Callable[[], bool]]:
    """Yields a function that tells, afterwards, whether the process's generators were drawn from."""
    own, outer, before = _Own(seed), _own(), _process.state()
    after = before
    with _replaced:
        _here.own = own
        try:
            with _TorchDraws(own.torch):
                yield lambda: after != before
        finally:
            _here.own = outer
            after = _process.state()


class _Process:
    """The generators that `random` and NumPy have for the whole process."""

    seedings = 0  # one at the start and one at the end of each time that they are seeded here

    def state(self) -> tuple[Any, ...]:
        """Something that changes whenever a number is drawn from them."""
        numpy, python = _process_numpy.get_state(legacy=False), _process_python.getstate()
        keys = tuple(numpy["state"]["key"][:4])
        return numpy["state"]["pos"], keys, numpy["has_gauss"], python[1][-1], python[1][:4], python[2]

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside they are seeded, for code that draws from them all the same; afterwards they are as before."""
        python, numpy = _process_python.getstate(), _process_numpy.get_state()
        torch_state, torch_seed = torch.default_generator.get_state(), torch.default_generator.initial_seed()
        self.seedings += 1
        try:
            _process_python.seed(seed)
            _process_numpy.seed(seed % 2**32)
            yield
        finally:
            _process_python.setstate(python)
            _process_numpy.set_state(numpy)
            if torch.default_generator.initial_seed() != torch_seed:
                torch.default_generator.set_state(torch_state)
            self.seedings += 1


_process = _Process()
