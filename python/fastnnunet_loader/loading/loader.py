"""The data loader: nnU-Net's batches, made by threads of this process."""

from __future__ import annotations

import logging
import math
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, TextIO

import numpy.typing as npt
import torch

from ..errors import SampleError
from ..sample_id import role_number
from ..settings import MAX_SKIPPED, PATIENCE, STALL_AFTER, LoaderSettings, in_units, parse_bytes
from ..system import Memory, available_cores, default_budget, default_threads, memory
from . import torch_memory
from .core_loader import CoreLoader
from .gpu import gpu_stats
from .opened import dump
from .reading.cases import read_off
from .reading.patches import Patch, read_patch
from .sample_lines import Origin
from .state import BadCase
from .statistics import LoaderStats, loader_stats
from .tensors import as_tensor

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
]

_log = logging.getLogger("fastnnunet_loader")


def draw_seed() -> int:
    """Draw a seed at random, from 0 to 2**63 - 1."""
    return secrets.randbits(63)


class DataLoader(CoreLoader):
    """Batches without end from the cases of an nnU-Net data loader, made by threads of this process.

    `DataLoader.from_nnunet` makes one. It is an iterator and a context manager. Every batch is a function of (seed, rank, role,
    step). `close()` stops the work of its threads and frees its memory.
    """

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
        on_bad_case: Literal["raise", "skip"] = "raise",
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
            threads: number of threads that make samples; None for `default_threads()`. Loaders with the same number share
                their threads.
            seed: of all random numbers, below 2**64; None to draw one, which is then in `.seed`.
            rank: of torch.distributed. Ranks have disjoint random streams.
            role: "train", "val", or a number from 2 on. Loaders of one run with different roles have disjoint streams.
            memory_budget: memory limit in bytes, or as text such as "4GB"; None for a quarter of the free memory, at most
                16 GiB.
            on_bad_case: "raise", or "skip" to skip cases whose files are bad.
            max_skipped: largest share of the cases that "skip" may skip, rounded down; one case may always be skipped. If
                more cases are bad, the next batch raises a SampleError that lists them.
            patience: seconds for which reading is retried if a disk or file server does not answer (EIO, ESTALE, ETIMEDOUT
                and similar errors), or if a file disappeared; 0 gives up at once. The wait is reported as a stall. The
                batches stay the same.
            pin_memory: whether batches are in pinned memory; None pins them if there is an accelerator.
            prefetch: largest number of prefetched batches; None chooses it by threads and batch size. At first as many are
                prefetched as keep the threads busy, and one more whenever the training waited while a thread was idle.
            check_finite: treat cases with NaN or infinite voxels as bad cases.
            keep_blocks: keep blocks of the files decompressed as far as the budget allows. The batches are the same either
                way.
            budget_binds: whether a budget that is too small is an error, or is exceeded and reported; None makes it an error
                if a budget is given.
            unrestricted_pickles: read properties (`CASE.pkl`) with Python's own unpickler, which runs any code in the file.
                By default, a case whose properties hold anything that nnU-Net does not write is a bad case.
            stall_after: seconds after which a slow batch is reported once, with what each thread is doing.
            abort_after: seconds after which a slow batch raises a StallError; None waits.
            origin: the training that the loader belongs to. Errors then print the line of code that makes a sample again.
            report: takes messages while batches are made, such as reports of stalls.

        Raises:
            NotSupportedError: the loader or its data set has code of its own, in its class, its object or their modules,
                which native code would replace.
            BadCaseError: the first case cannot be read; with "skip", no case can.
            MemoryBudgetError: the given budget does not hold two batches and the threads' working memory.
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
            pin_memory = torch_memory.accelerator() is not None and torch_memory.built_against() is not None
        settings = LoaderSettings(
            threads=threads,
            seed=draw_seed() if seed is None else int(seed),
            memory_budget=memory_budget,
            on_bad_case=on_bad_case,
            max_skipped=float(max_skipped),
            patience=float(patience),
            check_finite=check_finite,
            unrestricted_pickles=unrestricted_pickles,
            stall_after=float(stall_after),
            abort_after=abort_after,
        )
        return cls(
            source,
            settings,
            memory_budget=parse_bytes(memory_budget),
            budget_binds=budget_binds is None or budget_binds,
            rank=int(rank),
            role=role_number(role),
            pin_memory=bool(pin_memory),
            prefetch=int(prefetch),
            keep_blocks=keep_blocks,
            origin=origin,
            report=report,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        """The next batch: 'data' (B, C, X, Y, Z) float32, 'target' int16 or bool (B, R, X, Y, Z) or a list of them for deep
        supervision, and 'keys', the case of each sample. 2D batches have no X. The memory of a batch is reused only when
        its last tensor is gone.

        Raises:
            BadCaseError: a case cannot be read, and on_bad_case is "raise".
            SampleError: a sample failed for another reason, which is the cause; the next call returns the next batch. Or more
                cases are bad than `max_skipped` allows.
            MemoryBudgetError: the caller keeps references to as many batches as the budget allows.
            StallError: the batch has taken longer than `abort_after`. The next call waits for the same batch.
            LoaderClosedError: the loader was closed, or made before a fork.
        """
        core = self._opened()
        try:
            data, targets, numbers, _ = core.next(self._stalls.first_look, self._report_stall)
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
        return as_tensor(array, self._memory)

    def _report_bad_cases(self) -> None:
        for bad in self.bad_cases:
            if bad.name not in self._reported:
                self._reported.add(bad.name)
                _log.warning(
                    "skipping case %s: [%s] %s (found at step %d)\n%s",
                    *(bad.name, bad.file, bad.reason, bad.step, self.reproduction(bad)),
                )

    def dump(self, file: TextIO | None = None) -> str:
        """Print to `file` (default: standard error) and return what each thread is doing: batch, sample, case, stage, how long.

        It may be called at any time and from any thread. `fastnnunet_loader.dump` does the same for all loaders.

        Raises:
            LoaderClosedError: the loader was closed.
        """
        self._opened()
        text = self._activity()
        print(text, file=sys.stderr if file is None else file)
        return text

    def sample(self, step: int, slot: int, attempt: int = 0) -> dict[str, Any]:
        """Make one sample alone: the one that is in the batch of that step. The loader's own position does not change.

        Args:
            step: number of the batch.
            slot: position in the batch.
            attempt: how many times this sample was drawn before because its case was bad.

        Returns:
            'data' (C, X, Y, Z) float32, 'target' (R, X, Y, Z) int16 or bool or a list of them, and 'key', the case. 2D samples
            have no X.

        Raises:
            SampleError: the sample could not be made. The errors of skipped cases are raised, too.
            LoaderClosedError: the loader was closed.
        """
        if not 0 <= slot < self.batch_size:
            raise ValueError(f"[slot] expected a number from 0 to {self.batch_size - 1}, got {slot}")
        try:
            image, targets, is_list, number = self._opened().make(step, slot, attempt)
        except SampleError as error:
            self._add_reproduction(error)
            raise
        tensors = [as_tensor(target, "ordinary") for target in targets]
        return {
            "data": torch.from_numpy(image),
            "target": tensors if is_list else tensors[0],
            "key": self._names[number],
        }

    @property
    def keys(self) -> list[str]:
        """The names of all cases."""
        return list(self._names)

    def stats(self) -> LoaderStats:
        """Return what the loader has done so far."""
        fallbacks = tuple(str(fallback) for fallback in self.pipeline.fallbacks)
        return loader_stats(self._opened(), self.batch_size, fallbacks, gpu_stats(self._device))

    def describe(self) -> str:
        """Return settings and transforms as text, for a log."""
        b = self._sampling
        patch = tuple(b["final_patch_size"][3 - self._source.dims :])
        text = (
            f"{len(self._names)} cases, batches of {b['batch_size']} x {patch}, "
            f"{self.threads} threads, seed {self.seed}, rank {self.rank}, "
            f"memory budget {in_units(self.memory_budget)}, "
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
        """Return the case of a sample, whether foreground is forced, and the patch as (lower, upper) on each axis.

        Skipped cases are not left out.
        """
        number, forced, lower, upper = self._opened().sampled(step, slot, attempt)
        return self._names[number], forced, tuple(zip(lower, upper, strict=True))

    def patch(self, step: int, slot: int, attempt: int = 0) -> Patch:
        """Read the patch that the transforms of a sample start from, as nnU-Net crops it.

        Skipped cases are not left out.

        Raises:
            StorageError: a file of the case cannot be read.
            LoaderClosedError: the loader was closed.
        """
        number, forced, lower, upper = self._opened().sampled(step, slot, attempt)
        return read_patch(self._source.cases[number], forced, lower, upper, self._source.dims)

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
