"""The system gives the process no more threads (`ulimit -u`): each place that starts some says so, or does without."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import resource
import shutil
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from nnunetv2.inference import data_iterators

import fastnnunet_loader as fl
from fastnnunet_loader import operating_system
from fastnnunet_loader.cli.command import main
from fastnnunet_loader.cluster.worker import Orders, Worker, with_threads
from fastnnunet_loader.doctor import files as doctor
from fastnnunet_loader.loading.opened import _close_all, end_elsewhere
from fastnnunet_loader.nnunet.distributed.failures import Failures
from fastnnunet_loader.prediction.replacements.pools import ThreadProcess
from fastnnunet_loader.prediction.session.predictor import PredictorOptions
from fastnnunet_loader.statistics.reporter import Reporter, ReportOptions
from fastnnunet_loader.threads import ThreadPool

from .fault import become_another_user, expect, fault, not_tried
from .preprocessing import CONFIGURATION, data_of
from .scene import Scene

ADVICE = "use fewer threads or processes, or raise the limit"

Work = Callable[[], str]
"""Does what starts threads, and returns the warnings of it."""


def _outcomes(scene: Scene, work: Work, amounts: tuple[int, ...]) -> list[str]:
    """What comes of it where the process may have so many more threads. The last amount is enough."""
    expect(work() == "", "there was a warning without a limit")  # also, what is imported late is there
    become_another_user()
    usual, found = scene.keep(), []
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    for more in amounts:
        expect(scene.threads_within(usual), "threads are left")
        limit = usual + more
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, before[1]))
        try:
            said = work()
        except fl.ResourceError as error:
            said = f"ResourceError: {error}"
        finally:
            resource.setrlimit(resource.RLIMIT_NPROC, before)
        expect(not said or (f"(ulimit -u {limit}" in said and ADVICE in said and "\n" not in said.strip()), said)
        found.append(said)
    expect(found[-1] == "", f"{amounts[-1]} threads are not enough: {found[-1]}")
    return found


def _add(name: str, place: Callable[[Scene], Work], what: str, amounts: tuple[int, ...], promised: str, errors: int) -> None:
    """Add a place. what: the words where it has least. errors: for how many of the amounts there is an error."""

    @fault(f"no threads: {name}", promised, limit=60)
    def _(scene: Scene) -> str:
        if os.getuid() != 0:
            return not_tried("only root can become another user")
        found = _outcomes(scene, place(scene), amounts)
        expect(what in found[0], f"it said {found[0]!r}")
        expect([said.startswith("ResourceError: ") for said in found] == [at < errors for at in range(len(found))], str(found))
        return found[0]


def _refused(name: str, place: Callable[[Scene], Work], what: str, needs: int = 1, enough: int | None = None) -> None:
    """Add a place that cannot do with fewer threads than it needs.

    what: the words of its error where there is none. enough: threads for all of it, if libraries start some, too.
    """
    promised = "ResourceError says what limits them and what to do; with as many as are needed, all is done"
    _add(name, place, what, (*range(needs), enough or needs), promised, needs)


def _goes_on(name: str, place: Callable[[Scene], Work], what: str, least: int = 0) -> None:
    """Add a place that does without the thread. what: the words of its warning. least: threads that others need."""
    _add(name, place, what, (least, 64), "a warning says what limits them, and all is done without the thread", 0)


def _called(*command: object) -> str:
    """Run a command of this package in this process; its error, if it has one."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([str(word) for word in command])
    errors = [line for line in said.getvalue().splitlines() if line.startswith("fastnnunet: error: ")]
    expect(code == len(errors) and code < 2 and "Traceback" not in said.getvalue(), said.getvalue()[-1500:])
    return "".join(errors).replace("fastnnunet: error:", "ResourceError:")


def _model(scene: Scene) -> Path:
    """The folder of a network that has learned nothing."""
    trainer = scene.source.trainer
    folder = scene.root / "model"
    trainer.output_folder = str(folder / "fold_0")
    Path(trainer.output_folder).mkdir(parents=True)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.initialize()
        trainer.save_checkpoint(f"{trainer.output_folder}/checkpoint_final.pth")
    for name, content in (("plans", trainer.plans_manager.plans), ("dataset", trainer.dataset_json)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _images(scene: Scene) -> list[str]:
    """Two images to predict, in a folder of their own."""
    folder = scene.root / "images"
    folder.mkdir()
    return [shutil.copy(image, folder) for image in data_of(scene).images[:2]]


def _prediction(scene: Scene) -> Work:
    images, model, output = _images(scene), _model(scene), scene.root / "output"

    def work() -> str:
        common = ["-device", "cpu", "--disable_tta", "-step_size", "1", "-f", "0"]
        said = _called("predict", "-i", scene.root / "images", "-o", output, "-m", model, *common)
        made = [file for file in output.iterdir() if file.name.endswith(".nii.gz")]
        expect(len(made) == (0 if said else len(images)), f"{made} are there: {said}")
        shutil.rmtree(output)
        return said

    return work


def _preprocessing(scene: Scene) -> Work:
    data = data_of(scene)

    def work() -> str:
        said = _called("preprocess", "-d", data.raw.name[7:10], "-c", CONFIGURATION, "--threads", 2)
        expect(len(data.made()) == (0 if said else len(data.images)), f"{data.made()} are there: {said}")
        shutil.rmtree(data.output, ignore_errors=True)
        return said

    return work


def _packing(scene: Scene) -> Work:
    images, output = _images(scene), scene.root / "output"

    def work() -> str:
        said = _called("pack", scene.root / "images", "-o", output, "--threads", 2)
        made = list(output.glob("*.b2nd")) if output.is_dir() else []
        expect(len(made) == (0 if said else len(images)), f"{made} are there: {said}")
        shutil.rmtree(output, ignore_errors=True)
        return said

    return work


def _ray(scene: Scene) -> Work:
    model, output = _model(scene), scene.root / "output"
    output.mkdir()
    options = PredictorOptions(str(model), (0,), "checkpoint_final.pth", "cpu", 1.0, False, False, False)
    orders = with_threads(Orders(options, output, ".nii.gz", False, None, 0.0), 1, 1, fl.__version__)

    def work() -> str:
        worker = Worker(orders)
        expect(worker.start() == socket.gethostname(), "it has another name")
        worker.abandon()
        for thread in threading.enumerate():
            if thread.name.startswith("fastnnunet"):
                thread.join(5)
        return ""

    return work


def _pool(_: Scene) -> Work:
    def work() -> str:
        with ThreadPool(2) as pool:
            expect(pool.map(abs, range(-100, 0)) == list(range(100, 0, -1)), "the results are others")
        return ""

    return work


def _process(_: Scene) -> Work:
    def work() -> str:
        process, done = ThreadProcess(target=(ran := []).append, args=(1,), name="reader"), ran
        process.start()
        process.join()
        expect(done == [1] and process.exitcode == 0, "it did not run")
        return ""

    return work


def _ranks(_: Scene) -> Work:
    def work() -> str:
        with Failures(torch.distributed.HashStore(), 0).heard():
            return ""

    return work


def _doctor(scene: Scene) -> Work:
    expected = doctor.Expected(1, frozenset(), (4.0, 4.0, 4.0), (0, 1, 2), False)

    def work() -> str:
        checks = doctor.check_folder(scene.folder, CONFIGURATION, expected, "", 2, False)
        expect(any("cases read in full" in check.found for check in checks), str(checks))
        return ""

    return work


def _loader(scene: Scene) -> Work:
    def work() -> str:
        with scene.loader(threads=2) as loader:
            scene.take(loader, 3)
        return ""

    return work


def _copies(scene: Scene) -> Work:
    cache = scene.root / "cache"

    def work() -> str:
        said: list[str] = []
        with scene.loader(threads=1, memory_budget="256MB", cache_dir=cache, cache_size="1GB", report=said.append) as loader:
            scene.take(loader, 3)
        expect(any(cache.rglob("*.b2nd")), "there are no copies")
        return "".join(said)

    return work


def _statistics(scene: Scene) -> Work:
    def work() -> str:
        said: list[str] = []
        file = scene.root / "statistics.jsonl"
        with scene.loader(threads=1) as loader:
            reporter = Reporter(ReportOptions(stats=file), lambda: {"training": loader}, said.append, {})
            scene.take(loader, 3)
            reporter.epoch(0)
            reporter.stop()
        events = [json.loads(line)["event"] for line in file.read_text(encoding="utf-8").splitlines()]
        expect(events[-2:] == ["epoch", "end"], str(events))
        return "".join(said)

    return work


def _ahead(scene: Scene) -> Work:
    files, trainer = [[image] for image in _images(scene)], scene.source.trainer
    fl.install(threads=1)

    def work() -> str:
        said = io.StringIO()
        handler = logging.StreamHandler(said)
        log = logging.getLogger("fastnnunet_loader")
        log.addHandler(handler)
        try:
            plan = (trainer.plans_manager, trainer.dataset_json, trainer.configuration_manager)
            items = list(data_iterators.preprocessing_iterator_fromfiles(files, None, None, *plan, 1))
        finally:
            log.removeHandler(handler)
        expect([item["data"].shape[0] for item in items] == [1] * len(files), "the cases are others")
        return said.getvalue()

    return work


def _closing(scene: Scene) -> Work:
    def work() -> str:
        loader = scene.loader(threads=1)
        scene.take(loader, 1)
        core, loader._core = loader._core, None
        end_elsewhere(core)
        _close_all()  # as at the end of the program
        expect(core.close(timedelta(seconds=5)), "its threads are at work")
        return ""

    return work


_refused("fastnnunet predict", _prediction, "[prediction] expected a thread that writes cases, got none", 3, 64)
_refused("fastnnunet preprocess", _preprocessing, "[preprocess] expected a thread for the cases, got none")
_refused("fastnnunet pack", _packing, "[threads] expected a thread of a pool, got none")
_refused("a worker of Ray", _ray, f"[--ray] expected a thread that predicts on {socket.gethostname()}, got none")
_refused("a pool in place of nnU-Net's", _pool, "[threads] expected a thread of a pool, got none")
_refused("a thread in place of nnU-Net's process", _process, "[reader] expected a thread in place of nnU-Net's process")
_refused("the one that hears of other ranks", _ranks, "[ranks] expected a thread that hears of other ranks' errors, got none")
_refused("doctor's", _doctor, "[threads] expected a thread of a pool, got none")
_refused("a loader", _loader, "[threads] expected 2 threads for a loader, got ", 2)
_goes_on("those that copy files ahead", _copies, "[cache_dir] expected a thread that copies files ahead, got none", 1)
_goes_on("the one that tells statistics", _statistics, "[statistics] expected a thread that tells of them, got none", 1)
_goes_on("the one that preprocesses ahead", _ahead, "[prediction] expected a thread that preprocesses the next case, got none")
_goes_on("the one that closes a loader", _closing, "", 1)


@fault("no threads: pids.max of a control group", "ResourceError names the group's limit")
def _(scene: Scene) -> str:
    home = next(iter(operating_system._groups_of_processes()), None)
    group = None if home is None else home / f"fastnnunet-{os.getpid()}"
    try:
        if home is None or group is None:
            return not_tried("no control groups of processes")
        group.mkdir()
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            (group / "pids.max").write_text(str(limit := scene.keep()), encoding="ascii")
            _pool(scene)()
        except fl.ResourceError as error:
            error.__traceback__ = None  # it holds the pool
            expect(f"pids.max of the control group {limit}, {limit} in use" in str(error) and ADVICE in str(error), str(error))
            return str(error)
        finally:
            (home / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            group.rmdir()
    except OSError as error:
        return not_tried(f"no group can be made here: {error}")
    expect(False, "there was a thread")
    return ""
