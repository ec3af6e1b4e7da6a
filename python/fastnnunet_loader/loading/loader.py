"""The data loader: nnU-Net's batches, made by threads of this process."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import math
import secrets
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import torch

from .. import _core
from ..errors import FastnnUNetError, LoaderClosedError, SampleError, StallError
from ..settings import MAX_SKIPPED, PATIENCE, STALL_AFTER, check_abort_after, check_patience, check_share, parse_bytes
from ..system import Memory, available_cores, default_budget, default_threads, memory
from ..transforms.origins import differences, versions
from ..transforms.pipeline import Pipeline, compile_transforms
from ..transforms.python import interrupt, makes_a_sample, noted, python_stacks
from .activity import describe_activity
from .cases import ClassLocations, class_locations, read_off
from .gpu import device_in_use, gpu_stats
from .pickles import read_properties
from .sample_lines import Origin, command, line
from .statistics import LoaderStats, loader_stats

__all__ = [
    "BadCase",
    "DataLoader",
    "LoaderStats",
    "Memory",
    "Patch",
    "available_cores",
    "default_threads",
    "dump",
    "memory",
    "parse_bytes",
]

_log = logging.getLogger("fastnnunet_loader")
_ROLES = {"train": 0, "val": 1}
_STATE_VERSION = 1
_TORCH_TYPES = {  # of the arrays that the core gives; NumPy has no bfloat16
    "<f4": torch.float32,
    "<f8": torch.float64,
    "<f2": torch.float16,
    "<u2": torch.bfloat16,
    "<i8": torch.int64,
    "<i4": torch.int32,
    "<i2": torch.int16,
    "|i1": torch.int8,
    "|u1": torch.uint8,
    "|b1": torch.bool,
}


@dataclass(frozen=True)
class BadCase:
    """A case that `on_bad_case="skip"` goes on without, since the batch `step`."""

    name: str
    file: str
    reason: str
    step: int
    slot: int = 0  # of the sample that found it
    attempt: int = 0
    stamp: str = ""  # of the contents of its files then; empty where they could not be examined


@dataclass(frozen=True)
class Patch:
    """A part of a case, before any transform."""

    case: str
    forced_foreground: bool
    window: tuple[tuple[int, int], ...]  # (lower, upper) on each axis of the case; it may reach beyond the image
    image: npt.NDArray[np.float32]  # (C, X, Y, Z) or (C, Y, Z)
    segmentation: npt.NDArray[np.int16]  # (C', X, Y, Z) or (C', Y, Z); a cascade's previous stage is the last channel


def _memory_kind(pin_memory: bool) -> str:
    return "pinned" if pin_memory else "ordinary"


def draw_seed() -> int:
    """A seed that no other run has."""
    return secrets.randbits(63)


_open: weakref.WeakSet[DataLoader] = weakref.WeakSet()


def activity_of_all() -> str:
    """Return what the threads of all open loaders are doing; "" where there is none."""
    return "\n".join(text for text in (loader._activity() for loader in list(_open)) if text)


def dump(file: TextIO | None = None) -> str:
    """Prints to `file` (standard error), and returns, what each thread of all open loaders of this process is doing.

    May be called at any time and from any thread. A script that wants it on a signal, as the commands have it, writes
    `signal.signal(signal.SIGUSR1, lambda *_: fl.dump())`.
    """
    text = activity_of_all() or "no loader is open"
    print(text, file=sys.stderr if file is None else file)
    return text


@atexit.register
def _close_all() -> None:
    # Threads must be gone before the interpreter takes its modules apart.
    for loader in list(_open):
        loader.close()


class DataLoader:
    """Endless batches from the cases of an nnU-Net data loader.

    Make it with `DataLoader.from_nnunet`. Every batch is a function of (seed, rank, role, step). It is an iterator and a
    context manager; `close()` ends its threads.
    """

    def __init__(
        self,
        cases: list[_core.CaseFiles],
        folder: Path,
        sampling: dict[str, Any],
        pipeline: Pipeline,
        *,
        dims: int,
        annotated_key: tuple[int, ...],
        threads: int,
        seed: int,
        rank: int,
        role: int,
        memory_budget: int,
        on_bad_case: str,
        max_skipped: float = MAX_SKIPPED,
        patience: float = PATIENCE,
        pin_memory: bool,
        prefetch: int,
        check_finite: bool,
        keep_blocks: bool,
        budget_binds: bool = True,
        unrestricted_pickles: bool = False,
        stall_after: float = STALL_AFTER,
        abort_after: float | None = None,
        origin: Origin | None = None,
        report: Callable[[str], None] = _log.warning,
    ) -> None:
        if on_bad_case not in ("raise", "skip"):
            raise ValueError(f"[on_bad_case] expected 'raise' or 'skip', got {on_bad_case!r}")
        if threads < 1:
            raise ValueError(f"[threads] expected at least 1, got {threads}")
        if not stall_after > 0:
            raise ValueError(f"[stall_after] expected seconds above 0, got {stall_after}")
        check_abort_after(abort_after)
        check_patience(patience)
        check_share(max_skipped)
        if not cases:
            raise ValueError("[data loader] expected at least one case, got none")
        self.seed = seed
        self.rank = rank
        self.role = role
        self.threads = threads
        self.memory_budget = self._asked = memory_budget
        self.on_bad_case = on_bad_case
        self.max_skipped = max_skipped
        self.patience = patience
        self.stall_after = stall_after
        self.abort_after = abort_after
        self.report = report  # takes what has to be said while batches are made
        self.origin = origin  # the training that this loader belongs to
        self.pin_memory = pin_memory
        self._memory = _memory_kind(pin_memory)
        self.pipeline = pipeline
        self._cases = cases
        self._names = [case.name for case in cases]
        self._folder = folder
        self._sampling = sampling
        self._dims = dims
        self._annotated_key = annotated_key
        self._prefetch = prefetch
        self._check_finite = check_finite
        self._keep_blocks = keep_blocks
        self._budget_binds = budget_binds
        self._unrestricted_pickles = unrestricted_pickles
        # Of the thread that trains: statistics are asked for by others, too.
        self._device = device_in_use()
        self._reported: set[str] = set()
        self._core: _core.Loader | None = None
        self._state_at_end: dict[str, Any] | None = None
        try:
            self._core = self._make()
        except SampleError as error:
            if origin is not None:
                self._add_reproduction(error)
            raise
        _open.add(self)

    @classmethod
    def from_nnunet(
        cls,
        data_loader: Any,
        *,
        threads: int | None = None,
        seed: int | None = None,
        rank: int = 0,
        role: str | int = "train",
        memory_budget: int | str | None = None,
        on_bad_case: str = "raise",
        max_skipped: float = MAX_SKIPPED,
        patience: float = PATIENCE,
        pin_memory: bool | None = None,
        prefetch: int | None = None,
        check_finite: bool = False,
        keep_blocks: bool = True,
        budget_binds: bool | None = None,
        unrestricted_pickles: bool = False,
        stall_after: float = STALL_AFTER,
        abort_after: float | None = None,
        origin: Origin | None = None,
        report: Callable[[str], None] = _log.warning,
    ) -> DataLoader:
        """Makes the batches of an nnUNetDataLoader: its cases, patches, oversampling and transforms.

        Args:
            data_loader: nnU-Net's nnUNetDataLoader. It is only read.
            threads: that work on samples; None for `default_threads()`. Loaders with the same number share them.
            seed: of all random numbers, below 2**64; None to draw one (`.seed` tells it).
            rank: of torch.distributed. Ranks have disjoint random streams.
            role: "train", "val", or a number from 2 on. Loaders of one run with different roles have disjoint streams.
            memory_budget: bytes that batches, workspaces and cached properties may take, or a text such as "4GB"; None for a
                quarter of the memory that is free, and at most 16 GiB.
            on_bad_case: "raise", or "skip" to go on without cases whose files are bad.
            max_skipped: share of the cases that "skip" may go on without, rounded down; at least one may always be skipped.
                With more, the next batch is a SampleError that lists them.
            patience: seconds that a file is tried again where the disk or the file server does not answer (EIO, ESTALE,
                ETIMEDOUT and the like), or where a file that was there is gone; 0 to give up at once. Meanwhile it is told as
                a stall. The batches are the same.
            pin_memory: whether batches are in pinned memory; None for where there is an accelerator.
            prefetch: batches made ahead, at the most; None chooses by threads and batch size. As many as keep the threads
                busy at first, and one more for each time that the training had to wait although a thread had been idle.
            check_finite: NaN and infinite voxels make a case bad.
            keep_blocks: whether blocks of the files stay decompressed as far as the budget has room. The batches are the same
                either way.
            budget_binds: whether a budget that does not hold what batches need is refused, or that much is taken and reported;
                None for the first where a budget is given.
            unrestricted_pickles: read properties (`CASE.pkl`) with Python's own unpickler, which runs whatever code a file
                holds. It is for files of your own that hold more than nnU-Net writes. By default such a case is bad.
            stall_after: seconds; a batch that takes longer is reported once, with what each thread is doing.
            abort_after: seconds; a batch that takes longer is a StallError. None waits for ever.
            origin: the training that it belongs to, for the line of code in errors that makes a sample again.
            report: takes what has to be said while batches are made, such as stalls.

        Raises:
            NotSupportedError: the loader or its data set has something else where native code stands for nnU-Net's: in its
                class, its object, or the modules that they are from.
            BadCaseError: the first case cannot be read (with "skip": no case can).
            MemoryBudgetError: the budget that was given does not hold two batches and the threads' working memory.
            ResourceError: the system does not give the process so many threads.
            ValueError: an argument is out of range.
        """
        source = read_off(data_loader)
        threads = default_threads() if threads is None else int(threads)
        if memory_budget is None:
            memory_budget, budget_binds = default_budget() // 2, bool(budget_binds)
        if prefetch is None:
            prefetch = math.ceil(threads / source.sampling["batch_size"]) + 2
        if pin_memory is None:
            pin_memory = torch.accelerator.is_available() and _core.torch_version is not None
        return cls(
            source.cases,
            source.folder,
            source.sampling,
            compile_transforms(source.transforms),
            dims=source.dims,
            annotated_key=source.annotated_key,
            threads=threads,
            seed=draw_seed() if seed is None else int(seed),
            rank=int(rank),
            role=_ROLES[role] if isinstance(role, str) else int(role),
            memory_budget=parse_bytes(memory_budget),
            on_bad_case=on_bad_case,
            max_skipped=float(max_skipped),
            patience=float(patience),
            pin_memory=bool(pin_memory),
            prefetch=int(prefetch),
            check_finite=check_finite,
            keep_blocks=keep_blocks,
            budget_binds=budget_binds is None or budget_binds,
            unrestricted_pickles=unrestricted_pickles,
            stall_after=float(stall_after),
            abort_after=abort_after,
            origin=origin,
            report=report,
        )

    def _make(self) -> _core.Loader:
        options = _core.LoaderOptions(
            cases=self._cases,
            sampling=_core.SamplingOptions(**self._sampling),
            dims=self._dims,
            seed=self.seed,
            rank=self.rank,
            role=self.role,
            threads=self.threads,
            prefetch=self._prefetch,
            memory_budget=self.memory_budget,
            budget_binds=self._budget_binds,
            skip_bad_cases=self.on_bad_case == "skip",
            max_skipped=self.max_skipped,
            patience=self.patience,
            check_finite=self._check_finite,
            keep_blocks=self._keep_blocks,
        )
        # The core keeps this function: it must not keep the loader.
        folder, names, annotated = self._folder, self._names, self._annotated_key
        unrestricted = self._unrestricted_pickles

        def locations(number: int) -> ClassLocations:
            file = folder / f"{names[number]}.pkl"
            with noted():
                return class_locations(file, read_properties(file, unrestricted), annotated)

        core = _core.Loader(options, self.pipeline.core, locations, self._memory, self._first_look, self._first_stall)
        taken = core.statistics().memory_budget
        if taken > self.memory_budget:
            self.report(
                f"fastnnunet_loader: two batches and the working memory of {self.threads} threads need at least "
                f"{taken / 2**20:.0f} MiB, more than this loader's share of the free memory "
                f"({self.memory_budget / 2**20:.0f} MiB). No memory budget was given, so it is used anyway; fewer threads need "
                "less."
            )
            self.memory_budget = taken
        return core

    def _opened(self) -> _core.Loader:
        if self._core is None:
            raise LoaderClosedError("[loader] expected an open loader, got one that was closed")
        return self._core

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        """The next batch: 'data' (B, C, X, Y, Z) float32, 'target' int16 or bool (B, R, X, Y, Z) or a list of them for deep
        supervision, and 'keys', the case of each sample. 2D batches have no X. The tensors keep the batch's memory, which
        is written again only when the last of them is gone.

        Raises:
            BadCaseError: a case cannot be read, and on_bad_case is "raise".
            SampleError: a sample failed otherwise; the original is the cause. The next call goes on with the next batch. Or
                more cases are bad than `max_skipped` says.
            MemoryBudgetError: the caller still refers to as many batches as the budget allows.
            StallError: the batch has taken longer than `abort_after`. The next call waits for it again.
            LoaderClosedError: the loader was closed, or made before a fork.
        """
        core = self._opened()
        try:
            data, targets, numbers, _ = core.next(self._first_look, self._report_stall)
        except SampleError as error:
            self._add_reproduction(error)
            raise
        if self.on_bad_case == "skip":
            self._report_bad_cases()
        batch: dict[str, Any] = {"data": self._tensor(data)}
        tensors = [self._tensor(target) for target in targets]
        batch["target"] = tensors if core.target_is_list else tensors[0]
        batch["keys"] = [self._names[number] for number in numbers]
        return batch

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        if self._memory == "ordinary":
            over = torch.from_numpy(array)
            return over.view(torch.bfloat16) if over.dtype is torch.uint16 else over
        # A view of the tensor that torch allocated, and not of its memory: only so does a copy from a part of it, too, keep
        # torch from giving the block out again before the copy is done.
        block: torch.Tensor = torch.ops.fastnnunet_loader.block(array.ctypes.data)
        tensor: torch.Tensor = block.view(_TORCH_TYPES[array.dtype.str]).view(array.shape)
        tensor._batch = array  # type: ignore[attr-defined]  # the batch counts as in use as long as its tensors are there
        return tensor

    def _report_bad_cases(self) -> None:
        for bad in self.bad_cases:
            if bad.name not in self._reported:
                self._reported.add(bad.name)
                _log.warning(
                    "going on without case %s: [%s] %s (found at step %d)\n%s",
                    *(bad.name, bad.file, bad.reason, bad.step, self.reproduction(bad)),
                )

    def reproduction(self, of: SampleError | BadCase) -> str:
        """What makes the sample of an error or of a skipped case again: a line of Python, and the command that draws it."""
        seed, rank, role = (of.seed, of.rank, of.role) if isinstance(of, SampleError) else (self.seed, self.rank, self.role)
        identity = {"seed": seed, "rank": rank, "role": role, "step": of.step, "slot": of.slot, "attempt": of.attempt}
        text = line(self.origin, **identity)
        return text if self.origin is None else f"{text}\n{command(self.origin, **identity)}"

    def _add_reproduction(self, error: SampleError) -> None:
        text = self.reproduction(error)
        error.reproduce = text.splitlines()[0]
        error.args = ("\n  ".join([str(error), *text.splitlines()]),)

    def _activity(self) -> str:
        core = self._core
        if core is None:
            return ""
        return f"loader of role {self.role}, rank {self.rank}, seed {self.seed}: {describe_activity(core)}"

    def dump(self, file: TextIO | None = None) -> str:
        """Prints to `file` (standard error), and returns, what each thread is doing: batch, sample, case, stage, since when.

        May be called at any time and from any thread; `fastnnunet_loader.dump` tells of all loaders.

        Raises:
            LoaderClosedError: the loader was closed.
        """
        self._opened()
        text = self._activity()
        print(text, file=sys.stderr if file is None else file)
        return text

    @property
    def _first_look(self) -> float:
        return self.stall_after if self.abort_after is None else min(self.stall_after, self.abort_after)

    def _report_stall(self, waited: float) -> float | None:
        doing = self._activity()
        self._abort_if_late(waited, "a batch", doing)
        self.report(f"fastnnunet_loader: a batch has taken more than {self.stall_after:g} s. {doing}")
        return self.abort_after

    def _abort_if_late(self, waited: float, what: str, doing: str) -> None:
        if self.abort_after is not None and waited >= self.abort_after:
            raise StallError(f"[loader] expected {what} within {self.abort_after:g} s, got none. {doing}")

    def _first_stall(self, waited: float) -> float | None:
        opening, doing = "opening the files of the first cases has", ""
        if self.pipeline.fallbacks:
            opening = "opening the first cases, and the first sample, have"
            stacks = "\n".join(python_stacks())
            doing = f"Its transforms in Python: {', '.join(self.pipeline.fallbacks)}\n{stacks}"
        self._abort_if_late(waited, "the first cases and the first sample", doing)
        self.report(f"fastnnunet_loader: {opening} taken more than {self.stall_after:g} s. {doing}".rstrip())
        return self.abort_after

    def sample(self, step: int, slot: int, attempt: int = 0) -> dict[str, Any]:
        """Makes one sample by itself, the same that stands in the batch of that step, and leaves the loader where it is.

        Args:
            step: number of the batch.
            slot: place in the batch.
            attempt: 0, or how many draws of this sample were given up before, for skipped cases.

        Returns:
            'data' (C, X, Y, Z) float32, 'target' (R, X, Y, Z) int16 or bool or a list of them, and 'key', the case. 2D samples
            have no X.

        Raises:
            SampleError: it could not be made. Bad cases count as good here, so theirs are raised as well.
            LoaderClosedError: the loader was closed.
        """
        if not 0 <= slot < self.batch_size:
            raise ValueError(f"[slot] expected a number from 0 to {self.batch_size - 1}, got {slot}")
        try:
            image, targets, is_list, number = self._opened().make(step, slot, attempt)
        except SampleError as error:
            self._add_reproduction(error)
            raise
        tensors = [torch.from_numpy(target) for target in targets]
        return {
            "data": torch.from_numpy(image),
            "target": tensors if is_list else tensors[0],
            "key": self._names[number],
        }

    @property
    def step(self) -> int:
        """The number of the next batch, counted from 0."""
        return self._opened().step

    @property
    def bad_cases(self) -> list[BadCase]:
        """The cases that are skipped."""
        return [BadCase(*bad) for bad in self._opened().bad_cases()]

    @property
    def keys(self) -> list[str]:
        """The names of all cases."""
        return list(self._names)

    @property
    def batch_size(self) -> int:
        """The number of samples in a batch."""
        return int(self._sampling["batch_size"])

    @property
    def fingerprint(self) -> str:
        """Of cases, patch sizes and batch size: a state belongs to loaders with the same."""
        described = repr((self._names, sorted(self._sampling.items()), self._dims))
        return hashlib.sha256(described.encode()).hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        """What continues with the next batch: plain numbers and strings. After `close()` it is what it was then."""
        if self._core is None and self._state_at_end is not None:
            return self._state_at_end
        return self._state(self._opened())

    def _state(self, core: _core.Loader) -> dict[str, Any]:
        bad_cases = [BadCase(*bad) for bad in core.bad_cases()]
        return {
            "version": _STATE_VERSION,
            "seed": self.seed,
            "rank": self.rank,
            "role": self.role,
            "step": core.step,
            "excluded": {bad.name: bad.step for bad in bad_cases},
            "skipped": {bad.name: _details(bad) for bad in bad_cases},
            "fingerprint": self.fingerprint,
            "versions": versions(),
            "transforms": self.pipeline.digest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a state: its seed, step and skipped cases. Rank and role stay this loader's.

        A case that was skipped is tried again, and `report` told so, unless its files are what they were then; with
        on_bad_case="raise" every case is. Where it is still bad, the batches are those that skip it, or its error is raised.

        Warns where the state is from other cases, patches, batch sizes or transforms, or from other versions of nnU-Net and
        batchgeneratorsv2: batches will not be those that it would have given.

        Raises:
            ValueError: the state is not one, or of a later version.
        """
        if not isinstance(state, dict) or state.get("version") != _STATE_VERSION:
            version = state.get("version") if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"[state] expected version {_STATE_VERSION}, got {version}")
        if state["fingerprint"] != self.fingerprint:
            warnings.warn(
                "[state] expected the cases, patch sizes and batch size that it was saved with, got others: "
                "the batches will differ from those of an uninterrupted run",
                stacklevel=2,
            )
        elif changed := self.differences(state):
            warnings.warn(
                f"[state] expected what it was saved with, got {'; '.join(changed)}: the batches will differ from those of an "
                "uninterrupted run",
                stacklevel=2,
            )
        core = self._opened()
        if state["seed"] != self.seed:
            _end(core)
            self.seed = int(state["seed"])
            core = self._core = self._make()
        core.set_step(int(state["step"]), [astuple(bad) for bad in self._still_skipped(_skipped_in(state))])

    def _still_skipped(self, skipped: list[BadCase]) -> list[BadCase]:
        files = dict(zip(self._names, self._cases, strict=True))
        known = [bad for bad in skipped if bad.name in files]  # a state may be of other cases
        if self.on_bad_case != "skip":
            still, why = [], "because on_bad_case is 'raise'"
        else:
            still = [bad for bad in known if bad.stamp and _core.stamp_of_case(files[bad.name]) == bad.stamp]
            why = "because their files may have changed since"
        again = [bad for bad in known if bad not in still]
        if again:
            listed = "".join(f"\n  {bad.name}: [{bad.file}] {bad.reason}" for bad in again)
            self.report(f"fastnnunet_loader, role {self.role}: trying {len(again)} skipped case(s) again, {why}:{listed}")
        return still

    def differences(self, state: dict[str, Any]) -> list[str]:
        """Say how versions and transforms differ from those of a state; [] where they do not, or the state does not tell."""
        return differences(state, self.pipeline.digest)

    def limit_memory(self, memory_budget: int) -> None:
        """Keep to another memory budget, in bytes, from the next batch on. What was made ahead or kept is dropped.

        Raises:
            MemoryBudgetError: it does not hold two batches and the threads' working memory, and somebody gave it.
        """
        if memory_budget != self._asked:
            self.reopen(role=self.role, memory_budget=memory_budget)

    def reopen(self, *, role: int, memory_budget: int) -> None:
        """Go on after `close()`, or with other settings. With another role the batches are others; the step stays."""
        state = self.state_dict()
        core, self._core = self._core, None
        if core is not None:
            _end(core)
        self.role, self.memory_budget, self._asked = role, memory_budget, memory_budget
        self._core = self._make()
        self._state_at_end = None
        self._core.set_step(int(state["step"]), [astuple(bad) for bad in _skipped_in(state)])
        _open.add(self)

    def stats(self) -> LoaderStats:
        """What the loader has done so far."""
        fallbacks = tuple(str(fallback) for fallback in self.pipeline.fallbacks)
        return loader_stats(self._opened(), self.batch_size, fallbacks, gpu_stats(self._device))

    def describe(self) -> str:
        """Settings and transforms, for a log."""
        b = self._sampling
        text = (
            f"{len(self._names)} cases, batches of {b['batch_size']} x {tuple(b['final_patch_size'][3 - self._dims :])}, "
            f"{self.threads} threads, seed {self.seed}, rank {self.rank}, "
            f"memory budget {self.memory_budget / 2**30:.2f} GiB, "
            f"{'pinned' if self.pin_memory else 'ordinary'} memory\n"
        )
        if self._core is None:
            return text + self.pipeline.describe()
        now = self._core.statistics()
        text += self.pipeline.describe(now.samples)
        sampling, reading, *_ = now.stages
        if reading.time.count:
            text += f"\n{1e3 * reading.time.total / reading.time.count:8.2f} ms for reading its voxels out of files"
            text += f"\n{1e3 * sampling.time.total / sampling.time.count:8.2f} ms for choosing it and opening its files"
        return text

    def sampled(self, step: int, slot: int, attempt: int = 0) -> tuple[str, bool, tuple[tuple[int, int], ...]]:
        """Which case a sample takes, whether foreground is forced, and the patch (lower, upper) on each axis.

        Bad cases count as good here: this asks for the first choice.
        """
        number, forced, lower, upper = self._opened().sampled(step, slot, attempt)
        return self._names[number], forced, tuple(zip(lower, upper, strict=True))

    def sample_id(self, step: int, slot: int, attempt: int = 0) -> dict[str, int]:
        """What names a sample's random numbers to a pipeline: `loader.pipeline(image=..., **loader.sample_id(step, slot))`."""
        return {"seed": self.seed, "rank": self.rank, "role": self.role, "step": step, "slot": slot, "attempt": attempt}

    def patch(self, step: int, slot: int, attempt: int = 0) -> Patch:
        """Reads what the transforms of a sample start from: the whole patch, as nnU-Net cuts it.

        Bad cases count as good here, as in `sampled`.

        Raises:
            StorageError: a file of the case cannot be read.
            LoaderClosedError: the loader was closed.
        """
        number, forced, lower, upper = self._opened().sampled(step, slot, attempt)
        case = self._cases[number]
        image = _core.open_volume(case.image, "data").read_image(lower, upper)
        segmentation = _core.open_volume(case.segmentation, "seg").read_segmentation(lower, upper)
        if str(case.previous) not in ("", "."):
            previous = _core.open_volume(case.previous, "seg").read_segmentation(lower, upper)
            segmentation = np.concatenate([segmentation, previous])
        if self._dims == 2:
            image, segmentation = image[:, 0], segmentation[:, 0]
        return Patch(case.name, forced, tuple(zip(lower, upper, strict=True)), image, segmentation)

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return getattr(self, "_core", None) is None

    def close(self) -> None:
        """Ends the threads' work on this loader and frees its memory. Batches that were handed out stay valid."""
        core, self._core = getattr(self, "_core", None), None
        if core is None:
            return
        with contextlib.suppress(FastnnUNetError):  # in a forked child there is nothing to tell
            self._state_at_end = self._state(core)
        if makes_a_sample():
            # The garbage collector found the loader in a thread that makes samples, which would wait for itself.
            _end_elsewhere(core)
            return
        try:
            _end(core)
        except BaseException:  # Ctrl-C, or what another signal's handler raised
            _end_elsewhere(core)
            raise

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _details(bad: BadCase) -> dict[str, Any]:
    return {"file": bad.file, "reason": bad.reason, "slot": bad.slot, "attempt": bad.attempt, "stamp": bad.stamp}


def _skipped_in(state: dict[str, Any]) -> list[BadCase]:
    """The skipped cases of a state. States of older versions tell their names and steps only."""
    details, unknown = state.get("skipped", {}), {"file": "", "reason": "found bad before the training was continued"}
    return [
        BadCase(name=str(name), step=int(step), **{**unknown, **details.get(name, {})})
        for name, step in state["excluded"].items()
    ]


def _end_elsewhere(core: _core.Loader) -> None:
    core.close(timedelta(0))  # nothing new is begun
    threading.Thread(target=_end, args=(core,), name="fastnnunet_loader close").start()


def _end(core: _core.Loader) -> None:
    """Close, with Ctrl-C heard meanwhile. What is still in Python code after a second is asked to stop."""
    begin = time.monotonic()
    while not core.close(timedelta(seconds=0.1)):
        waited = time.monotonic() - begin
        if waited > 10 or not core.activity()[1]:
            return
        if waited > 1:
            interrupt(thread[0] for thread in core.activity()[-1])
