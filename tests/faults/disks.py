"""Disks and file servers that are shared: files that move, errors that pass, locks that hang or lie."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import fastnnunet_loader as fl

from .fault import expect, fault, not_tried
from .scene import OPENS, READS, STATS, Scene

__all__: list[str] = []

SAME = "the same batches as without"
AWAY = READS + STATS + OPENS
PASSING = ("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "ENOTCONN", "EHOSTDOWN")


def _files(scene: Scene) -> list[Path]:
    return sorted(file for file in scene.folder.iterdir() if file.suffix == ".b2nd")


def _same(scene: Scene, change: Callable[[], object], **options: Any) -> fl.DataLoader:
    """Batches before and after `change` are those that come without it."""
    options = {"keep_blocks": False, "patience": 60.0, "prefetch": 1, **options}
    with scene.loader(**options) as undisturbed:
        expected = scene.take(undisturbed, 24)
    loader = scene.loader(**options)
    found = scene.take(loader, 6)
    change()
    found += scene.take(loader, 18)
    expect(all(map(torch.equal, found, expected)), "the batches are others")
    expect(not loader.bad_cases, f"skipped: {loader.bad_cases}")
    return loader


@fault("files touched", SAME)
def _(scene: Scene) -> str:
    _same(scene, lambda: [os.utime(file, (1e9, 1e9)) for file in _files(scene)], patience=0.0)
    return f"24 batches, after {len(_files(scene))} files had another time"


@fault("files moved to other inodes", SAME)
def _(scene: Scene) -> str:
    def move() -> None:
        for file in _files(scene):
            before = file.stat().st_ino
            shutil.copyfile(file, scene.root / "copy")
            (scene.root / "copy").replace(file)
            expect(file.stat().st_ino != before, "the inode is the same")

    _same(scene, move, patience=0.0)
    return "24 batches"


@fault("files moved to another device", SAME + "; where nothing can be mounted, it says so")
def _(scene: Scene) -> str:
    if not scene.may_mount():
        return not_tried("nothing can be mounted here")
    other = scene.root / "other"
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
    shutil.copytree(scene.folder, other, dirs_exist_ok=True)

    def move() -> None:
        before = _files(scene)[0].stat().st_dev
        subprocess.run(["mount", "--bind", other, scene.folder], check=True)
        expect(_files(scene)[0].stat().st_dev != before, "the device is the same")

    try:
        _same(scene, move, patience=0.0).close()
    finally:
        subprocess.run(["umount", "-l", scene.folder], check=False)
        subprocess.run(["umount", "-l", other], check=False)
    return "24 batches"


@fault("files written again with the same bytes, slowly", SAME)
def _(scene: Scene) -> str:
    contents = {file: file.read_bytes() for file in _files(scene)[:2]}

    def write() -> None:
        opened = [file.open("wb") for file in contents]
        for part in range(4):
            for stream, content in zip(opened, contents.values(), strict=True):
                quarter = len(content) // 4 + 1
                stream.write(content[part * quarter : (part + 1) * quarter])
                stream.flush()
            time.sleep(0.4)
        for stream in opened:
            stream.close()

    def begin() -> None:
        for file in contents:
            os.truncate(file, 0)
        threading.Thread(target=write).start()

    _same(scene, begin)
    return "24 batches"


@fault("reads that end early, or are interrupted", SAME)
def _(scene: Scene) -> str:
    _same(scene, lambda: scene.disk(3), patience=0.0).close()
    scene.disk(0)
    return "24 batches"


@fault("files replaced by others of the same size", "one BadCaseError names case, file and reason")
def _(scene: Scene) -> str:
    loader = scene.loader(keep_blocks=False, threads=1, patience=5.0)
    scene.take(loader, 6)
    for file in _files(scene):
        content = bytearray(file.read_bytes())
        content[len(content) // 3 : len(content) // 2] = os.urandom(len(content) // 2 - len(content) // 3)
        (scene.root / "copy").write_bytes(content)
        (scene.root / "copy").replace(file)
    with scene.within(10):
        error = scene.error_of(loader, fl.BadCaseError)
    expect("replaced or changed" in error.reason and error.file.endswith(".b2nd"), str(error))
    return f"BadCaseError: {error.reason}"


def _passes(name: str, *, for_ever: bool) -> None:
    number = getattr(errno, name)

    @fault(f"file server gives {name}, once and for a while", SAME)
    def _(scene: Scene) -> str:
        def fail() -> None:
            scene.disk(1, error=number, calls=AWAY, times=2)
            time.sleep(0.2)
            scene.disk(1, error=number, calls=AWAY)
            scene.later(0.7, lambda: scene.disk(0))

        begin = time.monotonic()
        _same(scene, fail)
        expect(time.monotonic() - begin > 0.9, "nothing was waited for")
        return "24 batches"

    if not for_ever:
        return

    @fault(f"file server gives {name} for ever", "one BadCaseError says so, and for how long it was tried; later, batches come")
    def _(scene: Scene) -> str:
        loader = scene.loader(keep_blocks=False, prefetch=1, patience=0.5)
        scene.take(loader, 3)
        scene.disk(1, error=number, calls=AWAY)
        with scene.within(5):
            error = scene.error_of(loader, fl.BadCaseError)
        scene.disk(0)
        said = error.reason
        expect("tried again for 0.5 s" in said and (os.strerror(number) in said or os.strerror(errno.EIO) in said), said)
        came = 0
        for _ in range(60):
            try:
                came += len(next(loader)["keys"]) > 0
            except fl.BadCaseError as late:
                late.__traceback__ = None
        expect(came > 30, f"{came} batches came after all was well again")
        return f"BadCaseError: {said}"


for passing in PASSING:
    _passes(passing, for_ever=passing in ("EIO", "ESTALE"))


@fault("file server gives EIO while images are checked for a prediction", "told once; they are checked when it answers again")
def _(scene: Scene) -> str:
    import SimpleITK
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    from fastnnunet_loader.loading.reading.patience import Patience
    from fastnnunet_loader.prediction.images.cases import Case
    from fastnnunet_loader.prediction.images.checks import CaseChecks

    file = str(scene.root / "case_0000.nii.gz")
    SimpleITK.WriteImage(SimpleITK.Image([5, 6, 7], SimpleITK.sitkInt16), file)
    said: list[str] = []
    for reader in (SimpleITKIO, NibabelIO):
        checks = CaseChecks.of_raw(reader, {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"})
        checks.patience = Patience(60, said.append)
        scene.disk(1, calls=AWAY)
        scene.later(0.5, lambda: scene.disk(0))
        good, bad = checks.check([Case("case", (file,))])
        expect(len(good) == 1 and not bad, f"{reader.__name__}: {bad}")
        scene.disk(1, calls=AWAY)
        checks.patience = Patience(0, said.append)
        good, bad = checks.check([Case("case", (file,))])
        scene.disk(0)
        expect(len(bad) == 1 and file in str(bad[0]), f"{reader.__name__}, patience 0: {good} {bad}")
    expect(len(said) == 2 and all("waiting for the file server" in text for text in said), f"{said}")
    return f"{said[0]}; with patience 0: {bad[0].reason}"


@fault("file server away in the final validation", "the same voxels; one that stays away is named, in one patience")
def _(scene: Scene) -> str:
    from types import SimpleNamespace

    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    from fastnnunet_loader.nnunet.validation_cases import naming_bad_cases

    name = _files(scene)[0].stem
    trainer = SimpleNamespace(
        dataset_class=nnUNetDatasetBlosc2,
        preprocessed_dataset_folder=str(scene.folder),
        folder_with_segs_from_previous_stage=None,
        do_split=lambda: ([], [name]),
    )
    said: list[str] = []
    with naming_bad_cases(trainer, False, False, said.append, patience=1.0):
        data = trainer.dataset_class(str(scene.folder), [name], None)
        expected = data.load_case(name)[0]
        scene.disk(1, calls=AWAY)
        scene.later(0.5, lambda: scene.disk(0))
        found = data.load_case(name)[0]
        expect((found == expected).all(), "the voxels are others")
        expect(len(said) == 1 and "waiting for the file server" in said[0], f"{said}")
        scene.disk(1, calls=AWAY)
        with scene.within(2):
            try:
                data.load_case(name)
            except fl.PredictionError as error:
                reason = str(error)
            else:
                expect(False, "no error")
        scene.disk(0)
    expect(name in reason and str(scene.folder) in reason, reason)
    return reason


@fault("all files gone for a moment", SAME)
def _(scene: Scene) -> str:
    away = scene.root / "away"

    def hide() -> None:
        scene.folder.rename(away)
        scene.later(0.7, lambda: away.rename(scene.folder))

    _same(scene, hide)
    return "24 batches"


@fault("file server away when a loader is made", SAME)
def _(scene: Scene) -> str:
    with scene.loader(keep_blocks=False) as undisturbed:
        expected = scene.take(undisturbed, 12)
    scene.disk(1, error=errno.ETIMEDOUT, calls=AWAY)
    scene.later(1.0, lambda: scene.disk(0))
    begin = time.monotonic()
    found = scene.take(scene.loader(keep_blocks=False, patience=60.0), 12)
    expect(time.monotonic() - begin > 0.9, "nothing was waited for")
    expect(all(map(torch.equal, found, expected)), "the batches are others")
    return "12 batches"


@fault("file server does not answer at all, abort_after", "a StallError names file and stage within 3 s; then the same batches")
def _(scene: Scene) -> str:
    with scene.loader(keep_blocks=False) as undisturbed:
        expected = scene.take(undisturbed, 12)
    loader = scene.loader(keep_blocks=False, prefetch=1, abort_after=0.7)
    found = scene.take(loader, 3)
    scene.disk(2)
    said = ""
    with scene.within(5):
        while not said and len(found) < 12:
            try:
                found += scene.take(loader, 1)
            except fl.StallError as error:
                said = str(error)
    expect("within 0.7 s" in said and "case" in said, said or "no error")
    scene.disk(0)
    found += scene.take(loader, 12 - len(found))
    expect(all(map(torch.equal, found, expected)), "the batches are others")
    return f"StallError: {said}"


@fault("file server away for long", "the stall names file and error; Ctrl-C and close() are heard; then the same batches")
def _(scene: Scene) -> str:
    options: dict[str, Any] = {"keep_blocks": False, "patience": 3600.0, "prefetch": 1, "stall_after": 0.3}
    with scene.loader(**options) as undisturbed:
        expected = scene.take(undisturbed, 30)
    loader = scene.loader(**options)
    said: list[str] = []
    loader.report = said.append
    found = scene.take(loader, 3)
    scene.disk(1, error=errno.ESTALE, calls=AWAY)
    scene.send(signal.SIGINT, 1)
    try:
        for _ in range(60):
            found.append(next(loader)["data"].clone())
    except KeyboardInterrupt as interrupt:
        interrupt.__traceback__ = None
    else:
        expect(False, "Ctrl-C was not heard")
    lines = [line for text in said for line in text.splitlines() if "waiting for the file server: " in line]
    expect(lines and ".b2nd: " in lines[0] and "Stale file handle" in lines[0], f"the stall says {said}")
    scene.disk(0)
    found += scene.take(loader, 10)
    expect(all(map(torch.equal, found, expected)), "the batches are others")
    scene.disk(1, error=errno.ESTALE, calls=AWAY)
    scene.later(0.5, loader.close)
    try:
        with scene.within(5):
            for _ in range(60):
                next(loader)
    except fl.LoaderClosedError as closed:
        closed.__traceback__ = None
    else:
        expect(False, "close() was not heard")
    scene.disk(0)
    return lines[0].strip()


@fault("file server away, all voxels in memory", "the same batches, and no file is opened or asked for, per sample or at all")
def _(scene: Scene) -> str:
    with scene.loader(patience=0.0) as undisturbed:
        expected = scene.take(undisturbed, 300)
    loader = scene.loader(patience=0.0)
    scene.take(loader, 300)
    loader.load_state_dict({**loader.state_dict(), "step": 0})
    scene.disk(1, error=errno.EIO, calls=AWAY)
    before = scene.calls()
    found = scene.take(loader, 200)
    asked = tuple(now - then for now, then in zip(scene.calls(), before, strict=True))
    scene.disk(0)
    expect(all(map(torch.equal, found, expected)), "the batches are others")
    expect(asked == (0, 0), f"{asked} calls of stat and open")
    return "200 batches, 0 calls"


@fault("nothing in memory", "each file is asked for once in a sample, at the most")
def _(scene: Scene) -> str:
    loader = scene.loader(keep_blocks=False)
    scene.take(loader, 30)
    before, samples = scene.calls()[0], loader.stats().samples
    scene.take(loader, 60)
    asked, made = scene.calls()[0] - before, loader.stats().samples - samples
    # Those that are being made now have asked already.
    expect(asked <= 2 * (made + 8), f"{asked} calls of stat for {made} samples of 2 files")
    return f"{asked} calls of stat for {made} samples of 2 files"


@fault(
    "file server away, on_bad_case='skip'",
    "SampleError lists the cases that were given up as soon as they are too many; continued later, all cases are used",
)
def _(scene: Scene) -> str:
    options: dict[str, Any] = {"keep_blocks": False, "on_bad_case": "skip", "patience": 0.3, "prefetch": 1}
    with scene.loader(**options) as undisturbed:
        expected = scene.take(undisturbed, 30)
    loader = scene.loader(**options)
    found = scene.take(loader, 3)
    scene.disk(1, calls=AWAY)
    error = scene.error_of(loader, fl.SampleError)
    expect(not isinstance(error, fl.BadCaseError), "one case is blamed")
    expect(f"of {len(scene.cases)} cases to be skipped (max_skipped=0.05, at least one), got" in error.reason, error.reason)
    expect(error.reason.count("Input/output error") > 1, error.reason)
    state = loader.state_dict()
    expect(len(state["excluded"]) > 1, f"the state has {state}")
    loader.close()
    scene.disk(0)
    again = scene.loader(**options)
    said: list[str] = []
    again.report = said.append
    again.load_state_dict({**state, "step": 3})
    expect(not again.bad_cases, f"skipped: {again.bad_cases}")
    expect(len(said) == 1 and all(name in said[0] for name in state["excluded"]), f"it said {said}")
    found += scene.take(again, 20)
    expect(all(map(torch.equal, found, expected)), "the batches are others")
    return error.reason.splitlines()[0]


ANOTHER = """
import sys, time, pathlib
from fastnnunet_loader.prediction.export.outputs import Outputs
outputs = Outputs()
folder = outputs.begin(pathlib.Path(sys.argv[1]))
(folder / "case.nii.gz").write_bytes(b"half")
print("begun", flush=True)
time.sleep(60)
"""


def _another(target: Path, *under: str) -> subprocess.Popen[bytes]:
    """A process that writes there: in the background of a prediction, `under` as on another node."""
    process = subprocess.Popen([*under, sys.executable, "-c", ANOTHER, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    expect(process.stdout.readline() == b"begun\n", "the other process did not begin")
    process.stdout.close()
    return process


def _written_beside_others(scene: Scene) -> str:
    from fastnnunet_loader.prediction.export.outputs import Outputs, remove_leftovers

    out = scene.root / "out"
    near, dead = _another(out / "near"), _another(out / "dead")
    far = _another(out / "far", "unshare", "--pid", "--fork", "--kill-child") if os.geteuid() == 0 else None
    try:
        dead.kill()
        dead.wait()
        with scene.within(3):
            outputs = Outputs()
            found = remove_leftovers(out)
            with outputs.beside(out / "case", ".nii.gz") as folder:
                (folder / "case.nii.gz").write_bytes(b"whole")
        expect(len(found.removed) == 1 and found.removed[0].startswith(".dead-"), f"removed {found.removed}")
        there = sorted(file.name.partition("-")[0] for file in out.iterdir())
        expect(there == [".far"] * (far is not None) + [".near", "case.nii.gz"], f"there are {there}")
    finally:
        for process in (near, dead, far):
            if process is not None:
                process.kill()
                process.wait()
    return "the dead process's folder is removed, those at work are there"


OUTPUTS = "a prediction writes; what a dead process of this host has left is removed, what others write is not"


@fault("file locks that are never given (NFS without its lock service)", OUTPUTS)
def _(scene: Scene) -> str:
    scene.locks(1)
    return _written_beside_others(scene)


@fault("file locks that everybody is given (Lustre with localflock)", OUTPUTS)
def _(scene: Scene) -> str:
    scene.locks(2)
    return _written_beside_others(scene)


@fault(
    "a real disk whose device fails for a while (ext4 on a loop device)",
    SAME + "; where nothing can be mounted, it says so",
    limit=30,
)
def _(scene: Scene) -> str:
    tools = [shutil.which(name, path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin") for name in ("mke2fs", "mount")]
    if None in tools or not scene.may_mount():
        return not_tried("nothing can be mounted here")
    disk, mounted = scene.root / "disk.img", scene.root / "mounted"
    with disk.open("wb") as image:
        image.truncate(sum(file.stat().st_size for file in scene.folder.iterdir()) + (16 << 20))
    subprocess.run([str(tools[0]), "-q", "-F", "-d", scene.folder, disk], check=True)
    mounted.mkdir()
    if subprocess.run(["mount", "-o", "loop,ro", disk, mounted], check=False, capture_output=True).returncode:
        return not_tried("no loop device here")
    try:
        with scene.loader(keep_blocks=False) as undisturbed:
            expected = scene.take(undisturbed, 24)
        data: Any = scene.source.train._data
        data.source_folder = str(mounted)
        loader = scene.loader(keep_blocks=False, patience=60.0, prefetch=1, stall_after=0.5)
        said: list[str] = []
        loader.report = said.append
        content = disk.read_bytes()
        os.truncate(disk, 0)
        scene.later(1.5, lambda: disk.write_bytes(content))
        found = scene.take(loader, 24)
        expect(any("Input/output error" in text for text in said), f"the disk did not fail; said: {said}")
        expect(all(map(torch.equal, found, expected)), "the batches are others")
        loader.close()
        return next(line.strip() for line in said[0].splitlines() if "waiting for" in line)
    finally:
        subprocess.run(["umount", "-l", mounted], check=False)
