"""What is known of each training: its loaders in order, its seed, and the state that a checkpoint gave it."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..loading.loader import draw_seed
from ..settings import LOADERS, Settings
from ..system import default_budget
from .distributed.ranks import agree, ranks, ranks_here

if TYPE_CHECKING:
    from ..statistics.reporter import Reporter
    from .augmenter import InProcessAugmenter
    from .replacing.patches import Patches

__all__ = ["Installation", "Run", "current", "installation", "making_loaders", "run_of", "set_installation", "unattended"]


@dataclass
class Installation:
    """What install() was asked for, and what it replaced."""

    settings: Settings
    patches: Patches
    notes: list[str] = field(default_factory=list)  # what the log of every training has to say


_installation: Installation | None = None


def installation() -> Installation | None:
    """What is installed; None before `install()` and after `uninstall()`."""
    return _installation


def set_installation(installed: Installation | None) -> None:
    """Note what is installed."""
    global _installation
    _installation = installed


@dataclass
class Run:
    """One training. Its loaders are numbered in the order in which they are made: training first, as nnU-Net makes them."""

    augmenters: list[InProcessAugmenter] = field(default_factory=list)
    made: int = 0  # loaders so far: the next one's role
    made_before: int = 0  # the call of get_dataloaders that is at work
    starting: bool = False  # on_train_start is at work
    started: bool = False  # loaders that are made anew go on where those before them were
    seed: int | None = None
    oversample: float | None = None  # the trainer's share of samples with foreground, before it is divided among ranks
    budget: int | None = None  # bytes for all loaders together
    log_file: str | None = None  # of rank 0, as far as another rank knows it
    unwritten: list[str] = field(default_factory=list)  # what another rank has to say, until it knows that file
    validating: bool = False  # nnU-Net's own final validation is at work, on all ranks
    closed: list[dict[str, Any]] | None = None  # states of loaders that were closed: for a checkpoint that is saved later
    pending: dict[str, Any] | None = None  # state of a checkpoint, until there are loaders
    without_state: bool = False  # a checkpoint was loaded that has none
    inside: set[str] = field(default_factory=set)  # names of the trainer's methods that are at work
    reported: set[str] = field(default_factory=set)  # bad cases that the log has
    judged: bool = False  # whether the cost of transforms in Python was told
    reporter: Reporter | None = None

    def share_seed(self, trainer: Any, settings: Settings) -> int:
        """Return one seed for all loaders of the run, on all ranks."""
        if self.seed is None and settings.seed is not None:
            self.seed = settings.seed
        if self.seed is None:
            # Trainings are known to other ranks by their folder, and by how many were made with it before.
            folder = str(getattr(trainer, "output_folder", ""))
            self.seed = agree(f"seed/{folder}/{_seeds_drawn[folder]}", draw_seed())
            _seeds_drawn[folder] += 1
        return self.seed

    def share_of_memory(self, settings: Settings) -> int:
        """Return what one more loader may take. Those that are open are limited to the same share."""
        if self.budget is None:
            given = settings.budget
            self.budget = default_budget() // ranks_here() if given is None else given // ranks()
        opened = self.open_ones()
        # Training and validation are two from the start, so that the first one is not made twice.
        each = self.budget // max(2, len(opened) + 1)
        for augmenter in opened:
            augmenter.loader.limit_memory(each)
        return each

    def add(self, augmenter: InProcessAugmenter) -> None:
        """Count one more loader."""
        self.made += 1
        self.augmenters.append(augmenter)

    def open_ones(self) -> list[InProcessAugmenter]:
        """Return those that are not closed."""
        return [augmenter for augmenter in self.augmenters if not augmenter.loader.closed]

    def states(self) -> list[dict[str, Any]]:
        """Return the state of each loader, open or closed."""
        if self.augmenters:
            return [augmenter.state_dict() for augmenter in self.augmenters]
        return self.closed or []

    def close(self) -> None:
        """End all loaders and keep their states."""
        reporter, self.reporter = self.reporter, None
        if reporter is not None:
            reporter.stop()
        if self.augmenters:
            self.closed = self.states()
        for augmenter in self.augmenters:
            augmenter.loader.close()
        self.augmenters.clear()
        self.made, self.started, self.budget = 0, False, None

    def names(self) -> Iterator[tuple[str, InProcessAugmenter]]:
        """Yield each loader with the name that logs and statistics give it."""
        for augmenter in list(self.augmenters):
            role = augmenter.loader.role
            yield LOADERS[role] if role < len(LOADERS) else f"further {role - 1}", augmenter


class _Unattended(Run):
    """Loaders that no trainer makes. Whoever made them keeps and closes them."""

    def __init__(self) -> None:
        super().__init__()
        self._known: weakref.WeakSet[InProcessAugmenter] = weakref.WeakSet()

    def add(self, augmenter: InProcessAugmenter) -> None:
        self.made += 1
        self._known.add(augmenter)

    def open_ones(self) -> list[InProcessAugmenter]:
        return [augmenter for augmenter in self._known if not augmenter.loader.closed]


unattended = _Unattended()
_seeds_drawn: Counter[str] = Counter()
_runs: weakref.WeakKeyDictionary[Any, Run] = weakref.WeakKeyDictionary()
_making = threading.local()  # .run, .trainer: of the trainer that is making its loaders


def run_of(trainer: Any) -> Run:
    """Return what is known of a trainer's training."""
    run = _runs.get(trainer)
    if run is None:
        run = _runs[trainer] = Run()
    return run


def current() -> tuple[Run | None, Any]:
    """Return the run, and the trainer, whose loaders this thread is making."""
    return getattr(_making, "run", None), getattr(_making, "trainer", None)


@contextmanager
def making_loaders(run: Run, trainer: Any) -> Iterator[None]:
    """Inside, loaders that this thread makes are the trainer's."""
    before = current()
    _making.run, _making.trainer = run, trainer
    try:
        yield
    finally:
        _making.run, _making.trainer = before
