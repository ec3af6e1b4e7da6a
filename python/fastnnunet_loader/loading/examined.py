"""What a loader tells of itself and of single samples, while its batches go on."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import torch

from ..errors import SampleError
from ..settings import in_units
from .core_loader import CoreLoader
from .gpu import gpu_stats
from .reading.patches import Patch, read_patch
from .statistics import LoaderStats, loader_stats
from .tensors import as_tensor

__all__ = ["ExaminedLoader"]


class ExaminedLoader(CoreLoader):
    """A loader that can be asked for statistics, settings, activity, single samples and patches."""

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
            slot: position in this loader's batch.
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
            image, targets, is_list, moved, number = self._opened().make(step, slot, attempt)
        except SampleError as error:
            self._add_reproduction(error)
            raise
        tensors = [as_tensor(target, "ordinary") for target in targets]
        keys = self._source.keys
        made: dict[str, Any] = {keys.image: torch.from_numpy(image)}
        if tensors:
            made[keys.label] = tensors if is_list else tensors[0]
        if moved is not None:
            made[keys.target] = torch.from_numpy(moved)
        made["key" if keys.case == "keys" else keys.case] = self._names[number]
        made |= {name: values[number] for name, values in self._source.per_case.items()}
        return made

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
        targets = " with regression targets" if self._source.targets else ""
        text = (
            f"{len(self._names)} cases{targets}, batches of {b['batch_size']} x {patch}, "
            f"{self.threads} threads, seed {self.seed}, rank {self._share or self.rank}, "
            f"memory budget {in_units(self.memory_budget)}, "
            f"{'pinned' if self.pin_memory else 'ordinary'} memory\n"
        )
        if self._core is None:
            return text + self.pipeline.describe()
        if self._kept_copies is not None:
            text += f"{self._kept_copies.describe()}\n"
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
        return read_patch(self._located(self._source.cases[number]), forced, lower, upper, self._source.dims)
