"""Whole runs: without nnU-Net, within a budget, after interruptions, and what `from_folder` makes of the folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packed_inputs import labels_of, quietly, read, volume, write, write_cases, write_dicom

import fastnnunet_loader as fl
from fastnnunet_loader import cli
from strikes import struck

COMMAND = (sys.executable, "-m", "fastnnunet_loader.cli", "pack")


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Which files there are, and which of them are the same as before."""
    return {str(file.relative_to(folder)): (file.stat().st_ino, file.stat().st_mtime_ns) for file in folder.rglob("*.b2nd")}


WITHOUT_NNUNET = """
import sys
for name in ("nnunetv2", "batchgenerators", "acvl_utils"):
    sys.modules[name] = None  # as if it were not installed
from fastnnunet_loader import cli
code = cli.main(sys.argv[1:])
assert [name for name in sys.modules if name.split(".")[0] == "nnunetv2"] == ["nnunetv2"]
sys.exit(code)
"""


@pytest.mark.parametrize("with_plans", [False, True])
def test_nnunet_is_imported_nowhere(with_plans: bool, tmp_path: Path, nnunet_dataset: Any) -> None:
    images, labels = write_cases(tmp_path)
    write_dicom(images / "series", volume(7)[0])
    write(labels / "series.nrrd", labels_of(volume(7)))
    plans = nnunet_dataset("default").preprocessed / nnunet_dataset("default").name / "nnUNetPlans.json"
    how = ["--plans", plans, "--configuration", "3d_fullres"] if with_plans else ["--spacing", 1, 1, 1, "--normalize", "ct"]
    options = [*how, "--threads", 2] if with_plans else [*how, "--orientation", "RAS", "--crop", "nonzero", "--threads", 2]
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NNUNET, "pack", *map(str, [images, "--labels", labels, "-o", out, *options])],
        capture_output=True, encoding="utf-8", check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"4 cases in {out}"
    assert "4 of 4 cases" in done.stdout


def test_from_folder_makes_batches_and_finds_no_classes_anew(tmp_path: Path) -> None:
    images, labels = write_cases(tmp_path, 3, channels=2)
    quietly(images, tmp_path / "out", labels=labels, normalize="zscore")
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "class_locations").iterdir()}
    assert len(kept) == 3
    size = (8, 8, 8)
    transforms = fl.augmentation.nnunet(size)
    with fl.DataLoader.from_folder(
        tmp_path / "out", patch_size=size, batch_size=3, transforms=transforms, batches_per_epoch=4, seed=0, threads=2
    ) as loader:
        batches = list(loader)
        whole = loader.dataset[1]
    assert all(batch["image"].shape == (3, 2, *size) and batch["label"].shape == (3, 1, *size) for batch in batches)
    assert all((batch["label"][2] > 0).any() for batch in batches)  # the last one of each is centred on foreground
    assert np.array_equal(whole["label"][0], labels_of(volume(1, 2)))
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "class_locations").iterdir()} == kept


def test_2d_images_make_batches(tmp_path: Path) -> None:
    for number in range(3):
        picture = np.clip(volume(number)[0, 6], 0, 255).astype(np.uint8)
        write(tmp_path / "images" / f"case_{number}.png", picture)
        write(tmp_path / "labels" / f"case_{number}.png", (picture > 100).astype(np.uint8))
    quietly(tmp_path / "images", tmp_path / "out", labels=tmp_path / "labels", patch_size=(16, 16))
    with fl.DataLoader.from_folder(tmp_path / "out", patch_size=(16, 16), batch_size=2, seed=0, threads=1) as loader:
        batch = next(loader)
    assert batch["image"].shape == batch["label"].shape == (2, 1, 16, 16)
    assert batch["image"].dtype == torch.float32


def test_the_command_names_the_bad_case_and_its_exit_code_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = write_cases(tmp_path)
    out, bad = tmp_path / "out", images / "case_1.nii.gz"

    def command(*options: str, output: Path = out) -> tuple[int, str]:
        code = cli.main(["pack", str(images), "--labels", str(labels), "-o", str(output), "--threads", "1", *options])
        return code, capsys.readouterr().err

    whole = bad.read_bytes()
    bad.write_bytes(whole[:-500])
    code, said = command()
    assert code == 1
    (line,) = (line for line in said.splitlines() if line.startswith("fastnnunet: error: "))
    assert line.startswith(f"fastnnunet: error: [case_1] {bad}: expected 12480 bytes of voxels, got an end after ")
    assert "Traceback" not in said
    before = state(out)
    assert len(before) == 4
    bad.write_bytes(whole)
    code, said = command("--no-progress")
    assert code == 0
    assert f"2 of 3 cases are packed already: going on in {out}" in said
    after = state(out)
    assert len(after) == 6
    assert before.items() <= after.items()
    code, said = command(output=Path("/proc/out"))  # where nobody makes files, root included
    assert code == 2
    assert said.splitlines()[1].startswith("fastnnunet: error: [-o] expected a folder that can be written to, got /proc/out: ")
    code, said = command("--normalize", "z")
    assert code == 2
    assert said.startswith("fastnnunet: error: [--normalize] expected one of none, ")
    assert len(said.splitlines()) == 1


def test_a_second_run_packs_what_has_changed_only(tmp_path: Path) -> None:
    images, labels = write_cases(tmp_path)
    out = tmp_path / "out"
    quietly(images, out, labels=labels)
    before = state(out)
    inputs = sorted(file.name for folder in (images, labels) for file in folder.iterdir())
    write(images / "case_1.nii.gz", volume(9)[0])
    write(images / "case_3.nii.gz", volume(3)[0])
    write(labels / "case_3.nii.gz", labels_of(volume(3)))
    said: list[str] = []
    assert quietly(images, out, labels=labels, say=said.append) == [f"case_{n}" for n in range(4)]
    assert said[1:] == [f"2 of 4 cases are packed already: going on in {out}"]
    after = state(out)
    assert {name for name in before if after[name] != before[name]} == {"case_1.b2nd", "case_1_seg.b2nd"}
    assert np.array_equal(read(out, "case_1"), volume(9).astype(np.float32))
    # Without labels: none of an earlier run is left beside an image.
    quietly(images, out)
    assert sorted(state(out)) == [f"case_{n}.b2nd" for n in range(4)]
    (images / "case_0.nii.gz").unlink()
    said.clear()
    quietly(images, out, say=said.append)
    assert "keeping what was packed before of 1 cases without an image now, such as case_0" in said
    assert sorted(file.name for folder in (images, labels) for file in folder.iterdir()) == sorted(
        [*inputs[1:], "case_3.nii.gz", "case_3.nii.gz"]
    )


def test_other_settings_and_files_of_others_are_left_alone(tmp_path: Path) -> None:
    images, _ = write_cases(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    np.save(out / "case_1.npy", volume()[0])
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"\[output\] expected a folder without files of these cases, got case_1.npy in"):
        quietly(images, out)
    assert sorted(file.name for file in out.iterdir()) == ["case_1.npy", "notes.txt"]
    quietly(images, out, overwrite=True)
    assert sorted(file.name for file in out.glob("case*")) == sorted(
        f"case_{n}.{end}" for n in range(3) for end in ("b2nd", "pkl")
    )
    before = state(out)
    said = r'\[output\] expected the settings that packed .*, normalize \["none"\], got \["zscore"\]; --overwrite packs it'
    with pytest.raises(ValueError, match=said):
        quietly(images, out, normalize="zscore")
    assert state(out) == before
    quietly(images, out, normalize="zscore", overwrite=True)
    assert abs(read(out, "case_0").mean()) < 1e-3
    assert (out / "notes.txt").read_text() == "mine"


def test_a_budget_that_is_too_small_says_how_much_a_case_needs(tmp_path: Path) -> None:
    images, labels = write_cases(tmp_path, 2)
    write(images / "large.nrrd", volume(3, shape=(50, 100, 100))[0])
    write(labels / "large.nrrd", labels_of(volume(3, shape=(50, 100, 100))))
    with pytest.raises(fl.PreprocessingError) as raised:
        quietly(images, tmp_path / "out", labels=labels, memory_budget="12MB")
    assert (raised.value.case, raised.value.others) == ("large", ())
    assert raised.value.reason.startswith("expected a memory budget of at least ")
    assert raised.value.reason.endswith("got 12.0 MiB")
    needed = re.split(r"[ ,]", raised.value.reason)[7:9]
    assert {file.stem for file in (tmp_path / "out").glob("*.pkl")} == {"case_0", "case_1"}
    enough = f"{float(needed[0]) + 0.1:.1f}{needed[1]}"
    assert len(quietly(images, tmp_path / "out", labels=labels, memory_budget=enough)) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGTERM")
def test_an_interrupted_run_leaves_whole_cases_and_is_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = (24, 60, 60)
    for number in range(8):
        image = volume(number, shape=shape)
        write(tmp_path / "images" / f"case_{number}.nii.gz", image[0])
        write(tmp_path / "labels" / f"case_{number}.nii.gz", labels_of(image))
    out = tmp_path / "out"
    arguments = [tmp_path / "images", "--labels", tmp_path / "labels", "-o", out, "--spacing", 0.5, 0.5, 1, "--threads", 1]
    for sent, wanted in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)):
        variables, _ = struck(tmp_path / sent.name, r"case_\d\.b2nd", sent, after=1)
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        said = done.stderr
        assert done.returncode == wanted, said
        found = {file.stem for file in out.glob("case_?.b2nd")}
        assert 0 < len(found) < 8
        assert all((out / f"{name}_seg.b2nd").is_file() and (out / f"{name}.pkl").is_file() for name in found)
    assert "fastnnunet: ended by SIGTERM; what was written is complete, and the same command goes on with the rest" in said
    before_files = state(out)
    assert cli.main(["pack", *map(str, arguments)]) == 0
    assert "cases are packed already: going on in" in capsys.readouterr().err
    assert len(list(out.glob("case_?.b2nd"))) == 8
    assert list(out.glob("*.fastnnunet-part")) == []
    # What was finished has not been packed again.
    kept = before_files.items() & state(out).items()
    assert len(kept) >= 2
    images = {name: read(out, name) for name in ("case_0", "case_7")}
    quietly(tmp_path / "images", tmp_path / "once", labels=tmp_path / "labels", spacing=(0.5, 0.5, 1))
    assert all(np.array_equal(read(tmp_path / "once", name), voxels) for name, voxels in images.items())


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, _ = write_cases(tmp_path, 1)
    write(tmp_path / "numpy" / "case.npy", volume()[0])
    for package in ("SimpleITK", "nibabel"):
        monkeypatch.setitem(sys.modules, package, None)
        assert cli.main(["pack", str(images), "-o", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert f"fastnnunet: error: [{package}] expected the package, which reads such images, got " in said
        assert said.splitlines()[-1] == f"  pip install {package}"
        assert cli.main(["pack", str(tmp_path / "numpy"), "-o", str(tmp_path / package)]) == 0
        monkeypatch.undo()


def test_settings_are_written_for_people(tmp_path: Path) -> None:
    images, labels = write_cases(tmp_path, 1)
    quietly(images, tmp_path / "out", labels=labels, spacing=(1, 1, 2), orientation="ras")
    settings = json.loads((tmp_path / "out" / "pack.json").read_text())["settings"]
    assert (settings["spacing"], settings["orientation"], settings["normalize"]) == ([1, 1, 2], "RAS", ["none"])
