"""What nnU-Net takes for batchgenerators' augmenter: the same batches, from threads of this process.

nnU-Net wraps its data loaders in augmenters. While installed, an augmenter that is made around an nnUNetDataLoader becomes an
`InProcessAugmenter`, whoever makes it and under whichever name it was imported. A subclass keeps its class, its methods and its
attributes; what it asks of its base is answered from here.
"""

from __future__ import annotations

import functools
import inspect
import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from ..errors import NotSupportedError
from ..loading import torch_memory
from ..loading.loader import DataLoader
from ..loading.reading.cases import Source, check_augmenter, read_off
from ..loading.sample_lines import Origin
from ..loading.storage.mirrors import mirrored
from ..settings import LOADERS
from ..system import available_cores, given_threads, most_threads, threads_of
from .distributed.ranks import in_group, once, rank, ranks, ranks_here
from .distributed.shares import shared
from .log import say_here, sayer
from .replacing.patches import Patches
from .runs import current, installation, unattended

__all__ = ["InProcessAugmenter", "batches_to_come", "patch_augmenters", "rank_threads"]

# What a subclass may have of its own: it may ask its base for batches, and not for the base's worker processes.
_FOLLOWED = {"__init__", "__iter__", "__next__", "next", "__len__", "__doc__", "__module__", "__del__"}


def rank_threads() -> int:
    """Return how many threads make the batches of this rank."""
    return numbers_of_rank()[0]


def numbers_of_rank() -> tuple[int, int]:
    """Return how many threads make the batches of this rank, and how many there may be while the training waits for them."""
    installed = installation()
    assert installed is not None
    if (asked := installed.settings.threads) is not None:
        return asked, asked
    share, given = max(1, available_cores() // ranks_here()), given_threads()
    if given is None:
        return threads_of(share), most_threads(share)
    # nnU-Net's number is one for each rank. As there, more than the cores are of no use.
    return min(given, share), min(given, share)


class InProcessAugmenter(NonDetMultiThreadedAugmenter):  # type: ignore[misc]
    """An augmenter without worker processes.

    It has the attributes of the augmenter that it stands for, with the arguments that it was made with: `generator` is
    nnU-Net's data loader, and `loader` is what makes the batches.
    """

    loader: DataLoader

    def __init__(self, data_loader: Any, **attributes: Any) -> None:
        # Not the base's, which for one of the augmenters makes semaphores.
        installed = installation()
        assert installed is not None
        settings = installed.settings
        run, trainer = current()
        self._run = run = run or unattended
        place = run.made - run.made_before
        if trainer is not None and place < len(LOADERS) and LOADERS[place] in settings.leave_to_nnunet:
            run.made += 1
            raise NotSupportedError(f"[leave_to_nnunet] the {LOADERS[place]} loader is left to nnU-Net, as asked")
        if attributes.get("transform") is not None:
            raise NotSupportedError("[augmenter] expected transforms in the data loader, got some for whole batches")
        _unpack(data_loader._data)
        made_here = data_loader
        if in_group() and trainer is not None:
            made_here = shared(data_loader, trainer, rank(), ranks(), run.oversample)
            if made_here is data_loader and ranks() > 1:
                _say_not_shared(data_loader, trainer, place)
        if settings.cache_dir is not None:
            source = made_here if isinstance(made_here, Source) else read_off(made_here)
            made_here = replace(source, batches=batches_to_come(trainer, place))
        threads, most = numbers_of_rank()
        self.loader = DataLoader.from_nnunet(
            made_here,
            threads=threads,
            most_threads=most,
            seed=run.share_seed(trainer, settings),
            rank=rank(),
            role=run.made,
            memory_budget=run.share_of_memory(settings),
            budget_binds=settings.budget is not None,
            on_bad_case=settings.on_bad_case,
            max_skipped=settings.max_skipped,
            patience=settings.patience,
            pin_memory=_pinned(bool(attributes.get("pin_memory"))),
            check_finite=settings.check_finite,
            unrestricted_pickles=settings.unrestricted_pickles,
            stall_after=settings.stall_after,
            abort_after=settings.abort_after,
            cache_dir=settings.cache_dir,
            cache_size=settings.cache_size,
            origin=_origin(trainer),
            report=sayer(trainer),
        )
        self.generator = self.data_loader = data_loader
        self._processes: list[Any] = []
        self.initialized = self.was_initialized = True
        self._superseded = False
        self.__dict__.update(attributes)
        run.add(self)

    def state_dict(self) -> dict[str, Any]:
        """The loader's state, also where it has been closed."""
        return self.loader.state_dict()

    def supersede(self) -> None:
        """Close the loader, for others took its place. Whoever asks it for a batch all the same gets batches of its own."""
        self._superseded = True
        self.loader.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._superseded and (installed := installation()) is not None:
            # Two loaders must not give the same batches.
            run, self._superseded = self._run, False
            self.loader.reopen(role=run.made, memory_budget=run.share_of_memory(installed.settings))
            run.add(self)
        return next(self.loader)

    def next(self) -> dict[str, Any]:
        """As batchgenerators' augmenters."""
        return self.__next__()

    def restart(self) -> None:
        """Nothing to do: there are no workers that could be dead."""

    def _start(self) -> None:
        pass

    def _finish(self, timeout: float = 10, force: bool = False) -> None:
        loader = self.__dict__.get("loader")
        if loader is not None:
            loader.close()

    def __del__(self) -> None:
        self._finish()


named: weakref.WeakSet[Any] = weakref.WeakSet()
"""Augmenters that keep their worker processes, of which the log has said so."""

_classes: dict[type, type] = {NonDetMultiThreadedAugmenter: InProcessAugmenter}


def _in_process(cls: type, kind: type) -> type:
    """Return the class that an augmenter of class `cls`, one of `kind` or a subclass, gets.

    Whoever asks for its class by isinstance finds the one that it would have been, too.
    """
    found = _classes.get(cls)
    if found is None:
        bases = (InProcessAugmenter, kind) if cls is kind else (cls, _in_process(kind, kind))
        found = type(f"InProcess{cls.__name__}", bases, {"__doc__": cls.__doc__, "__module__": cls.__module__})
        _classes[cls] = found
    return found


def _overridden(cls: type, kind: type) -> list[str]:
    """Return the names of what a subclass has of its own that only makes sense with worker processes."""
    between = cls.__mro__[: cls.__mro__.index(kind)]
    own = {name for base in between for name in vars(base)}
    return sorted(name for name in own if name not in _FOLLOWED and hasattr(kind, name))


def _init(self: Any, kind: type, original: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Stand for the `__init__` of an augmenter's class."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    cls, before = type(self), dict(self.__dict__)
    try:
        arguments = inspect.signature(original).bind(self, *args, **kwargs)
    except TypeError:
        original(self, *args, **kwargs)  # which raises with batchgenerators' own words
        return
    arguments.apply_defaults()
    values = dict(list(arguments.arguments.items())[1:])
    data_loader = values.pop("data_loader")
    if not isinstance(data_loader, nnUNetDataLoader):
        original(self, *args, **kwargs)
        return
    try:
        check_augmenter(kind)
        own = _overridden(cls, kind)
        if own:
            raise NotSupportedError(f"[augmenter] expected {kind.__name__}'s own {', '.join(own)}, got those of {cls.__name__}")
        self.__class__ = _in_process(cls, kind)
        InProcessAugmenter.__init__(self, data_loader, **values)
    except NotSupportedError as error:
        if mirrored(Path(data_loader._data.source_folder)):
            raise  # its files are empty: only this loader knows where to find them
        self.__class__ = cls
        self.__dict__.clear()
        self.__dict__.update(before)  # what a subclass had set already
        say_here(f"fastnnunet_loader: {error}. This loader stays nnU-Net's own, with its worker processes.")
        original(self, *args, **kwargs)
        named.add(self)
    # After any other exception the object keeps its new class, whose end does not miss what batchgenerators' would.


def batches_to_come(trainer: Any, place: int) -> int | None:
    """Return how many batches a training will take of its loader; None if that is not known.

    place: of the loader in `LOADERS`.
    """
    names = {"training": "num_iterations_per_epoch", "validation": "num_val_iterations_per_epoch"}
    try:
        epochs = int(trainer.num_epochs) - int(trainer.current_epoch)
        return max(1, epochs) * int(getattr(trainer, names[LOADERS[place]]))
    except (AttributeError, IndexError, TypeError, ValueError):
        return None  # another loader, or a trainer that counts in another way


def patch_augmenters(patches: Patches) -> None:
    """Make batchgenerators' augmenters of nnU-Net's data loaders InProcessAugmenters."""
    for kind in (NonDetMultiThreadedAugmenter, MultiThreadedAugmenter, SingleThreadedAugmenter):
        original = kind.__init__

        def init(self: Any, *args: Any, _kind: type = kind, _original: Callable[..., None] = original, **kwargs: Any) -> None:
            if installation() is None:
                _original(self, *args, **kwargs)
            else:
                _init(self, _kind, _original, args, kwargs)

        patches.set(kind, "__init__", functools.wraps(original)(init))


def _say_not_shared(data_loader: Any, trainer: Any, place: int) -> None:
    name = f", {LOADERS[place]}" if place < len(LOADERS) else ""
    whole, count = trainer.configuration_manager.batch_size, ranks()
    say_here(
        f"fastnnunet_loader{name}: a rank makes {data_loader.batch_size} sample(s) of a batch, not what nnU-Net gives it of "
        f"{whole} among {count} ranks. It draws batches of its own; another number of ranks would draw others"
    )


def _pinned(wanted: bool) -> bool:
    if wanted and torch_memory.built_against() is None:
        say_here(
            f"fastnnunet_loader: batches are in ordinary memory, not in pinned memory: {torch_memory.why_not()}. "
            "Copies to a GPU wait for the training thread. `fastnnunet doctor` says what to do"
        )
        return False
    return wanted


def _unpack(data: Any) -> None:
    """Older preprocessing wrote .npz files. nnU-Net unpacks them after it made its loaders; here it has to be done before."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy

    if not isinstance(data, nnUNetDatasetNumpy):
        return

    def unpack() -> None:
        data.unpack_dataset(data.source_folder, overwrite_existing=False, num_processes=rank_threads(), verify=True)

    once(f"unpacked/{data.source_folder}", unpack)


def _found_by_name(kind: type) -> bool:
    """Whether nnU-Net finds a trainer's class in another process: in its own folders, or in those of nnUNet_extTrainer."""
    # By the code of its methods, for nnU-Net forgets the modules that it imports from such folders.
    methods = (inspect.unwrap(value) for value in vars(kind).values() if callable(value))
    file = next((method.__code__.co_filename for method in methods if hasattr(method, "__code__")), None)
    folders = os.environ.get("nnUNet_extTrainer", "").split(os.pathsep)
    return kind.__module__.startswith("nnunetv2.") or (
        file is not None and any(Path(file).resolve().is_relative_to(Path(folder).resolve()) for folder in folders if folder)
    )


def _origin(trainer: Any) -> Origin | None:
    """Return the training whose loaders are being made, where a call of `reproduce` can make them again."""
    installed = installation()
    assert installed is not None
    if trainer is None or installed.settings.unrestricted_pickles or not _found_by_name(type(trainer)):
        return None
    plans = trainer.plans_manager
    return Origin(
        plans.dataset_name,
        trainer.configuration_name,
        trainer.fold,
        type(trainer).__name__,
        plans.plans_name,
        installed.settings.check_finite,
        ranks(),
    )
