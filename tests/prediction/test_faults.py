"""What the command does where something is wrong, or where it is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from prediction_runs import OURS, environment, options, private_mounts, run
from raw_images import copy_images

from fastnnunet_loader.cli import command as cli
from strikes import struck

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(trained: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Path]:
    """A data set and a network trained on it, which the command finds."""
    dataset, folder = trained()
    monkeypatch.setenv("nnUNet_results", str(folder.parents[1]))
    return dataset, folder


@pytest.fixture
def command(model: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process: exit code, output, errors."""

    def run(*more: str, images: Path = tmp_path / "images", output: Path = tmp_path / "out") -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["predict", *options(model[1], images, output, "--disable_tta", "-step_size", "1", *more)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def images(model: tuple[Any, Path], tmp_path: Path) -> Path:
    """Two good cases, one that is cut off, and one with two channels where the network takes one."""
    folder = copy_images(model[0], tmp_path / "images", 4, (1, 1, 1))
    cut = folder / "brain_001_0000.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-2000])
    shutil.copy(folder / "brain_002_0000.nii.gz", folder / "brain_002_0001.nii.gz")
    return folder


def segmentations(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.nii.gz"))


def test_bad_case_stops_everything_before_the_first_is_predicted(command: Command, images: Path, tmp_path: Path) -> None:
    code, _, said = command()
    assert code == 1
    assert f"[brain_001] {images / 'brain_001_0000.nii.gz'}: expected " in said
    assert "2 cases cannot be predicted: brain_001, brain_002" in said
    assert "Traceback" not in said
    assert segmentations(tmp_path / "out") == []


def test_bad_cases_are_skipped_and_listed(command: Command, images: Path, tmp_path: Path) -> None:
    code, out, said = command("--on-bad-case", "skip")
    assert code == 1
    assert segmentations(tmp_path / "out") == ["brain_000.nii.gz", "brain_003.nii.gz"]
    assert "2 cases predicted" in out
    assert "2 bad cases were left out:" in said
    assert "[brain_002]" in said
    assert "expected 1 channel (T1), got 2" in said
    assert not [file for file in (tmp_path / "out").iterdir() if file.name.startswith(".")]


def test_failure_on_the_way_is_skipped_and_listed(
    command: Command, model: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    copy_images(model[0], tmp_path / "images", 2, (1, 1, 1))
    original = nnUNetPredictor.predict_logits_from_preprocessed_data
    calls: list[int] = []

    def failing_once(self: Any, data: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return original(self, data)

    monkeypatch.setattr(nnUNetPredictor, "predict_logits_from_preprocessed_data", failing_once)
    code, _, said = command("--on-bad-case", "skip")
    assert code == 1
    assert segmentations(tmp_path / "out") == ["brain_001.nii.gz"]
    assert "[brain_000] prediction failed: RuntimeError: out of memory" in said


def test_case_beyond_the_budget_is_refused_by_name(command: Command, model: tuple[Any, Path], tmp_path: Path) -> None:
    copy_images(model[0], tmp_path / "images", 2, (1, 1, 1))
    large = tmp_path / "images" / "brain_001_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((300, 300, 300), np.uint8), np.eye(4) * 4), large)
    code, _, said = command("--on-bad-case", "skip", "--memory-budget", "200MB")
    assert code == 1
    assert segmentations(tmp_path / "out") == ["brain_000.nii.gz"]
    assert f"[brain_001] {large}: expected a memory budget of at least" in said
    assert command("--memory-budget", "200MB", output=tmp_path / "other")[0] == 1
    assert segmentations(tmp_path / "other") == []


def test_no_case_is_refused_where_nobody_gave_a_budget(
    command: Command, model: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Slurm gives the job is used up by this process already: cases go on one by one, each with a warning."""
    images = copy_images(model[0], tmp_path / "images", 2, (1, 1, 1))
    assert command(output=tmp_path / "expected")[0] == 0
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "1"}.items():
        monkeypatch.setenv(name, value)
    code, out, said = command()
    assert code == 0, said
    for name in ("brain_000", "brain_001"):
        assert f"fastnnunet: warning: [{name}] {images / f'{name}_0000.nii.gz'}: needs about " in out
        file = f"{name}.nii.gz"
        assert np.array_equal(*(np.asarray(nibabel.load(tmp_path / folder / file).dataobj) for folder in ("out", "expected")))
    assert command("--memory-budget", "1MB", output=tmp_path / "other")[0] == 1  # which somebody gave


def test_what_else_is_in_the_folder_stays(command: Command, model: tuple[Any, Path], tmp_path: Path) -> None:
    copy_images(model[0], tmp_path / "images", 1, (1, 1, 1))
    out = tmp_path / "out"
    mine = ["notes.txt", "other.nii.gz", "images/scan.nii.gz", "predicted/a.nii.gz", "brain_0001.nii.gz", ".brain_000.part"]
    for name in mine:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(f"my {name}", encoding="utf-8")
    assert command()[0] == 0
    assert [(out / name).read_text(encoding="utf-8") for name in mine] == [f"my {name}" for name in mine]
    written = {path.name for path in out.iterdir()} - {Path(name).parts[0] for name in mine}
    assert written == {"brain_000.nii.gz", "dataset.json", "plans.json", "predict_from_raw_data_args.json"}  # as nnU-Net's


def test_continued_prediction_leaves_what_is_there(command: Command, model: tuple[Any, Path], tmp_path: Path) -> None:
    copy_images(model[0], tmp_path / "images", 2, (1, 1, 1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "brain_000.nii.gz").write_bytes(b"there")
    code, out, _ = command("--continue_prediction")
    assert code == 0
    assert "1 of 2 cases to predict" in out
    assert (tmp_path / "out" / "brain_000.nii.gz").read_bytes() == b"there"
    assert segmentations(tmp_path / "out") == ["brain_000.nii.gz", "brain_001.nii.gz"]


def test_parts_share_the_cases(command: Command, model: tuple[Any, Path], tmp_path: Path) -> None:
    copy_images(model[0], tmp_path / "images", 3, (1, 1, 1))
    assert command("-num_parts", "2", "-part_id", "1")[0] == 0
    assert segmentations(tmp_path / "out") == ["brain_001.nii.gz"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-f", "3"), "expected checkpoint_final.pth in"),
        (("-chk", "other.pth"), "expected other.pth in"),
        (("-num_parts", "2", "-part_id", "2"), "[-part_id] expected a number from 0 to 1, got 2"),
        (("-prev_stage_predictions", "nowhere"), "[-prev_stage_predictions] expected a folder"),
        (("-d", "999"), "got '999'"),
        (("-tr", "Other"), "expected a trained model in"),
        (("-i", "nowhere"), "[-i] expected a folder, got nowhere"),
    ],
)
def test_wrong_arguments_are_named(command: Command, images: Path, more: tuple[str, ...], said: str) -> None:
    code, _, errors = command(*more)
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors


def test_output_that_cannot_be_written(command: Command, images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, errors = command(output=tmp_path / "file" / "below")
    assert code == 2
    assert "[-o] expected a folder that can be written to" in errors


def test_folder_without_images(command: Command, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    code, _, errors = command()
    assert code == 2
    assert "[-i] expected images that end with .nii.gz, got none" in errors


def test_images_that_are_odd(model: tuple[Any, Path], tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    # SimpleITK makes zeros of a NIfTI file's NaN, nibabel keeps them.
    results = tmp_path / "results"
    folder = results / model[1].relative_to(model[1].parents[1])
    shutil.copytree(model[1], folder)
    plans = (folder / "plans.json").read_text(encoding="utf-8")
    (folder / "plans.json").write_text(plans.replace("SimpleITKIO", "NibabelIO"), encoding="utf-8")
    monkeypatch.setenv("nnUNet_results", str(results))
    images, out = copy_images(model[0], tmp_path / "images", 1, (1, 1, 1)), tmp_path / "out"
    whole = nibabel.load(images / "brain_000_0000.nii.gz")
    voxels = np.asarray(whole.dataobj, np.float32)
    broken = voxels.copy()
    broken[20, 20, 20:23] = np.nan
    odd = {
        "nan": broken,
        "one_slice": voxels[:, :, 20:21],
        "one_voxel": voxels[20:21, 20:21, 20:21],
        "zeros": np.zeros_like(voxels),
    }
    for name, changed in odd.items():
        nibabel.save(nibabel.Nifti1Image(changed, whole.affine), images / f"{name}_0000.nii.gz")
    code = cli.main(["predict", *options(folder, images, out, "--disable_tta", "--on-bad-case", "skip")])
    said = capsys.readouterr().out
    assert code == 0
    assert f"warning: [nan] {images / 'nan_0000.nii.gz'}: 3 of {voxels.size} voxels in channel 0 are NaN or infinite" in said
    assert segmentations(out) == ["brain_000.nii.gz", "nan.nii.gz", "one_slice.nii.gz", "one_voxel.nii.gz", "zeros.nii.gz"]
    for name in odd:
        assert nibabel.load(out / f"{name}.nii.gz").shape == odd[name].shape


FILLED = """
mount -t tmpfs -o size=20m tmpfs "$1" && cd "$1" && shift
(until [ -s plans.json ]; do sleep 0.05; done; sleep 0.2; cat /dev/zero > filler 2> /dev/null) &
"$@"
code=$?
wait
ls -A
exit $code
"""


@pytest.mark.slow
def test_disk_that_fills_up(model: tuple[Any, Path], tmp_path: Path) -> None:
    if not (under := private_mounts()):
        pytest.skip("nothing can be mounted here")
    images, out = copy_images(model[0], tmp_path / "images", 2), tmp_path / "out"
    out.mkdir()
    script = [*under, "sh", "-c", FILLED, "sh", str(out)]
    done = run(OURS, *model, images, out, "--disable_tta", "--on-bad-case", "skip", under=script)
    assert done.returncode == 1
    assert "2 bad cases were left out" in done.stderr
    assert "[brain_000]" in done.stderr
    assert "are free on the disk" in done.stderr or "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    there = done.stdout.splitlines()[-4:]
    assert there == ["dataset.json", "filler", "plans.json", "predict_from_raw_data_args.json"]


def test_folder_that_is_read_only(model: tuple[Any, Path], tmp_path: Path) -> None:
    if not (under := private_mounts()):
        pytest.skip("nothing can be mounted here")
    out = tmp_path / "out"
    out.mkdir()
    mounted = 'mount -t tmpfs -o ro tmpfs "$1" && shift && exec "$@"'
    script = [*under, "sh", "-c", mounted, "sh", str(out)]
    done = run(OURS, *model, copy_images(model[0], tmp_path / "images", 1), out, under=script)
    assert done.returncode == 2
    assert f"[-o] expected a folder that can be written to, got {out}: Read-only file system" in done.stderr


ANNOUNCING = """
import importlib, sys
from fastnnunet_loader import cli

where, name = sys.argv[1:3]
owner = importlib.import_module(where.split(":")[0])
for part in where.split(":")[1:]:
    owner = getattr(owner, part)
original = getattr(owner, name)

def announcing(*args, **kwargs):
    print("here", file=sys.stderr, flush=True)
    return original(*args, **kwargs)

setattr(owner, name, announcing)
sys.argv[1:] = ["predict", *sys.argv[3:]]
sys.exit(cli.main())
"""

NOTEBOOK = """
import signal, sys
from fastnnunet_loader import cli
from fastnnunet_loader.prediction.session.session import Session

handler = signal.getsignal(signal.SIGTERM)

def interrupted(*_):
    assert signal.getsignal(signal.SIGTERM) is handler, "SIGTERM is the program's"
    raise KeyboardInterrupt

Session.run_files = interrupted
print("code", cli.main(["predict", *sys.argv[1:]]))
print("goes on")
"""


def test_a_program_that_calls_the_command_goes_on_after_ctrl_c(model: tuple[Any, Path], tmp_path: Path) -> None:
    folder = copy_images(model[0], tmp_path / "images", 1)
    command = [sys.executable, "-c", NOTEBOOK, *options(model[1], folder, tmp_path / "out")]
    done = subprocess.run(command, env=environment(*model), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("code 130\ngoes on\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("nnunetv2.imageio.simpleitk_reader_writer:SimpleITKIO", "read_images"),
        ("fastnnunet_loader.prediction.preprocessing.steps", "resample"),
        ("nnunetv2.inference.predict_from_raw_data:nnUNetPredictor", "_internal_maybe_mirror_and_predict"),
        ("nnunetv2.imageio.simpleitk_reader_writer:SimpleITKIO", "write_seg"),
    ],
    ids=["reading", "preprocessing", "predicting", "exporting"],
)
def test_sigterm_in_each_stage(model: tuple[Any, Path], tmp_path: Path, where: str, name: str) -> None:
    folder, out = copy_images(model[0], tmp_path / "images", 1, (3, 3, 3)), tmp_path / "out"
    more = ("--save_probabilities", "-step_size", "1", "--disable_tta")
    with subprocess.Popen(
        [sys.executable, "-c", ANNOUNCING, where, name, *options(model[1], folder, out, *more)],
        env=environment(*model), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = ""
        while "here\n" not in said and (line := process.stderr.readline()):
            said += line
        process.send_signal(signal.SIGTERM)
        stopped = time.monotonic()
        process.wait()
        took = time.monotonic() - stopped
        said += process.stderr.read()
    assert process.returncode == 143, said
    assert took < 2
    assert "Traceback" not in said
    there = {name for name in os.listdir(out) if not name.endswith(".json")}  # noqa: PTH208
    # Nothing, or, where all had been written by then, everything.
    assert not there or (name == "write_seg" and there == {f"brain_000.{end}" for end in ("nii.gz", "npz", "pkl")})


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130)])
def test_stopped_prediction_ends_at_once_and_leaves_whole_files(
    model: tuple[Any, Path], tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    folder, out = copy_images(model[0], tmp_path / "images", 6, (1.5, 1.5, 1.5)), tmp_path / "out"
    more = ("--save_probabilities", "--disable_tta", "-step_size", "0.5")
    variables, record = struck(tmp_path / "site", r"brain_\d+\.nii\.gz", sent, after=1)
    done = subprocess.run(
        [*OURS, *options(model[1], folder, out, *more)], env={**environment(*model), **variables},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    took, said = time.time() - record.stat().st_mtime, done.stderr
    assert done.returncode == code, said
    assert took < 2
    assert "Traceback" not in said
    assert 0 < len(segmentations(out)) < 6
    assert not [name for name in os.listdir(out) if name.startswith(".")]  # noqa: PTH208
    for file in out.glob("*.nii.gz"):
        np.asarray(nibabel.load(file).dataobj)
    for file in out.glob("*.npz"):
        with np.load(file) as archive:
            assert archive["probabilities"].ndim == 4
