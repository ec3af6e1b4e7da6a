"""What happens around the methods of nnUNetTrainer, of its subclasses, and of those that are made later.

Every method is called with the arguments that it was called with, and what it returns is returned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from ..prediction.replacements.validation import predicting_validation
from ..system import memory
from .augmenter import InProcessAugmenter, named, rank_threads
from .checkpoint import follows, number_of_ranks, reading, state_for, state_of, tell_other_ranks, writing
from .distributed.ranks import divide, ranks, ranks_here
from .log import announce, recording, say, sayer, write_out
from .replacing.patches import Patches
from .replacing.pools import patch_own_pool
from .reports import describe, report_at_end, report_bad_cases, report_python_transforms, start_reporter, stop_reporter
from .runs import Run, installation, making_loaders, run_of
from .validation_cases import naming_bad_cases

__all__ = ["patch_trainer"]

Method = Callable[..., Any]


class _Hooks:
    """One method for each of the trainer's that has something around it: `original` is the trainer's own."""

    @staticmethod
    def on_train_start(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        run = run_of(trainer)
        run.close()
        run.closed, run.starting = None, True
        announce(trainer)
        try:
            with making_loaders(run, trainer):
                result = original(trainer, *args, **kwargs)
        finally:
            run.starting = False
        run.started = True
        describe(run, trainer)
        _restore(run, trainer)
        start_reporter(run, trainer)
        return result

    @staticmethod
    def _set_batch_size_and_oversample(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        # nnU-Net divides the share of samples with foreground among the ranks.
        run_of(trainer).oversample = float(trainer.oversample_foreground_percent)
        return original(trainer, *args, **kwargs)

    @staticmethod
    def get_dataloaders(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        run, states = run_of(trainer), []
        announce(trainer)
        if run.started:
            # Some trainers make new loaders while they train, with other patches or cases, in the place of those before. They
            # go on where those were, so that no batch comes twice.
            states = run.states()
            for augmenter in run.augmenters:
                augmenter.supersede()
            run.augmenters.clear()
            run.made = 0
        run.made_before = run.made
        with making_loaders(run, trainer):
            result = original(trainer, *args, **kwargs)
        for augmenter, state in zip(run.augmenters, states, strict=False):
            # Other patches or transforms are what such a trainer wants.
            own = {"fingerprint": augmenter.loader.fingerprint, "transforms": augmenter.loader.pipeline.digest}
            _load(augmenter, {**state, **own})
        _name_workers(trainer, result)
        return result

    @staticmethod
    def run_training(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        run = run_of(trainer)
        try:
            # A trainer may save checkpoints by itself, without save_checkpoint.
            with recording(trainer), writing(functools.partial(state_for, run)):
                return original(trainer, *args, **kwargs)
        except BaseException:
            # The loaders' threads must not go on while the exception is on its way, nor wait for the collector. Their states
            # stay: the handler of the exception may save a checkpoint.
            run.close()
            write_out(trainer)
            raise

    @staticmethod
    def on_validation_epoch_end(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        # Here nnU-Net waits for all ranks, and so the checkpoint that rank 0 saves next knows the bad cases of each.
        tell_other_ranks(run_of(trainer))
        return original(trainer, *args, **kwargs)

    @staticmethod
    def on_epoch_end(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        run = run_of(trainer)
        report_bad_cases(run, trainer)
        report_python_transforms(run, trainer)
        tell_other_ranks(run)
        if run.reporter is not None:
            run.reporter.epoch(trainer.current_epoch)
        return original(trainer, *args, **kwargs)

    @staticmethod
    def on_train_end(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        run = run_of(trainer)
        tell_other_ranks(run)
        report_at_end(run, trainer)
        stop_reporter(run)  # nnU-Net closes its loaders itself
        result = original(trainer, *args, **kwargs)
        run.close()
        return result

    @staticmethod
    def perform_actual_validation(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        installed = installation()
        assert installed is not None
        run, settings = run_of(trainer), installed.settings
        announce(trainer)

        def each(cases: list[str], read: Callable[[str], Any]) -> list[Any]:
            # In nnU-Net's own validation all ranks are here; a trainer's own may be called on one of them.
            return divide(cases, read) if run.validating else [read(case) for case in cases]

        skip = settings.on_bad_case == "skip"
        try:
            with (
                recording(trainer),
                naming_bad_cases(
                    trainer, skip, settings.unrestricted_pickles, sayer(trainer), each, settings.patience, settings.cache
                ),
            ):
                return original(trainer, *args, **kwargs)
        finally:
            write_out(trainer)

    @staticmethod
    def save_checkpoint(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        with writing(functools.partial(state_for, run_of(trainer))):
            return original(trainer, *args, **kwargs)

    @staticmethod
    def load_checkpoint(original: Method, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        run = run_of(trainer)
        source = args[0] if args else next(iter(kwargs.values()), None)
        with reading(source) as found:
            result = original(trainer, *args, **kwargs)
        read, state = found()
        if read:
            run.pending, run.without_state = state, state is None and trainer.current_epoch > 0
        return result


def _restore(run: Run, trainer: Any) -> None:
    """Continue the loaders where the checkpoint left them."""
    pending, run.pending = run.pending, None
    without_state, run.without_state = run.without_state, False
    if without_state:
        say(
            trainer,
            "fastnnunet_loader: the checkpoint has no state of the loaders (it was saved without them); batches start anew.",
        )
    if pending is None:
        return
    states = [state_of(pending, a.loader.role, a.loader.fingerprint) for a in run.augmenters]
    known = [state for state in states if state is not None]
    if len(known) < len(states):
        say(
            trainer,
            f"fastnnunet_loader: the checkpoint has the state of {len(known)} loaders, this training has {len(states)}; "
            "batches start anew.",
        )
        return
    if known:
        _tell_of_ranks(run, trainer, pending)
    for (name, augmenter), state in zip(run.names(), known, strict=True):
        if changed := augmenter.loader.differences(state):
            say(
                trainer,
                f"fastnnunet_loader, {name}: the checkpoint was saved with others ({'; '.join(changed)}): the batches are not "
                "those that would have followed.",
            )
        told = ("versions", "transforms")  # which the loader would warn of
        _load(augmenter, {key: value for key, value in state.items() if key not in told})
        run.seed = augmenter.loader.seed
    if known:
        steps = ", ".join(str(augmenter.loader.step) for augmenter in run.augmenters)
        say(trainer, f"fastnnunet_loader: continuing with seed {run.seed} at batch {steps}.")
        report_bad_cases(run, trainer)


def _load(augmenter: InProcessAugmenter, state: dict[str, Any]) -> None:
    """Continue a loader. A trainer may go on with another batch size than the state's, which is no error here."""
    loader = augmenter.loader
    size = {"global_batch_size": loader.global_batch_size} if loader.shares_batches else {}
    loader.load_state_dict({**state, **size})


def _tell_of_ranks(run: Run, trainer: Any, pending: dict[str, Any]) -> None:
    """Say whether the batches are those that would have followed, if the checkpoint is of other ranks."""
    saved_by, here = number_of_ranks(pending), ranks()
    exactly = all(follows(pending, augmenter.loader) for augmenter in run.augmenters)
    if exactly and saved_by == here:
        return
    others = f"of {saved_by} rank(s), this training has {here}."
    if saved_by == here:
        others = "of ranks that drew batches of their own, as earlier versions of fastnnunet_loader did."
    goes_on = "Seed, batch number and bad cases go on; the batches are not those that would have followed."
    if exactly:
        goes_on = "The batches are those that would have followed."
    say(trainer, f"fastnnunet_loader: the checkpoint is {others} {goes_on}")


def _name_workers(trainer: Any, made: Any) -> None:
    """Name loaders that keep worker processes although nothing has said so."""
    from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter

    for loader in made if isinstance(made, (list, tuple)) else [made]:
        with_workers = isinstance(loader, (MultiThreadedAugmenter, NonDetMultiThreadedAugmenter))
        if not with_workers or isinstance(loader, InProcessAugmenter) or loader in named:
            continue
        generator = type(getattr(loader, "generator", None)).__name__
        say(trainer, f"fastnnunet_loader: {type(loader).__name__} around {generator} keeps its worker processes.")
        named.add(loader)


def _predicting(validate: Method) -> Method:
    """nnU-Net's own final validation, also where a trainer that overrides it calls it, with what it then asks for."""

    @functools.wraps(validate)
    def method(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        installed = installation()
        if installed is None:
            return validate(trainer, *args, **kwargs)
        save_probabilities = bool(args[0] if args else kwargs.get("save_probabilities", False))
        unrestricted, given = installed.settings.unrestricted_pickles, installed.settings.budget
        # The loaders, which had the same budget, are closed by now.
        budget = memory().available // 2 // ranks_here() if given is None else given // ranks()
        run = run_of(trainer)
        run.validating = True
        try:
            with predicting_validation(
                trainer,
                save_probabilities,
                rank_threads(),
                sayer(trainer),
                memory_budget=budget,
                unrestricted_pickles=unrestricted,
            ):
                return validate(trainer, *args, **kwargs)
        finally:
            run.validating = False

    return method


def _wrapped(name: str, original: Method, hook: Method) -> Method:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = run_of(self)
        if name in run.inside or installation() is None:  # the base's method, called by the one that overrides it
            return original(self, *args, **kwargs)
        run.inside.add(name)
        try:
            return hook(original, self, *args, **kwargs)
        finally:
            run.inside.discard(name)

    return method


def _family(cls: Any) -> Iterator[Any]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _family(subclass)


def patch_trainer(patches: Patches) -> None:
    """Put the hooks around the methods of nnUNetTrainer and of all of its subclasses."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    hooks = {name: getattr(_Hooks, name) for name in vars(_Hooks) if not name.startswith("__")}

    def wrap(cls: Any) -> None:
        # Each class's own methods: one that overrides a method may never call its base's.
        for name, hook in hooks.items():
            original = vars(cls).get(name)
            if callable(original):
                patches.set(cls, name, _wrapped(name, original, hook))
        patch_own_pool(cls, patches)

    patches.set(nnUNetTrainer, "perform_actual_validation", _predicting(nnUNetTrainer.perform_actual_validation))
    for cls in _family(nnUNetTrainer):
        wrap(cls)

    def init_subclass(cls: Any, /, **kwargs: Any) -> None:
        super(nnUNetTrainer, cls).__init_subclass__(**kwargs)
        if installation() is not None:
            wrap(cls)

    patches.set(nnUNetTrainer, "__init_subclass__", classmethod(init_subclass))
