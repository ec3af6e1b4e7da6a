"""What the log of a training says of its loaders: at the start, after an epoch, at the end."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..loading.loader import DataLoader
from ..statistics.places import taken
from ..statistics.reporter import Reporter, ReportOptions
from ..system import available_cores, given_threads
from .augmenter import rank_threads
from .distributed.ranks import of_ranks, rank, ranks
from .log import say, sayer
from .runs import Run, installation

__all__ = [
    "describe",
    "report_at_end",
    "report_bad_cases",
    "report_python_transforms",
    "start_reporter",
    "stop_reporter",
]

_NOTICED = 0.05  # share of an epoch that the training waits for batches


def _never_ending(tell: Callable[[Run, Any], None]) -> Callable[[Run, Any], None]:
    """Make of what tells something a function that never raises: nothing that is told is worth a training."""

    @functools.wraps(tell)
    def telling(run: Run, trainer: Any) -> None:
        try:
            tell(run, trainer)
        except Exception as error:
            with contextlib.suppress(Exception):
                name = tell.__name__.replace("_", " ")
                say(trainer, f"fastnnunet_loader: [{name}] {type(error).__name__}: {error}; the training goes on")

    return telling


def describe(run: Run, trainer: Any) -> None:
    """Say which loaders there are, and what of them runs in Python."""
    installed = installation()
    for note in installed.notes if installed is not None else ():
        say(trainer, f"fastnnunet_loader: {note}", timestamp=False)
    given = given_threads()
    if given is not None and installed is not None and installed.settings.threads is None and given > rank_threads():
        say(
            trainer,
            f"fastnnunet_loader: nnUNet_n_proc_DA asks for {given} threads, but this process has {available_cores()} cores, so "
            f"{rank_threads()} are used. To use more, pass --threads, or threads to install().",
            timestamp=False,
        )
    for name, augmenter in run.names():
        loader = augmenter.loader
        say(trainer, f"fastnnunet_loader, {name}: {loader.describe()}", timestamp=False)
        for fallback in loader.pipeline.fallbacks:
            say(trainer, f"fastnnunet_loader, {name}: runs in Python: {fallback}", timestamp=False)


@_never_ending
def start_reporter(run: Run, trainer: Any) -> None:
    """Begin with the statistics that were asked for."""
    installed = installation()
    assert installed is not None
    chosen = installed.settings
    options = ReportOptions(
        None if chosen.stats is None else Path(chosen.stats),
        None if chosen.metrics is None else Path(chosen.metrics),
        chosen.log_stats,
        chosen.live,
        chosen.stats_every,
    ).of_rank(rank(), ranks())
    if not options.wanted:
        return
    if problem := taken(options.stats, options.metrics):  # of this rank's own files
        say(trainer, f"fastnnunet_loader: no statistics are told: {problem}")
        return
    stop_reporter(run)
    plans = trainer.plans_manager
    labels = {"dataset": plans.dataset_name, "configuration": trainer.configuration_name, "fold": str(trainer.fold)}
    known_run = weakref.ref(run)  # neither a trainer nor its loaders may live on because somebody looks at them

    def loaders() -> dict[str, DataLoader] | None:
        run = known_run()
        return None if run is None else {name: augmenter.loader for name, augmenter in run.names()}

    run.reporter = Reporter(options, loaders, sayer(trainer), {**labels, "rank": str(rank())})


def stop_reporter(run: Run) -> None:
    """End the statistics."""
    reporter, run.reporter = run.reporter, None
    if reporter is not None:
        reporter.stop()


@_never_ending
def report_bad_cases(run: Run, trainer: Any) -> None:
    """Say which cases are skipped, each once."""
    for augmenter in run.augmenters:
        if augmenter.loader.closed:
            continue
        for bad in augmenter.loader.bad_cases:
            if bad.name not in run.reported:
                run.reported.add(bad.name)
                again = augmenter.loader.reproduction(bad)
                say(trainer, f"fastnnunet_loader: skipping case {bad.name}: [{bad.file}] {bad.reason}\n{again}")


@_never_ending
def report_python_transforms(run: Run, trainer: Any) -> None:
    """Say once, after the first epoch, what transforms in Python cost where the training waits for them."""
    if run.judged:
        return
    run.judged = True
    for name, augmenter in run.names():
        loader = augmenter.loader
        if loader.closed or not loader.pipeline.fallbacks:
            continue
        stats = loader.stats()
        in_python = sum(stage.total for stage in stats.stages if not stage.native)
        if not stats.samples or stats.waited < _NOTICED * stats.running or stats.python_share < 0.5:
            continue
        kinds = ", ".join(sorted({fallback.split(":")[0] for fallback in loader.pipeline.fallbacks}))
        say(
            trainer,
            f"fastnnunet_loader, {name}: the first epoch waited {stats.waited:.0f} s of {stats.running:.0f} s for batches. "
            f"Transforms in Python ({kinds}) take {1e3 * in_python / stats.samples:.0f} ms of {1e3 * stats.sample_time:.0f} ms "
            f"for each sample, and hold Python's lock for part of it. With leave_to_nnunet=({name!r},) in install(), or "
            f"--leave-to-nnunet {name}, nnU-Net's worker processes make these batches instead.",
        )


@_never_ending
def report_at_end(run: Run, trainer: Any) -> None:
    """Say what the training did without, and what its batches cost."""
    report_bad_cases(run, trainer)
    if rank() == 0:
        # The other ranks told theirs before the last epoch's numbers were put together.
        excluded = [cases for told in of_ranks().values() for cases in told["excluded"].values()]
        without = run.reported.union(*excluded)
        if without:
            say(trainer, f"fastnnunet_loader: trained without bad cases: {', '.join(sorted(without))}")
    for name, augmenter in run.names():
        if augmenter.loader.closed:
            continue
        stats = augmenter.loader.stats()
        say(
            trainer,
            f"fastnnunet_loader: {stats.batches} {name} batches, {1e3 * stats.sample_time:.1f} ms of a thread per sample, "
            f"waited {stats.waited:.1f} s for batches in all",
        )
