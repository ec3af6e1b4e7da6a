"""A loader of the core with all that makes it again: its cases, its settings and its state."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from .. import _core
from ..errors import FastnnUNetError, LoaderClosedError, ResourceError, SampleError
from ..sample_id import SampleId
from ..settings import LoaderSettings, in_units
from ..threads import limits
from ..transforms.origins import differences
from ..transforms.pipeline import compile_transforms
from ..transforms.python import makes_a_sample, noted
from .activity import describe_activity
from .gpu import device_in_use
from .opened import end, end_elsewhere, opened
from .reading.source import ClassLocations, Source, in_place
from .sample_lines import Origin, command, line
from .stalls import Stalls
from .state import BadCase, check_batch_size, check_version, fingerprint, make_state, skipped_in, still_skipped
from .storage.copies import CaseCopies, as_it_is, copies_of

__all__ = ["CoreLoader", "memory_kind"]


def memory_kind(pin_memory: bool) -> str:
    """Where batches are, as the core calls it."""
    return "pinned" if pin_memory else "ordinary"


class CoreLoader:
    """What a `DataLoader` is made of: the core's loader is opened, closed, saved, and opened again.

    Args:
        source: cases, sampling and transforms.
        settings: with a number of threads and a seed.
        memory_budget, budget_binds, rank, role, pin_memory, most_threads, prefetch: as `from_nnunet` has them.
        keep_blocks, origin, report: as `from_nnunet` has them.
    """

    def __init__(
        self,
        source: Source,
        settings: LoaderSettings,
        *,
        memory_budget: int,
        budget_binds: bool,
        rank: int,
        role: int,
        pin_memory: bool,
        most_threads: int,
        prefetch: int,
        keep_blocks: bool,
        origin: Origin | None,
        report: Callable[[str], None],
    ) -> None:
        if not source.cases:
            raise ValueError("[data loader] expected at least one case, got none")
        assert settings.threads is not None and settings.seed is not None
        self.seed = settings.seed
        self._share = source.share
        self.rank = rank if source.share is None else source.share.rank
        self.role = role
        self.threads = settings.threads
        self.most_threads = most_threads
        self.memory_budget = self._asked = memory_budget
        self.on_bad_case = settings.on_bad_case
        self.max_skipped = settings.max_skipped
        self.patience = settings.patience
        self.stall_after = settings.stall_after
        self.abort_after = settings.abort_after
        self.report = report  # takes what has to be said while batches are made
        self.origin = origin  # the training that this loader belongs to
        self.pin_memory = pin_memory
        self._memory = memory_kind(pin_memory)
        self.pipeline = compile_transforms(source.transforms)
        if source.targets:
            self.pipeline.require_moves_of_targets()
        self._source = source
        self._names = [case.name for case in source.cases]
        self._sampling = source.sampling
        self._prefetch = prefetch
        self._check_finite = settings.check_finite
        self._keep_blocks = keep_blocks
        self._budget_binds = budget_binds
        self._unrestricted_pickles = settings.unrestricted_pickles
        # Of the thread that trains: statistics are asked for by others, too.
        self._device = device_in_use()
        self._reported: set[str] = set()
        self._cache = settings.cache
        self._kept_copies: CaseCopies | None = None
        self._core: _core.Loader | None = None
        self._state_at_end: dict[str, Any] | None = None
        try:
            self._core = self._make()
        except SampleError as error:
            if origin is not None:
                self._add_reproduction(error)
            raise
        opened.add(self)

    def _make(self) -> _core.Loader:
        cache = None if self._source.kept else self._cache
        batches = self._source.batches
        samples = None if batches is None else batches * self.global_batch_size
        copies = copies_of(self._source.cases, cache, self._sampling["patch_size"], samples, self.report)
        try:
            core = self._made_with(copies)
        except BaseException:
            if copies is not None:
                copies.close()
            raise
        if copies is not None:
            copies.follow(core)
        self._kept_copies = copies
        return core

    def _end(self, core: _core.Loader) -> None:
        """End a core's work, and what copies files for it, which a thread of the core may wait for."""
        self._end_kept_copies()
        end(core)

    def _end_kept_copies(self) -> None:
        copies, self._kept_copies = self._kept_copies, None
        if copies is not None:
            copies.close()

    @property
    def _located(self) -> Callable[[_core.CaseFiles], _core.CaseFiles]:
        """A function from a case to the case with the paths that its files are read from. It does not keep the loader."""
        return as_it_is if self._kept_copies is None else self._kept_copies.located

    def _made_with(self, copies: CaseCopies | None) -> _core.Loader:
        options = _core.LoaderOptions(
            cases=self._source.cases,
            sampling=_core.SamplingOptions(
                **self._sampling, first_slot=self._first_slot, global_batch_size=self.global_batch_size
            ),
            dims=self._source.dims,
            seed=self.seed,
            rank=self._rank_of_streams,
            role=self.role,
            threads=self.threads,
            most_threads=self.most_threads,
            prefetch=self._prefetch,
            memory_budget=self.memory_budget,
            budget_binds=self._budget_binds,
            skip_bad_cases=self.on_bad_case == "skip",
            max_skipped=self.max_skipped,
            patience=self.patience,
            check_finite=self._check_finite,
            keep_blocks=self._keep_blocks,
            places=copies,
        )
        # The core keeps this function: it must not keep the loader.
        read, unrestricted = self._source.locations, self._unrestricted_pickles
        find = in_place if copies is None else copies.find

        def locations(number: int) -> ClassLocations:
            with noted():
                return read(number, unrestricted, find)

        seen = (self._memory, self._stalls.first_look, self._first_stall)
        try:
            core = _core.Loader(options, self.pipeline.core, locations, *seen)
        except ResourceError as error:  # too few threads
            raise ResourceError(f"{error}{limits()}") from error
        taken = core.statistics().memory_budget
        if taken > self.memory_budget:
            self.report(
                f"fastnnunet_loader: two batches and the working memory of {self.threads} threads need at least "
                f"{in_units(taken)}, more than this loader's share of the free memory "
                f"({in_units(self.memory_budget)}). No memory budget was given, so it is used anyway; fewer threads need "
                "less."
            )
            self.memory_budget = taken
        return core

    def _opened(self) -> _core.Loader:
        if self._core is None:
            raise LoaderClosedError("[loader] expected an open loader, got one that was closed")
        return self._core

    @property
    def step(self) -> int:
        """The number of the next batch, counted from 0."""
        return self._opened().step

    @property
    def bad_cases(self) -> list[BadCase]:
        """The cases that are skipped."""
        return [BadCase(*bad) for bad in self._opened().bad_cases()]

    @property
    def batch_size(self) -> int:
        """The number of samples in a batch."""
        return int(self._sampling["batch_size"])

    @property
    def global_batch_size(self) -> int:
        """The number of samples in a batch of all ranks together, if they share batches; else `batch_size`."""
        return self.batch_size if self._share is None else self._share.global_batch_size(self.batch_size)

    @property
    def shares_batches(self) -> bool:
        """Whether this loader's samples are a part of a batch that ranks make together."""
        return self._share is not None

    @property
    def _first_slot(self) -> int:
        return 0 if self._share is None else self._share.first_slot(self.batch_size)

    @property
    def _rank_of_streams(self) -> int:
        # Ranks that share batches have the random numbers of one: their slots differ.
        return self.rank if self._share is None else 0

    @property
    def fingerprint(self) -> str:
        """A digest of cases, patch sizes and global batch size. A state belongs to loaders with the same fingerprint."""
        return fingerprint(self._names, {**self._sampling, "batch_size": self.global_batch_size}, self._source.dims)

    def state_dict(self) -> dict[str, Any]:
        """Return what continues with the next batch: plain numbers and strings. After `close()`, the state at that time."""
        if self._core is None and self._state_at_end is not None:
            return self._state_at_end
        return self._state(self._opened())

    def _state(self, core: _core.Loader) -> dict[str, Any]:
        return make_state(
            core,
            seed=self.seed,
            rank=self.rank,
            role=self.role,
            global_batch_size=None if self._share is None else self.global_batch_size,
            fingerprint=self.fingerprint,
            transforms=self.pipeline.digest,
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; see `IteratedLoader.load_state_dict`."""
        check_version(state)
        if self._share is not None:
            check_batch_size(state, self.global_batch_size, self._share.ranks)
        if self._share is not None and state.get("rank", 0) != 0 and "global_batch_size" not in state:
            warnings.warn(
                f"[state] expected one of ranks that share batches, got that of rank {state['rank']} with batches of its own: "
                "the batches will differ from those of an uninterrupted run",
                stacklevel=3,  # whoever called IteratedLoader.load_state_dict
            )
        elif state["fingerprint"] != self.fingerprint:
            warnings.warn(
                "[state] expected the cases, patch sizes and batch size that it was saved with, got others: "
                "the batches will differ from those of an uninterrupted run",
                stacklevel=3,  # whoever called IteratedLoader.load_state_dict
            )
        elif changed := self.differences(state):
            warnings.warn(
                f"[state] expected what it was saved with, got {'; '.join(changed)}: the batches will differ from those of an "
                "uninterrupted run",
                stacklevel=3,  # whoever called IteratedLoader.load_state_dict
            )
        core = self._opened()
        if state["seed"] != self.seed:
            self._end(core)
            self.seed = int(state["seed"])
            core = self._core = self._make()
        core.set_step(int(state["step"]), [astuple(bad) for bad in self._still_skipped(skipped_in(state))])

    def _still_skipped(self, skipped: list[BadCase]) -> list[BadCase]:
        still, again, why = still_skipped(skipped, self._source.cases, self.on_bad_case)
        if again:
            listed = "".join(f"\n  {bad.name}: [{bad.file}] {bad.reason}" for bad in again)
            self.report(f"fastnnunet_loader, role {self.role}: trying {len(again)} skipped case(s) again, {why}:{listed}")
        return still

    def differences(self, state: dict[str, Any]) -> list[str]:
        """Return how versions and transforms differ from those of a state; [] if they do not, or if it does not have them."""
        return differences(state, self.pipeline.digest)

    def limit_memory(self, memory_budget: int) -> None:
        """Set another memory budget, in bytes, from the next batch on. Prefetched batches and cached blocks are dropped.

        Raises:
            MemoryBudgetError: it was given by the user and does not hold two batches and the threads' working memory.
        """
        if memory_budget != self._asked:
            self.reopen(role=self.role, memory_budget=memory_budget)

    def reopen(self, *, role: int, memory_budget: int) -> None:
        """Continue after `close()`, or with other settings. Another role gives other batches; the step stays."""
        state = self.state_dict()
        core, self._core = self._core, None
        if core is not None:
            self._end(core)
        self.role, self.memory_budget, self._asked = role, memory_budget, memory_budget
        self._core = self._make()
        self._state_at_end = None
        self._core.set_step(int(state["step"]), [astuple(bad) for bad in skipped_in(state)])
        opened.add(self)

    def reproduction(self, of: SampleError | BadCase) -> str:
        """Return a line of Python that makes the sample of an error or a skipped case again, and the command that draws it."""
        sample = of.sample if isinstance(of, SampleError) else self._address(of.step, of.slot, of.attempt)
        text = line(self.origin, sample, self._share, self._first_slot)
        return text if self.origin is None else f"{text}\n{command(self.origin, sample, self._share)}"

    def _add_reproduction(self, error: SampleError) -> None:
        text = self.reproduction(error)
        error.reproduce = text.splitlines()[0]
        error.args = ("\n  ".join([str(error), *text.splitlines()]),)

    def _activity(self) -> str:
        core = self._core
        if core is None:
            return ""
        return f"loader of role {self.role}, rank {self._share or self.rank}, seed {self.seed}: {describe_activity(core)}"

    @property
    def _stalls(self) -> Stalls:
        return Stalls(self.stall_after, self.abort_after, self.report)

    def _report_stall(self, waited: float) -> float | None:
        return self._stalls.of_batch(waited, self._activity())

    def _first_stall(self, waited: float) -> float | None:
        return self._stalls.of_first_cases(waited, self.pipeline.fallbacks)

    def sample_id(self, step: int, slot: int, attempt: int = 0) -> SampleId:
        """Return the address of a sample, for a pipeline: `loader.pipeline(image=..., **loader.sample_id(step, slot))`.

        slot: position in this loader's batch.
        """
        return self._address(step, self._first_slot + slot, attempt)

    def _address(self, step: int, slot: int, attempt: int) -> SampleId:
        return SampleId(self.seed, step, slot, self.role, self._rank_of_streams, attempt)

    @property
    def closed(self) -> bool:
        """Whether the loader is closed."""
        return getattr(self, "_core", None) is None

    def close(self) -> None:
        """Stop the threads' work on this loader and free its memory. Batches that were returned stay valid."""
        core, self._core = getattr(self, "_core", None), None
        if core is None:
            return
        with contextlib.suppress(FastnnUNetError):  # a forked child has no state
            self._state_at_end = self._state(core)
        if makes_a_sample():
            # The garbage collector found the loader in a thread that makes samples, which would wait for itself.
            self._end_kept_copies()
            end_elsewhere(core)
            return
        try:
            self._end(core)
        except BaseException:  # Ctrl-C, or what another signal's handler raised
            end_elsewhere(core)
            raise

    def __del__(self) -> None:
        self.close()
