"""Tells of the loaders of one training: after every epoch, and now and then from a thread of its own."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from ..errors import LoaderClosedError, ResourceError
from ..loading.statistics import LoaderStats
from ..settings import STATS_EVERY
from ..threads import start
from .files import append_json, write_metrics
from .text import line, table

if TYPE_CHECKING:
    from ..loading.loader import DataLoader

__all__ = ["ReportOptions", "Reporter"]

METRICS_EVERY = 10.0  # seconds
LINES_EVERY = 60.0
VIEW_EVERY = 1.0


@dataclass(frozen=True)
class ReportOptions:
    """What is told where; nothing by default."""

    stats: Path | None = None
    """A file of JSON lines: one for each loader every `stats_every` seconds, after every epoch and at the end."""
    metrics: Path | None = None
    """A file in Prometheus' text format, written anew every 10 seconds, after every epoch and at the end."""
    log_stats: bool = False
    """A line in the log after every epoch."""
    live: bool = False
    """A view in the terminal while training; where the output is none, a line every minute."""
    stats_every: float = STATS_EVERY

    def of_rank(self, rank: int, ranks: int) -> ReportOptions:
        """Each rank of several has files of its own, and only the first has a terminal."""
        if ranks == 1:
            return self

        def own(file: Path | None) -> Path | None:
            return None if file is None else file.with_name(f"{file.stem}.rank{rank}{file.suffix}")

        return replace(self, stats=own(self.stats), metrics=own(self.metrics), live=self.live and rank == 0)

    @property
    def wanted(self) -> bool:
        """Whether anything is told."""
        return self.log_stats or self.live or self.stats is not None or self.metrics is not None


class Reporter:
    """Reports on loaders until `stop()`. Whatever goes wrong with it is said once in the log, and the training goes on."""

    def __init__(
        self,
        options: ReportOptions,
        loaders: Callable[[], Mapping[str, DataLoader] | None],
        log: Callable[[str], None],
        labels: dict[str, str],
    ) -> None:
        # `loaders` gives those of now by name, for a training may make new ones; None once the training is gone.
        self._options = options
        self._loaders = loaders
        self._batch_sizes: dict[str, int] = {}
        self._log = log
        self._labels = labels
        self._before: dict[str, LoaderStats] = {}
        self._failed: set[str] = set()
        self._ended = threading.Event()
        self._live: Live | None = None
        self._shown: dict[str, LoaderStats] = {}
        console = Console(file=sys.stdout)
        if options.live and console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
        self._thread: threading.Thread | None = None
        if options.live or options.stats is not None or options.metrics is not None:
            thread = threading.Thread(target=self._run, name="fastnnunet statistics", daemon=True)
            try:
                start(thread, "[statistics] expected a thread that tells of them")
            except ResourceError as error:
                log(f"fastnnunet_loader: warning: {error}. Statistics are told at the ends of epochs only.")
                if self._live is not None:
                    self._live.stop()
                    self._live = None
            else:
                self._thread = thread

    def _now(self) -> dict[str, LoaderStats]:
        now = {}
        for name, loader in (self._loaders() or {}).items():
            with self._never_ending("cannot be taken"), contextlib.suppress(LoaderClosedError):
                now[name] = loader.stats()
                self._batch_sizes[name] = loader.batch_size
        return now

    def _run(self) -> None:
        options, seconds = self._options, 0.0
        stats_at, metrics_at, line_at = options.stats_every, METRICS_EVERY, LINES_EVERY
        pause = VIEW_EVERY if self._live is not None else min(options.stats_every, METRICS_EVERY, LINES_EVERY)
        while not self._ended.wait(pause):
            seconds += pause
            now = self._now()
            if self._loaders() is None:
                return
            if not now:
                continue
            if self._live is not None:
                with self._never_ending("cannot be shown"):
                    self._view(now)
            elif options.live and seconds >= line_at:
                line_at = seconds + LINES_EVERY
                with self._never_ending("cannot be shown"):
                    for name, stats in now.items():
                        if stats.batches:
                            print(f"{name}: {line(stats, self._shown.get(name), self._batch_sizes[name])}", flush=True)
                self._shown = now
            if seconds >= stats_at:
                stats_at = seconds + options.stats_every
                self._write_stats(now, {"event": "running"})
            if seconds >= metrics_at:
                metrics_at = seconds + METRICS_EVERY
                self._write_metrics(now)

    def _view(self, now: dict[str, LoaderStats]) -> None:
        assert self._live is not None
        rows = {n: (s, self._before.get(n), self._batch_sizes[n]) for n, s in now.items() if s.batches}
        self._live.update(table(rows), refresh=True)

    def epoch(self, number: int) -> None:
        """Tells of the epoch that ends."""
        now = self._now()
        if self._options.log_stats:
            for name, stats in now.items():
                with self._never_ending("cannot be told"):
                    told = line(stats, self._before.get(name), self._batch_sizes[name])
                    self._log(f"fastnnunet_loader, {name}, epoch {number}: {told}")
        self._write_stats(now, {"event": "epoch", "epoch": number})
        self._write_metrics(now)
        self._before = now

    def stop(self) -> None:
        """Tells of the end, and ends the thread and the view. Idempotent."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
        if self._live is not None:
            with self._never_ending("cannot be shown"):
                self._live.stop()
        now = self._now()
        self._write_stats(now, {"event": "end"})
        self._write_metrics(now)

    def _write_stats(self, now: dict[str, LoaderStats], entry: dict[str, Any]) -> None:
        file = self._options.stats
        if file is None:
            return
        with self._never_ending(f"cannot be written to {file}"):
            for name, stats in now.items():
                told = stats.as_dict()
                if entry["event"] == "running":
                    del told["stages"]  # most of a line, and they hardly change from one to the next
                append_json(file, {**entry, **self._labels, "loader": name, **told})

    def _write_metrics(self, now: dict[str, LoaderStats]) -> None:
        file = self._options.metrics
        if file is not None and now:
            with self._never_ending(f"cannot be written to {file}"):
                write_metrics(file, now, self._labels)

    @contextlib.contextmanager
    def _never_ending(self, what: str) -> Iterator[None]:
        """Inside, an error is said once: no statistic is worth a training."""
        try:
            yield
        except Exception as error:
            if what in self._failed:
                return
            self._failed.add(what)
            said = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
            with contextlib.suppress(Exception):  # the log may be on the disk that is full
                self._log(f"fastnnunet_loader: statistics {what}: {said}")
