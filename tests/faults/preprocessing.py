"""Raw files that are bad, and an end in the middle of preprocessing: the commands before a training."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from fastnnunet_loader.cli.command import main
from fastnnunet_loader.termination import EXIT_CODE
from strikes import strike

from .fault import expect, fault, not_tried
from .scene import Scene

OTHERS = "named with its file and the reason; the others are finished, and the next run does this case alone"
CONFIGURATION = "3d_fullres"
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed")


@dataclass(frozen=True)
class Data:
    """A raw data set of the fault's own, with plans."""

    raw: Path
    planned: Path

    @property
    def images(self) -> list[Path]:
        """One for each case."""
        return sorted((self.raw / "imagesTr").iterdir())

    @property
    def labels(self) -> list[Path]:
        """One for each case."""
        return sorted((self.raw / "labelsTr").iterdir())

    @property
    def output(self) -> Path:
        """Of the preprocessed cases."""
        return self.planned / f"nnUNetPlans_{CONFIGURATION}"

    def made(self) -> list[str]:
        """Cases that nnU-Net would train on; each has to be whole."""
        cases = sorted(file.stem for file in self.output.glob("*.b2nd") if not file.stem.endswith("_seg"))
        for case in cases:
            for ending in ("_seg.b2nd", ".pkl"):
                expect((self.output / f"{case}{ending}").is_file(), f"{case} has no {ending}")
        return cases

    def recorded(self) -> list[str]:
        """Files of cases that an unfinished run has noted as finished."""
        record = self.output.with_name(f".{self.output.name}.fastnnunet-unfinished")
        lines = record.read_text(encoding="utf-8").splitlines()[1:] if record.is_file() else []
        return [name for line in lines if line.endswith("}") for name in json.loads(line)["files"]]

    def call(self, command: str, *options: str) -> tuple[int, str]:
        """Run a command of this package in this process; its exit code, and what it said."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = main([command, "-d", self.raw.name[7:10], *options])
            except RuntimeError as error:  # nnU-Net's own, with which Python ends
                code = 1
                print(error)
        return code, said.getvalue()

    def preprocess(self, *options: str) -> tuple[int, str]:
        """`fastnnunet preprocess`."""
        return self.call("preprocess", "-c", CONFIGURATION, "--threads", "2", *options)


def data_of(scene: Scene) -> Data:
    """A copy of the data set's raw files and plans, which nnU-Net's variables then name."""
    name = os.environ["FAULTS_DATASET"]
    places = [scene.root / folder / name for folder in FOLDERS]
    shutil.copytree(Path(os.environ["nnUNet_raw"], name), places[0])
    places[1].mkdir(parents=True)
    for file in ("nnUNetPlans.json", "dataset.json"):
        shutil.copy(Path(os.environ["nnUNet_preprocessed"], name, file), places[1])
    for folder, place in zip(FOLDERS, places, strict=True):
        os.environ[folder] = str(place.parent)
    return Data(*places)


def _one_bad(data: Data, bad: Path) -> str:
    """A run with a bad file, and the next one with the whole file."""
    cases = len(data.images)
    code, said = data.preprocess()
    expect(code == 1, f"exit code {code}: {said[-500:]}")
    lines = [line for line in said.splitlines() if line.startswith("fastnnunet: error: ")]
    expect(len(lines) == 1 and str(bad) in lines[0] and "[brain_002]" in lines[0], f"it said {said[-800:]}")
    expect("Traceback" not in said, "there was a traceback")
    expect(len(data.made()) == cases - 1, f"{data.made()} were made")
    times = {file: file.stat().st_mtime_ns for file in data.output.iterdir()}
    shutil.copy(_whole(bad), bad)
    code, again = data.preprocess()
    expect(code == 0, again[-500:])
    expect(f"{cases - 1} of {cases} cases are preprocessed already" in again, again[-500:])
    expect(len(data.made()) == cases, f"{data.made()} are there")
    expect(all(file.stat().st_mtime_ns == time for file, time in times.items()), "finished cases were made again")
    return lines[0].removeprefix("fastnnunet: error: ").replace(f"{bad.parents[1]}/", "")[:160]


def _whole(file: Path) -> Path:
    """Where a copy of a file is, before it was spoiled."""
    return file.parents[2] / "whole"


def _spoiled(file: Path) -> Path:
    """Keep a copy of a file."""
    shutil.copy(file, _whole(file))
    return file


@fault("raw image cut off", OTHERS, limit=60)
def _(scene: Scene) -> str:
    data = data_of(scene)
    bad = _spoiled(data.images[2])
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    return _one_bad(data, bad)


@fault("raw labels of another shape than the image", OTHERS, limit=60)
def _(scene: Scene) -> str:
    data = data_of(scene)
    bad = _spoiled(data.labels[2])
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(bad))[:, :, 1:], str(bad))
    return _one_bad(data, bad)


@fault("raw image with four axes", OTHERS, limit=60)
def _(scene: Scene) -> str:
    data = data_of(scene)
    bad = _spoiled(data.images[2])
    image = SimpleITK.ReadImage(str(bad))
    SimpleITK.WriteImage(SimpleITK.JoinSeries([image, image]), str(bad))
    return _one_bad(data, bad)


@fault("raw labels that dataset.json lacks", "the integrity check names the file and the label before any work", limit=60)
def _(scene: Scene) -> str:
    data = data_of(scene)
    bad = data.labels[2]
    image = SimpleITK.ReadImage(str(bad))
    labels = SimpleITK.GetArrayFromImage(image)
    labels[20, 20, 20] = 7
    changed = SimpleITK.GetImageFromArray(labels)
    changed.CopyInformation(image)
    SimpleITK.WriteImage(changed, str(bad))
    code, said = data.call("extract_fingerprint", "--verify_dataset_integrity")
    expect(code != 0, "the exit code is 0")
    expect(str(bad) in said and "7" in said, said[-800:])
    expect(not (data.planned / "dataset_fingerprint.json").exists(), "there is a fingerprint")
    return next(line for line in said.splitlines() if str(bad) in line).replace(str(data.raw), "")[:160]


@fault("raw image with NaN", "the fingerprint names the case and the file", limit=60)
def _(scene: Scene) -> str:
    data = data_of(scene)
    # NIfTI's readers make 0 of NaN.
    for file in (*data.images, *data.labels):
        image = SimpleITK.ReadImage(str(file))
        if file == data.images[2]:
            voxels = SimpleITK.GetArrayFromImage(image).astype(np.float32)
            voxels[20, 20, 20] = np.nan
            changed = SimpleITK.GetImageFromArray(voxels)
            changed.CopyInformation(image)
            image = changed
        SimpleITK.WriteImage(image, str(file).replace(".nii.gz", ".nrrd"))
        file.unlink()
    described = data.raw / "dataset.json"
    described.write_text(described.read_text(encoding="utf-8").replace(".nii.gz", ".nrrd"), encoding="utf-8")
    code, said = data.call("extract_fingerprint")
    expect(code == 1, f"exit code {code}")
    expect(f"[brain_002] {data.images[2]}: expected numbers, got an image with NaN in 1 of its voxels" in said, said[-800:])
    return "[brain_002] ... expected numbers, got an image with NaN in 1 of its voxels"


@fault("memory budget too small for one case", "said of every case before the first, with what it needs; nothing is written")
def _(scene: Scene) -> str:
    data = data_of(scene)
    code, said = data.preprocess("--memory-budget", "1MB")
    expect(code == 1, f"exit code {code}")
    expect("expected a memory budget of at least" in said, said[-500:])
    expect(data.made() == [], f"{data.made()} were made")
    return next(line for line in said.splitlines() if "at least" in line).partition(": ")[2][-90:]


@fault(
    "disk full while cases are preprocessed",
    "said with the case; no half of a case is there, and with space the rest follows",
    limit=60,
)
def _(scene: Scene) -> str:
    if not scene.may_mount():
        return not_tried("nothing can be mounted here")
    data = data_of(scene)
    kept = scene.root / "kept"
    shutil.move(data.planned, kept)
    data.planned.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1300k", "none", data.planned], check=True)
    try:
        shutil.copytree(kept, data.planned, dirs_exist_ok=True)
        code, said = data.preprocess()
        expect(code == 1, f"exit code {code}: {said[-500:]}")
        expect("No space left on device" in said, said[-800:])
        before = data.made()
        expect(0 < len(before) < len(data.images), f"{before} were made")
        subprocess.run(["mount", "-o", "remount,size=100m", data.planned], check=True)
        code, again = data.preprocess()
        expect(code == 0, again[-500:])
        expect(len(data.made()) == len(data.images), f"{data.made()} are there")
    finally:
        subprocess.run(["umount", "-l", data.planned], check=False)
    return f"{len(before)} cases were made before, the others after"


@fault(
    "address space used up while cases are preprocessed, in many amounts",
    "said in one sentence, unless the process ends without one (docs/reliability.md, Not mended); no half of a case is there; "
    "with memory again the rest follows",
    limit=240,
)
def _(scene: Scene) -> str:
    data = data_of(scene)
    data.preprocess("--memory-budget", "1MB")  # what is imported late is there before the limits are
    seen = {"ended": 0, "said": 0, "all cases": 0}
    told = ""
    for more in range(4, 36, 4):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code, said = 99, ""
            signal.alarm(25)  # see the same place of docs/reliability.md
            try:
                used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + (more << 20), resource.RLIM_INFINITY))
                code, said = data.preprocess()
            except BaseException as error:
                said = f"unclear {type(error).__name__}: {error}"
            os.write(writing, said[-4000:].encode())
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        made = data.made()
        if code == 0:
            expect(len(made) == len(data.images), f"exit code 0 with {made}")
            seen["all cases"] += 1
            shutil.rmtree(data.output)
        elif code == 1:
            expect(len(made) < len(data.images), f"exit code 1 with all cases: {said[-500:]}")
            lines = [line for line in said.splitlines() if line.startswith("fastnnunet: error: ")]
            expect(bool(lines) and "Traceback" not in said, said[-1500:])
            expect(all("memory" in line.lower() or "thread" in line for line in lines), "\n".join(lines))
            seen["said"] += 1
            told = told or lines[0].removeprefix("fastnnunet: error: ")[-100:]
        else:
            expect(not said.startswith("unclear"), said)
            seen["ended"] += 1
    expect(seen["said"] + seen["ended"] > 0 and seen["all cases"] > 0, str(seen))
    code, again = data.preprocess()
    expect(code == 0, again[-500:])
    expect(len(data.made()) == len(data.images), f"{data.made()} are there")
    return f"{seen}: {told}"


def _ended_and_again(scene: Scene, number: signal.Signals, code: int) -> str:
    data = data_of(scene)
    child = os.fork()
    if child == 0:
        # As a command's own process.
        from fastnnunet_loader.termination import Terminated, ends_on_sigterm

        ending = 9
        strike(r"brain_\d+\.b2nd", number, after=1)
        try:
            with ends_on_sigterm():
                data.preprocess("-np", "1")
        except Terminated:
            ending = EXIT_CODE
        finally:
            os._exit(ending)
    _, status = os.waitpid(child, 0)
    found = os.waitstatus_to_exitcode(status)
    expect(found == code, f"it ended with {found}")
    before = data.made()
    expect(0 < len(before) < len(data.images), f"{before} were made")
    times = {data.output / name: (data.output / name).stat().st_mtime_ns for name in data.recorded()}
    again, said = data.preprocess()
    expect(again == 0, said[-500:])
    expect(len(data.made()) == len(data.images), f"{data.made()} are there")
    # A folder that was being removed as the process was killed may be left, without files.
    left = [file.name for folder in data.output.glob(".*") for file in folder.iterdir()]
    expect(not left, f"left are {left}")
    same = sum(file.stat().st_mtime_ns == time for file, time in times.items())
    expect(same == len(times), f"{len(times) - same} files of finished cases were made again")
    return f"{len(before)} of {len(data.images)} cases before, the others after"


@fault(
    "SIGTERM while cases are preprocessed", "the cases that are there are whole; the next run goes on with the others", limit=60
)
def _(scene: Scene) -> str:
    return _ended_and_again(scene, signal.SIGTERM, EXIT_CODE)


@fault(
    "SIGKILL while cases are preprocessed", "the cases that are there are whole; the next run goes on with the others", limit=60
)
def _(scene: Scene) -> str:
    return _ended_and_again(scene, signal.SIGKILL, -signal.SIGKILL)
