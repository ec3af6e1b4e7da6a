"""Memory and processor time of processes and their children, and both loaders measured by them.

The measured loader runs in a process of its own, watched from here, so that neither the other loader nor the watching
is part of what is measured. Only Linux tells how much of a process's memory is shared, so it works there only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import psutil

from ..threads import start

if TYPE_CHECKING:
    from ..loading.statistics import LoaderStats

__all__ = ["LOADERS", "Measurement", "PeakMemory", "measure", "process_tree", "tree_cpu_seconds", "tree_memory"]

LOADERS = ("fastnnunet", "nnunet")

NO_BATCH = 600.0
"""Seconds after which a loader that makes no batch is given up."""

LOST = 30.0
"""The same after a worker process has said that it cannot hand its batch over: nnU-Net waits for it forever."""

_LOST = re.compile(r"shared memory|/torch_\d|No space left on device|Bus error|Too many open files")


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and its living descendants; none if it has gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def tree_memory(pid: int) -> int:
    """Return the bytes that a process and its descendants occupy; what they share, shared memory included, counts once."""
    occupied = 0
    for process in process_tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ends meanwhile
            occupied += process.memory_full_info().pss
    return occupied


def tree_cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all its descendants, living or waited for."""
    seconds = 0.0
    for process in process_tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])  # user, system, and those of children waited for
    return seconds


class PeakMemory:
    """Watches a process and its descendants while the `with` block lasts; `.bytes` is the peak of what was seen."""

    def __init__(self, pid: int, interval: float = 0.1) -> None:
        self.bytes = 0
        self._pid = pid
        self._interval = interval
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fastnnunet-memory", daemon=True)

    def _watch(self) -> None:
        while not self._end.is_set():
            self.bytes = max(self.bytes, tree_memory(self._pid))
            self._end.wait(self._interval)

    def __enter__(self) -> PeakMemory:
        start(self._thread, "[memory] expected a thread that watches it")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()


@dataclass(frozen=True)
class Measurement:
    """What one loader did on one data set."""

    loader: str
    workers: int
    """Threads, or nnU-Net's processes."""
    batch_size: int
    patch_size: tuple[int, ...]
    samples: int
    """How many the figures below were taken from."""
    samples_per_second: float
    cpu_seconds_per_sample: float
    """Of all processes."""
    first_batch_seconds: float
    """From the making of the loader."""
    peak_memory: int
    """Of all processes, in bytes, from start to end, the imports of Python, torch and nnU-Net included; 0 if not watched."""
    stages: dict[str, float]
    """Thread seconds of a sample by stage, as of `LoaderStats.stages`; empty for nnU-Net's."""


def measure(
    loader: str,
    dataset: str,
    configuration: str,
    fold: int | str = 0,
    *,
    workers: int = 1,
    seconds: float = 20.0,
    trainer: str = "nnUNetTrainer",
    plans: str = "nnUNetPlans",
    seed: int = 0,
    keep_blocks: bool = True,
    watch_memory: bool = True,
) -> Measurement:
    """Measure the training loader of a configuration, with nothing to wait for on the side of the training.

    loader: one of LOADERS. workers: threads, or processes of nnU-Net's. seconds: at least so long, after a warm-up.
    keep_blocks: as of DataLoader.from_nnunet. watch_memory: also find the peak of memory, which takes some of the time of a
    core: the pages of all processes are counted ten times a second. The environment names nnU-Net's folders. Raises
    RuntimeError, with what was printed, if the loader fails or makes no batch.
    """
    if loader not in LOADERS:
        raise ValueError(f"[measure] expected one of {LOADERS}, got {loader!r}")
    command = [sys.executable, "-m", "fastnnunet_loader.bench.measure", loader, dataset, configuration, str(fold)]
    command += ["--workers", str(workers), "--seconds", str(seconds), "-tr", trainer, "-p", plans, "--seed", str(seed)]
    command += [] if keep_blocks else ["--no-blocks"]
    # joblib makes a semaphore in shared memory when it is imported; neither loader needs it. nnU-Net is measured as it is.
    env = {**os.environ, "JOBLIB_MULTIPROCESSING": "0", "FASTNNUNET_RUN": "0"}
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", env=env
        ) as process,
        PeakMemory(process.pid) if watch_memory else contextlib.nullcontext() as peak,
    ):
        printed, errors, without = _communicated(process)
    if without is not None:
        raise RuntimeError(f"[measure] expected batches of {loader}, got none for {without:.0f} s:\n{errors}")
    if process.returncode != 0:
        raise RuntimeError(f"[measure] expected figures of {loader}, got exit code {process.returncode}:\n{errors}")
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    figures["patch_size"] = tuple(figures["patch_size"])
    return Measurement(**{**figures, "peak_memory": 0 if peak is None else peak.bytes})


def _communicated(process: subprocess.Popen[str]) -> tuple[str, str, float | None]:
    """Return what a measuring process prints, its errors, and the seconds without a batch for which it was ended, or None."""
    printed: list[str] = []
    errors: list[str] = []
    heard = time.monotonic()

    def read(stream: Any, lines: list[str]) -> None:
        nonlocal heard
        for line in stream:
            lines.append(line)
            if lines is printed:  # a line for each batch
                heard = time.monotonic()

    streams = ((process.stdout, printed), (process.stderr, errors))
    threads = [threading.Thread(target=read, args=of, name="fastnnunet-measured", daemon=True) for of in streams]
    for thread in threads:
        start(thread, "[measure] expected a thread that reads what a loader prints")
    without = None
    while process.poll() is None:
        time.sleep(0.05)
        limit = LOST if any(_LOST.search(line) for line in errors) else NO_BATCH
        if time.monotonic() - heard > limit:
            without = limit
            for one in reversed(process_tree(process.pid)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            break
    for thread in threads:
        thread.join(5.0)  # a worker that outlives its loader keeps the pipe
    process.wait()
    return "".join(printed), "".join(errors), without


def _make_loader(kind: str, source: Any, workers: int, seed: int, keep_blocks: bool) -> Any:
    import torch

    pin_memory = torch.cuda.is_available()
    if kind == "fastnnunet":
        from ..loading.loader import DataLoader

        return DataLoader.from_nnunet(source, threads=workers, seed=seed, pin_memory=pin_memory, keep_blocks=keep_blocks)
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter

    # As nnUNetTrainer.get_dataloaders has it.
    return NonDetMultiThreadedAugmenter(
        data_loader=source,
        transform=None,
        num_processes=workers,
        num_cached=max(6, workers // 2),
        seeds=None,
        pin_memory=pin_memory,
        wait_time=0.002,
    )


def _read_ahead(folder: Path) -> None:
    """Let both loaders find the files in the system's cache, as far as half of what is free holds them."""
    from ..system import memory

    room = memory().available // 2
    for file in sorted(folder.iterdir()):
        room -= file.stat().st_size
        if room < 0:
            return
        with file.open("rb") as content:
            while content.read(2**24):
                pass


def _measure_here(args: argparse.Namespace) -> Measurement:
    import torch

    from ..nnunet.sources import open_source

    torch.set_num_threads(1)  # as nnUNetv2_train does on a GPU
    opened = open_source(args.dataset, args.configuration, args.fold, args.tr, args.p)
    source = opened.train
    _read_ahead(Path(opened.trainer.preprocessed_dataset_folder))

    started = time.perf_counter()
    loader = _make_loader(args.loader, source, args.workers, args.seed, not args.no_blocks)
    _next(loader)
    first_batch = time.perf_counter() - started
    for _ in range(2 * args.workers + 2):
        _next(loader)

    here = os.getpid()
    cpu, started, batches = tree_cpu_seconds(here), time.perf_counter(), 0
    while time.perf_counter() - started < args.seconds or batches < 4:
        _next(loader)
        batches += 1
    elapsed, cpu = time.perf_counter() - started, tree_cpu_seconds(here) - cpu
    stages = _stages(loader.stats()) if args.loader == "fastnnunet" else {}
    (loader.close if args.loader == "fastnnunet" else loader._finish)()
    samples = batches * int(source.batch_size)
    return Measurement(
        loader=args.loader,
        workers=args.workers,
        batch_size=int(source.batch_size),
        patch_size=tuple(int(n) for n in source.final_patch_size[-3 if not source.patch_size_was_2d else -2 :]),
        samples=samples,
        samples_per_second=samples / elapsed,
        cpu_seconds_per_sample=cpu / samples,
        first_batch_seconds=first_batch,
        peak_memory=0,
        stages=stages,
    )


def _next(loader: Any) -> None:
    next(loader)
    print("batch", flush=True)  # whoever watches knows that there is one


def _stages(stats: LoaderStats) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for stage in stats.stages:
        seconds[stage.name] = seconds.get(stage.name, 0.0) + stage.total / stats.samples
    return seconds


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastnnunet_loader.bench.measure", description=__doc__)
    parser.add_argument("loader", choices=LOADERS)
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("fold", type=lambda text: text if text == "all" else int(text))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-blocks", action="store_true")
    parser.add_argument("-tr", default="nnUNetTrainer")
    parser.add_argument("-p", default="nnUNetPlans")
    print(json.dumps(asdict(_measure_here(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    _main()
