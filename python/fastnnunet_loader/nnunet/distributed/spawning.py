"""The ranks of `-num_gpus`: install() in each, and their end: all of them, with the error of the one that failed first."""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import ProcessException, ProcessRaisedException

from ...checkpoints import naming_checkpoints
from ...errors import RankError
from ...listening import listen, listening
from ...loading.loader import draw_seed
from ...operating_system import interrupt
from ...settings import Settings
from ...termination import Terminated

__all__ = ["InstalledRank", "Spawning"]

PATIENCE = 30.0
"""Seconds that ranks get to end by themselves after Ctrl-C: a trainer may save a checkpoint meanwhile."""

_CHAIN = "\nThe above exception was the direct cause of the following exception:\n"


@dataclass(frozen=True)
class InstalledRank:
    """nnU-Net's run_ddp in a new process, where everything has to be installed again."""

    install: Callable[[Settings], None]
    settings: Settings
    listens: bool  # on SIGUSR1, as the command that started it does
    run_ddp: Callable[..., Any]  # found by its name in the new process

    def __call__(self, rank: int, *args: Any) -> Any:
        """As run_ddp."""
        if self.listens:
            listen()
        self.install(self.settings)
        with naming_checkpoints():
            return self.run_ddp(rank, *args)


class Spawning:
    """torch.multiprocessing as nnU-Net's run_training sees it: spawn() installs this package in the new processes."""

    def __init__(self, module: Any, settings: Callable[[], Settings | None], install: Callable[[Settings], None]) -> None:
        self._module = module
        self._settings = settings
        self._install = install

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def spawn(
        self, fn: Callable[..., Any], args: Any = (), nprocs: int = 1, join: bool = True, *further: Any, **options: Any
    ) -> Any:
        """As torch.multiprocessing.spawn.

        Raises:
            RankError: a rank failed with an error of this package; it is a ProcessRaisedException, too.
            torch.multiprocessing.ProcessRaisedException: a rank failed otherwise: the first one. Others fail after it, for they
                miss it.
        """
        settings = self._settings()
        if settings is None:
            return self._module.spawn(fn, args, nprocs, join, *further, **options)
        chosen = replace(settings, seed=draw_seed() if settings.seed is None else settings.seed)
        ranked = InstalledRank(self._install, chosen, listening(), fn)
        context = self._module.spawn(ranked, args, nprocs, False, *further, **options)
        if not join:
            return context
        try:
            while not context.join():
                pass
        except ProcessException as error:
            raise _first(context, error) from error
        except BaseException as ending:
            # Whoever sends SIGTERM kills soon, and a rank that it reaches does not save anything.
            _end(context.processes, 0.0 if isinstance(ending, Terminated) else PATIENCE)
            raise
        return None


class _RankError(RankError, ProcessRaisedException):
    """As torch's, which callers of nnU-Net's run_training may expect."""

    def __init__(self, message: str, because: str, rank: int, pid: int) -> None:
        ProcessRaisedException.__init__(self, message, rank, pid)
        self.rank, self.because = rank, because


def _first(context: Any, error: ProcessException) -> ProcessException:
    """Return the error of the rank that failed first. torch reports the one that ended first."""
    files = [Path(file) for file in context.error_files]
    written = [(file.stat().st_mtime_ns, rank) for rank, file in enumerate(files) if file.is_file()]
    if not written or not isinstance(error, ProcessRaisedException):
        return error  # killed: there is nothing to read
    rank = min(written)[1]
    trace: str = pickle.loads(files[rank].read_bytes())  # a rank of this training has written it a moment ago
    pid = context.processes[rank].pid
    ours = list(re.finditer(r"^fastnnunet_loader\.errors\.\w+: ", trace, re.MULTILINE))
    if ours:
        causes = trace[: ours[-1].start()].split(_CHAIN)[:-1]
        because = re.sub(r"^[\w.]+\.(?=\w+: )", "", causes[-1].strip().splitlines()[-1]) if causes else ""
        return _RankError(f"[rank {rank}] {trace[ours[-1].end() :].rstrip()}", because, rank, pid)
    if rank == error.error_index:
        return error
    return ProcessRaisedException(f"\n\n-- Process {rank} terminated with the following error:\n{trace}", rank, pid)


def _end(processes: Sequence[Any], patience: float) -> None:
    """Wait for the ranks after Ctrl-C, and end those that do not: it may have reached this process only, or not be heard."""

    def wait(seconds: float) -> list[Any]:
        end = time.monotonic() + seconds
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        return [process for process in processes if process.is_alive()]

    try:
        if patience:
            for process in wait(patience):
                interrupt(process.pid)
            wait(patience)
    finally:  # a second Ctrl-C ends them now
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in wait(5):
            process.kill()
            process.join()
