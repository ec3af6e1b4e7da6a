"""What PyTorch's loader has as well: epochs, a length, a data set, a state within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ... import _core
from ..examined import ExaminedLoader
from .batches import B
from .cases import Cases
from .epochs import Epoch, Progress

__all__ = ["IteratedLoader"]


class IteratedLoader(ExaminedLoader, Iterator[B]):
    """A loader with epochs, if it has a length."""

    _progress = Progress()
    _resumed = 0, 0  # a step, and the batches of its epoch before it, of the state that was loaded

    def __iter__(self) -> Iterator[B]:
        """The batches of an epoch, or the loader itself if it has no length.

        After `load_state_dict`, the first epoch has the batches that were left of it. It may be begun again until its first
        batch is taken, as frameworks do to see whether a loader can be iterated.
        """
        if self._source.batches_per_epoch is None:
            return self
        step, done = self._resumed
        self._progress = Progress(done if self.step == step else 0)
        return Epoch(self, self._progress)

    def __len__(self) -> int:
        """The number of batches of an epoch.

        Raises:
            TypeError: the loader gives batches without end.
        """
        if self._source.batches_per_epoch is None:
            raise TypeError("[loader] expected batches_per_epoch for a length, got none: batches have no end")
        return self._source.batches_per_epoch

    def __bool__(self) -> bool:
        return True

    @property
    def dataset(self) -> Cases:
        """The cases as whole volumes, without patches and transforms."""
        return Cases(self._source, self._located)

    @property
    def num_workers(self) -> int:
        """The number of worker processes: 0, since threads of this process do their work."""
        return 0

    @property
    def drop_last(self) -> bool:
        """Whether incomplete batches are left out: all batches are complete."""
        return True

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state: its seed, step and skipped cases. Rank and role stay this loader's.

        Loaders of `from_folder` and `from_arrays` go on with any number of ranks, if all ranks together make as many samples of
        a batch as before. The batches are those that would have followed.

        The next epoch has the batches that were left of the state's; if none were, it is a whole one. Skipped cases whose files
        have changed are tried again, with a message to `report`; with on_bad_case="raise", all are. A case that is still bad is
        skipped from the same step on as before, or its error is raised.

        A warning tells if the state is from other cases, patches, batch sizes or transforms, or from other versions of nnU-Net
        or batchgeneratorsv2: the batches then differ from those that would have followed.

        Raises:
            ValueError: this is no state, or one of a later version or of another global batch size.
        """
        super().load_state_dict(state)
        self._progress = Progress.of_state(state, self._source.batches_per_epoch)
        self._resumed = int(state["step"]), self._progress.done

    def _state(self, core: _core.Loader) -> dict[str, Any]:
        state = super()._state(core)
        if self._source.batches_per_epoch is not None:
            state["batches_of_epoch"] = self._progress.done
        return state

    def __repr__(self) -> str:
        shape = tuple(self._sampling["final_patch_size"][3 - self._source.dims :])
        length = self._source.batches_per_epoch
        ends = "without end" if length is None else f"{length} an epoch"
        in_python = len(self.pipeline.fallbacks)
        transforms = f"{self.pipeline.leaf_count - in_python} transforms native, {in_python} in Python"
        state = ", closed" if self.closed else ""
        return (
            f"DataLoader({len(self._names)} cases, batches of {self.batch_size} x {shape}, {ends}, {self.threads} threads, "
            f"seed {self.seed}, rank {self._share or self.rank}, {transforms}{state})"
        )
