"""Puts the native loader, and threads instead of process pools, under every nnU-Net trainer of this process.

nnU-Net wraps its data loaders in batchgenerators' augmenters. While installed, making one of these augmenters around an
nnUNetDataLoader makes an `InProcessAugmenter` instead, whoever asks for it and under whichever name it was imported.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from ._core import torch_version
from .activity import STALL_AFTER
from .errors import NotSupportedError
from .loader import DataLoader, available_cores, default_threads, draw_seed, memory, parse_bytes
from .prediction.install import patch_predictor
from .prediction.validation import predicting_validation
from .reproducing import Origin
from .statistics.reporter import Reporter, ReportOptions
from .threads import ThreadPool
from .validation import naming_bad_cases

__all__ = ["CHECKPOINT_KEY", "TESTED_TRANSFORMS", "TESTED_VERSIONS", "InProcessAugmenter", "install", "installed", "uninstall"]

CHECKPOINT_KEY = "fastnnunet_loader"
TESTED_VERSIONS = ("2.6.4", "2.8.1")
TESTED_TRANSFORMS = ("0.3.6",)  # batchgeneratorsv2, which both take

_log = logging.getLogger("fastnnunet_loader")


@dataclass(frozen=True)
class Settings:
    """What install() was asked for."""

    threads: int | None = None
    seed: int | None = None
    memory_budget: int | None = None
    on_bad_case: str = "raise"
    check_finite: bool = False
    unrestricted_pickles: bool = False
    stats: str | os.PathLike[str] | None = None
    metrics: str | os.PathLike[str] | None = None
    log_stats: bool = False
    live: bool = False
    stall_after: float = STALL_AFTER


@dataclass
class _Run:
    """The loaders of one trainer, in the order in which they were made: training first, as nnU-Net makes them."""

    augmenters: list[InProcessAugmenter] = field(default_factory=list)
    made: int = 0  # loaders, which tells the next one's role
    started: bool = False  # the training has: loaders that are made anew go on where the others were
    seed: int | None = None
    pending: dict[str, Any] | None = None  # of a checkpoint, until the loaders are there
    reported: set[str] = field(default_factory=set)
    inside: set[str] = field(default_factory=set)  # names of the trainer's methods that are at work
    reporter: Reporter | None = None


_settings: Settings | None = None
_undo: list[Callable[[], None]] = []
_runs: weakref.WeakKeyDictionary[Any, _Run] = weakref.WeakKeyDictionary()
_current = threading.local()  # .run: of the trainer that is making its loaders
_unattended = _Run()  # loaders that no trainer of ours makes (scripts); whoever made them keeps them


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _ranks() -> int:
    # nnU-Net's ranks share one machine.
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _threads() -> int:
    assert _settings is not None
    if _settings.threads is not None:
        return _settings.threads
    if os.environ.get("nnUNet_n_proc_DA", "").strip():
        return default_threads()  # nnU-Net's number is one for each rank
    return max(1, available_cores() // _ranks() - 1)


def _unpack(data: Any) -> None:
    """Older preprocessing wrote .npz files. nnU-Net unpacks them after it made its loaders; here it has to be done before."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy

    if not isinstance(data, nnUNetDatasetNumpy):
        return
    if _rank() == 0:
        data.unpack_dataset(data.source_folder, overwrite_existing=False, num_processes=_threads(), verify=True)
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def _shared_seed(run: _Run) -> int:
    """One seed for all loaders of a run, on all ranks."""
    assert _settings is not None
    if run.seed is None:
        seed = draw_seed() if _settings.seed is None else _settings.seed
        if dist.is_available() and dist.is_initialized():
            box = [seed]
            dist.broadcast_object_list(box, src=0)
            seed = box[0]
        run.seed = seed
    return run.seed


def _pinned(wanted: bool) -> bool:
    if wanted and torch_version is None:
        _say(
            "fastnnunet_loader: batches are in ordinary memory, for this package was built without torch. To have them pinned, "
            "install it again where torch is: pip install --no-build-isolation --force-reinstall --no-deps ."
        )
        return False
    return wanted


class InProcessAugmenter(NonDetMultiThreadedAugmenter):  # type: ignore[misc]
    """What nnU-Net takes for its augmenter: it makes the same batches with threads of this process."""

    def __init__(
        self,
        data_loader: Any,
        transform: Any = None,
        num_processes: int = 1,
        num_cached: int = 2,
        seeds: Any = None,
        pin_memory: bool = False,
        wait_time: float = 0.02,
        **_: Any,
    ) -> None:
        if "loader" in self.__dict__:
            return  # Python calls __init__ again on what the patched __new__ made
        if transform is not None:
            raise NotSupportedError("[augmenter] expected transforms in the data loader, got some for whole batches")
        assert _settings is not None
        run = getattr(_current, "run", None) or _unattended
        budget = _settings.memory_budget if _settings.memory_budget is not None else memory().available // 2
        _unpack(data_loader._data)
        self.data_loader = data_loader
        self.loader = DataLoader.from_nnunet(
            data_loader,
            threads=_threads(),
            seed=_shared_seed(run),
            rank=_rank(),
            role=run.made,
            memory_budget=budget // (2 * _ranks()),  # each rank has two: training and validation
            on_bad_case=_settings.on_bad_case,
            pin_memory=_pinned(bool(pin_memory)),
            check_finite=_settings.check_finite,
            unrestricted_pickles=_settings.unrestricted_pickles,
            stall_after=_settings.stall_after,
            origin=_origin(),
        )
        self.loader.report = _say_of(getattr(_current, "trainer", None))
        run.made += 1
        if run is not _unattended:
            run.augmenters.append(self)

    def state_dict(self) -> dict[str, Any]:
        """The loader's state, also where it has been closed."""
        return self._last_state if self.loader.closed else self.loader.state_dict()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self.loader)

    def next(self) -> dict[str, Any]:
        """As batchgenerators' augmenters."""
        return next(self.loader)

    def restart(self) -> None:
        """Nothing to do: there are no workers that could be dead."""

    def _start(self) -> None:
        pass

    def _finish(self, timeout: float = 10, force: bool = False) -> None:
        loader = self.__dict__.get("loader")
        if loader is not None and not loader.closed:
            self._last_state = loader.state_dict()
            loader.close()

    def __del__(self) -> None:
        self._finish()


def _make_augmenter(kind: type, default: Callable[..., Any], cls: type, *args: Any, **kwargs: Any) -> Any:
    """Stands for the `__new__` of an augmenter's class."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    data_loader = kwargs.get("data_loader", args[0] if args else None)
    if cls is not kind or not isinstance(data_loader, nnUNetDataLoader):
        return default(cls)
    made = object.__new__(InProcessAugmenter)
    try:
        InProcessAugmenter.__init__(made, *args, **kwargs)
    except NotSupportedError as error:
        _say(f"fastnnunet_loader: {error}. This loader stays nnU-Net's own, with its worker processes.")
        return default(cls)
    return made


def _say(text: str) -> None:
    trainer = getattr(_current, "trainer", None)
    if trainer is not None:
        trainer.print_to_log_file(text)
    else:
        _log.warning(text)


def _say_of(trainer: Any) -> Callable[[str], None]:
    """What speaks in the log of a trainer as long as it is there, and else where all warnings go."""
    known = (lambda: None) if trainer is None else weakref.ref(trainer)

    def say(text: str) -> None:
        there = known()
        if there is None:
            _log.warning("%s", text)
        else:
            there.print_to_log_file(text)

    return say


def _found_by_name(kind: type) -> bool:
    """Whether nnU-Net finds a trainer's class in another process: in its own folders, or in those of nnUNet_extTrainer."""
    # By the code of its methods, for nnU-Net forgets the modules that it imports from such folders.
    file = next((value.__code__.co_filename for value in vars(kind).values() if hasattr(value, "__code__")), None)
    folders = os.environ.get("nnUNet_extTrainer", "").split(os.pathsep)
    return kind.__module__.startswith("nnunetv2.") or (
        file is not None and any(Path(file).resolve().is_relative_to(Path(folder).resolve()) for folder in folders if folder)
    )


def _origin() -> Origin | None:
    """The training whose loaders are being made, where a call of `reproduce` can make them again."""
    trainer = getattr(_current, "trainer", None)
    assert _settings is not None
    if trainer is None or _ranks() > 1 or _settings.unrestricted_pickles or not _found_by_name(type(trainer)):
        return None
    plans = trainer.plans_manager
    return Origin(
        plans.dataset_name,
        trainer.configuration_name,
        trainer.fold,
        type(trainer).__name__,
        plans.plans_name,
        _settings.check_finite,
    )


# What is replaced


def _patch(owner: Any, name: str, value: Any) -> None:
    own = vars(owner)
    missing = name not in own
    before = own.get(name)

    def undo() -> None:
        if missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    setattr(owner, name, value)
    _undo.append(undo)


def _patch_augmenters() -> None:
    for kind in (NonDetMultiThreadedAugmenter, MultiThreadedAugmenter, SingleThreadedAugmenter):

        def new(cls: type, *args: Any, _kind: type = kind, **kwargs: Any) -> Any:
            return _make_augmenter(_kind, object.__new__, cls, *args, **kwargs)

        _patch(kind, "__new__", staticmethod(new))


def _undo_augmenters() -> None:
    # A class from which __new__ was deleted refuses arguments (CPython keeps its slot); an own one does not.
    for kind in (NonDetMultiThreadedAugmenter, MultiThreadedAugmenter, SingleThreadedAugmenter):
        if "__new__" not in vars(kind):

            def plain(cls: type, *_: Any, **__: Any) -> Any:
                return object.__new__(cls)

            kind.__new__ = staticmethod(plain)


class _ThreadContext:
    """A multiprocessing context whose pools are threads."""

    Pool = ThreadPool

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class _ThreadMultiprocessing:
    """The module `multiprocessing`, with pools of threads."""

    Pool = ThreadPool

    def __init__(self, module: Any) -> None:
        self._module = module

    def get_context(self, method: str | None = None) -> _ThreadContext:
        """The context of that name, with pools of threads."""
        return _ThreadContext(self._module.get_context(method))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _patch_pools() -> None:
    """The pools of unpacking, of the final validation's export, and of the metrics."""
    import multiprocessing

    from nnunetv2.evaluation import evaluate_predictions
    from nnunetv2.training.dataloading import utils
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer

    for module in (trainer, evaluate_predictions, utils):
        _patch(module, "multiprocessing", _ThreadMultiprocessing(multiprocessing))


def _patch_own_validation(cls: Any) -> None:
    """A trainer with a validation of its own takes its pool from its own module's `multiprocessing`."""
    import multiprocessing

    module = sys.modules.get(cls.__module__)
    if "perform_actual_validation" in vars(cls) and getattr(module, "multiprocessing", None) is multiprocessing:
        _patch(module, "multiprocessing", _ThreadMultiprocessing(multiprocessing))


def _patch_progress_bars() -> None:
    # tqdm makes a semaphore in shared memory for other processes that write to the same terminal; there are none.
    from tqdm import tqdm

    before = vars(tqdm).get("_lock")
    tqdm.set_lock(threading.RLock())

    def undo() -> None:
        if before is None:
            del tqdm._lock
        else:
            tqdm.set_lock(before)

    _undo.append(undo)


def _patch_trainer() -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    wrappers: dict[str, Callable[..., Any]] = {}

    def wrapping(name: str) -> Callable[[Callable[..., Any]], None]:
        def add(wrapper: Callable[..., Any]) -> None:
            wrappers[name] = wrapper

        return add

    def wrap(cls: Any) -> None:
        # Each class's own methods: one that overrides a method may never call its base's.
        for name, wrapper in wrappers.items():
            original = vars(cls).get(name)
            if callable(original):
                _patch(cls, name, _wrapped(name, original, wrapper))
        _patch_own_validation(cls)

    @wrapping("on_train_start")
    def _(original: Any, trainer: Any) -> None:
        run = _run_of(trainer)
        _close(run)
        _current.run, _current.trainer = run, trainer
        try:
            original(trainer)
        finally:
            _current.run = _current.trainer = None
        run.started = True
        _describe(run, trainer)
        _restore(run, trainer)
        _start_reporter(run, trainer)

    @wrapping("get_dataloaders")
    def _(original: Any, trainer: Any) -> Any:
        # Its first loader is the training loader, also where it is called to look at batches, before a training.
        run, before = _run_of(trainer), (getattr(_current, "run", None), getattr(_current, "trainer", None))
        # Some trainers make new ones while they train, with other patches or cases: no batch comes twice.
        states = [augmenter.state_dict() for augmenter in run.augmenters] if run.started else []
        run.augmenters.clear()
        run.made = 0
        _current.run, _current.trainer = run, trainer
        try:
            loaders = original(trainer)
        finally:
            _current.run, _current.trainer = before
        for augmenter, state in zip(run.augmenters, states, strict=False):
            augmenter.loader.load_state_dict({**state, "fingerprint": augmenter.loader.fingerprint})
        return loaders

    @wrapping("run_training")
    def _(original: Any, trainer: Any) -> Any:
        try:
            return original(trainer)
        except BaseException:
            # The loaders' threads must not go on while the exception is on its way, nor wait for the collector.
            _close(_run_of(trainer))
            raise

    @wrapping("on_epoch_end")
    def _(original: Any, trainer: Any) -> None:
        run = _run_of(trainer)
        _report_bad_cases(run, trainer)
        if run.reporter is not None:
            run.reporter.epoch(trainer.current_epoch)
        original(trainer)

    @wrapping("on_train_end")
    def _(original: Any, trainer: Any) -> None:
        run = _run_of(trainer)
        _report_at_end(run, trainer)
        _stop_reporter(run)  # nnU-Net closes its loaders itself
        original(trainer)
        _close(run)

    @wrapping("perform_actual_validation")
    def _(original: Any, trainer: Any, *args: Any, **kwargs: Any) -> None:
        assert _settings is not None
        skip, unrestricted = _settings.on_bad_case == "skip", _settings.unrestricted_pickles
        with naming_bad_cases(trainer, skip, unrestricted, trainer.print_to_log_file):
            original(trainer, *args, **kwargs)

    @wrapping("save_checkpoint")
    def _(original: Any, trainer: Any, *args: Any, **kwargs: Any) -> None:
        states = [augmenter.state_dict() for augmenter in _run_of(trainer).augmenters]
        with _adding_to_checkpoint({"loaders": states}):
            original(trainer, *args, **kwargs)

    @wrapping("load_checkpoint")
    def _(original: Any, trainer: Any, *args: Any, **kwargs: Any) -> None:
        run = _run_of(trainer)
        with _reading_from_checkpoint() as read:
            original(trainer, *args, **kwargs)
        run.pending = read.get(CHECKPOINT_KEY)
        if run.pending is None and trainer.current_epoch > 0:
            trainer.print_to_log_file(
                "fastnnunet_loader: the checkpoint has no state of the loaders (it was saved without them); batches start anew."
            )

    _patch(nnUNetTrainer, "perform_actual_validation", _predicting(nnUNetTrainer.perform_actual_validation))
    for cls in _family(nnUNetTrainer):
        wrap(cls)

    def init_subclass(cls: Any, /, **kwargs: Any) -> None:
        super(nnUNetTrainer, cls).__init_subclass__(**kwargs)
        wrap(cls)

    _patch(nnUNetTrainer, "__init_subclass__", classmethod(init_subclass))


def _predicting(validate: Callable[..., Any]) -> Callable[..., Any]:
    """nnU-Net's own final validation, also where a trainer that overrides it calls it, with what it then asks for."""

    @functools.wraps(validate)
    def method(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        save_probabilities = bool(args[0] if args else kwargs.get("save_probabilities", False))
        with predicting_validation(trainer, save_probabilities, _threads(), trainer.print_to_log_file):
            return validate(trainer, *args, **kwargs)

    return method


def _family(cls: Any) -> Iterator[Any]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _family(subclass)


def _wrapped(name: str, original: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = _run_of(self)
        if name in run.inside:  # the base's method, called by the one that overrides it
            return original(self, *args, **kwargs)
        run.inside.add(name)
        try:
            return wrapper(original, self, *args, **kwargs)
        finally:
            run.inside.discard(name)

    return method


def _run_of(trainer: Any) -> _Run:
    run = _runs.get(trainer)
    if run is None:
        run = _runs[trainer] = _Run()
    return run


def _stop_reporter(run: _Run) -> None:
    reporter, run.reporter = run.reporter, None
    if reporter is not None:
        reporter.stop()


def _close(run: _Run) -> None:
    _stop_reporter(run)
    for augmenter in run.augmenters:
        augmenter.loader.close()
    run.augmenters.clear()
    run.made, run.started = 0, False


class _adding_to_checkpoint:
    """Inside, torch.save adds the loaders' state to what is a checkpoint of nnU-Net's."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state
        self._save = torch.save

    def __enter__(self) -> None:
        def save(obj: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(obj, dict) and "network_weights" in obj:
                obj = {**obj, CHECKPOINT_KEY: self._state}
            return self._save(obj, *args, **kwargs)

        torch.save = save

    def __exit__(self, *_: object) -> None:
        torch.save = self._save


class _reading_from_checkpoint:
    """Inside, what torch.load reads is noted, so that a checkpoint is not read twice."""

    def __init__(self) -> None:
        self._load = torch.load

    def __enter__(self) -> dict[str, Any]:
        read: dict[str, Any] = {}

        def load(*args: Any, **kwargs: Any) -> Any:
            loaded = self._load(*args, **kwargs)
            if isinstance(loaded, dict):
                read.update({CHECKPOINT_KEY: loaded.get(CHECKPOINT_KEY)})
            return loaded

        torch.load = load
        return read

    def __exit__(self, *_: object) -> None:
        torch.load = self._load


def _restore(run: _Run, trainer: Any) -> None:
    """Continues the loaders where the checkpoint left them."""
    pending, run.pending = run.pending, None
    if pending is None:
        return
    for augmenter, state in zip(run.augmenters, pending["loaders"], strict=False):
        if state["rank"] != augmenter.loader.rank:
            # Only rank 0 saves. Its batches are as many as everyone's; the bad cases that it met and its share of a batch
            # are its own.
            state = {**state, "excluded": {}, "fingerprint": augmenter.loader.fingerprint}
        augmenter.loader.load_state_dict(state)
        run.seed = augmenter.loader.seed
    steps = ", ".join(str(augmenter.loader.step) for augmenter in run.augmenters)
    trainer.print_to_log_file(f"fastnnunet_loader: continuing with seed {run.seed} at batch {steps}.")


def _describe(run: _Run, trainer: Any) -> None:
    for name, augmenter in zip(("training", "validation", *["further"] * len(run.augmenters)), run.augmenters, strict=False):
        loader = augmenter.loader
        trainer.print_to_log_file(f"fastnnunet_loader, {name}: {loader.describe()}", add_timestamp=False)
        for fallback in loader.pipeline.fallbacks:
            trainer.print_to_log_file(f"fastnnunet_loader, {name}: runs in Python: {fallback}", add_timestamp=False)


def _start_reporter(run: _Run, trainer: Any) -> None:
    assert _settings is not None
    chosen = _settings
    options = ReportOptions(
        None if chosen.stats is None else Path(chosen.stats),
        None if chosen.metrics is None else Path(chosen.metrics),
        chosen.log_stats,
        chosen.live,
    ).of_rank(_rank(), _ranks())
    if not options.wanted:
        return
    _stop_reporter(run)
    plans = trainer.plans_manager
    labels = {"dataset": plans.dataset_name, "configuration": trainer.configuration_name, "fold": str(trainer.fold)}
    # Neither a trainer nor its loaders may live on because somebody looks at them.
    known, known_run = weakref.ref(trainer), weakref.ref(run)

    def loaders() -> dict[str, DataLoader] | None:
        run = known_run()
        if run is None:
            return None
        return {name: a.loader for name, a in zip(("training", "validation"), list(run.augmenters), strict=False)}

    def log(text: str) -> None:
        trainer = known()
        if trainer is not None:
            trainer.print_to_log_file(text)

    run.reporter = Reporter(options, loaders, log, {**labels, "rank": str(_rank())})


def _report_bad_cases(run: _Run, trainer: Any) -> None:
    for augmenter in run.augmenters:
        for bad in augmenter.loader.bad_cases:
            if bad.name not in run.reported:
                run.reported.add(bad.name)
                again = augmenter.loader.reproduction(bad)
                trainer.print_to_log_file(
                    f"fastnnunet_loader: going on without case {bad.name}: [{bad.file}] {bad.reason}\n{again}"
                )


def _report_at_end(run: _Run, trainer: Any) -> None:
    _report_bad_cases(run, trainer)
    if run.reported:
        trainer.print_to_log_file(f"fastnnunet_loader: trained without bad cases: {', '.join(sorted(run.reported))}")
    for augmenter in run.augmenters[:1]:
        stats = augmenter.loader.stats()
        trainer.print_to_log_file(
            f"fastnnunet_loader: {stats.batches} training batches, {1e3 * stats.sample_time:.1f} ms of a thread per sample, "
            f"waited {stats.waited:.1f} s for batches in all"
        )


@dataclass(frozen=True)
class _InstalledRank:
    """nnU-Net's run_ddp in a new process, where everything has to be installed again."""

    settings: Settings
    run_ddp: Callable[..., Any]  # found by its name in the new process

    def __call__(self, rank: int, *args: Any) -> Any:
        install(**vars(self.settings))
        from nnunetv2.run import run_training

        return getattr(run_training.run_ddp, "run_ddp", run_training.run_ddp)(rank, *args)


def _patch_ranks() -> None:
    """With -num_gpus nnU-Net starts a process for each rank."""
    import torch.multiprocessing as mp
    from nnunetv2.run import run_training

    class Spawning:
        """torch.multiprocessing, whose spawn() installs this package in the new processes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(mp, name)

        @staticmethod
        def spawn(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            """As torch.multiprocessing.spawn."""
            assert _settings is not None
            settings = replace(_settings, seed=draw_seed() if _settings.seed is None else _settings.seed)
            return mp.spawn(_InstalledRank(settings, fn), *args, **kwargs)  # type: ignore[attr-defined, no-untyped-call]

    _patch(run_training, "mp", Spawning())


def _prediction_options() -> dict[str, Any]:
    assert _settings is not None
    chosen = _settings
    return {"memory_budget": chosen.memory_budget, "on_bad_case": chosen.on_bad_case, "threads": chosen.threads}


def _unset_compile_threads() -> None:
    os.environ.pop("TORCHINDUCTOR_COMPILE_THREADS", None)


def _warn_of_versions() -> None:
    for name, package, tested in (
        ("nnU-Net", "nnunetv2", TESTED_VERSIONS),
        ("batchgeneratorsv2", "batchgeneratorsv2", TESTED_TRANSFORMS),
    ):
        version = importlib.metadata.version(package)
        if version not in tested:
            _log.warning("%s %s has not been tested with this loader; tested: %s", name, version, ", ".join(tested))


def install(
    threads: int | None = None,
    seed: int | None = None,
    memory_budget: int | str | None = None,
    on_bad_case: str = "raise",
    check_finite: bool = False,
    unrestricted_pickles: bool = False,
    stats: str | os.PathLike[str] | None = None,
    metrics: str | os.PathLike[str] | None = None,
    log_stats: bool = False,
    live: bool = False,
    stall_after: float = STALL_AFTER,
) -> None:
    """See `fastnnunet_loader.install`."""
    global _settings
    if threads is not None and threads < 1:
        raise ValueError(f"[threads] expected at least 1, got {threads}")
    if on_bad_case not in ("raise", "skip"):
        raise ValueError(f"[on_bad_case] expected 'raise' or 'skip', got {on_bad_case!r}")
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"[seed] expected a number from 0 to 2**64 - 1, got {seed}")
    if not stall_after > 0:
        raise ValueError(f"[stall_after] expected seconds above 0, got {stall_after}")
    budget = None if memory_budget is None else parse_bytes(memory_budget)
    default_threads()  # a wrong nnUNet_n_proc_DA is reported now
    already = _settings is not None
    _settings = Settings(
        threads=threads,
        seed=seed,
        memory_budget=budget,
        on_bad_case=on_bad_case,
        check_finite=check_finite,
        unrestricted_pickles=unrestricted_pickles,
        stats=stats,
        metrics=metrics,
        log_stats=log_stats,
        live=live,
        stall_after=stall_after,
    )
    if already:
        return
    _warn_of_versions()
    # torch.compile's own worker processes.
    if "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ:
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        _undo.append(_unset_compile_threads)
    try:
        _patch_augmenters()
        _patch_pools()
        _patch_progress_bars()
        _patch_trainer()
        _patch_ranks()
        patch_predictor(_patch, _prediction_options)
    except BaseException:
        uninstall()
        raise


def installed() -> bool:
    """Whether install() has been called, also while it is still at work, and uninstall() has not since."""
    return _settings is not None


def uninstall() -> None:
    """See `fastnnunet_loader.uninstall`."""
    global _settings
    while _undo:
        _undo.pop()()
    _undo_augmenters()
    _settings = None
    _unattended.made, _unattended.seed = 0, None
