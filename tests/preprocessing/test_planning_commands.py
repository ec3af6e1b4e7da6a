"""`fastnnunet plan_and_preprocess` and nnU-Net's own command under `fastnnunet run`: no process, no shared memory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from same_cases import assert_same_cases

from datasets import CASES
from nnunet.processes import SHORT_PROGRAMS, created_processes, small_shared_memory
from nnunet.programs import RUN, SCRIPTS, call, needs_the_installed_package
from strikes import struck

OURS = (sys.executable, "-m", "fastnnunet_loader.cli")


def environment(dataset: Any, folder: Path) -> dict[str, str]:
    """Of a user whose nnUNet_preprocessed is a folder of the test's own."""
    folder.mkdir(parents=True, exist_ok=True)
    return {**os.environ, **dataset.env, "nnUNet_preprocessed": str(folder)}


def plans_of(dataset: Any, folder: Path) -> Path:
    """A data set's plans, in a folder of the test's own."""
    made = folder / dataset.name
    made.mkdir(parents=True)
    for name in ("nnUNetPlans.json", "dataset.json"):
        shutil.copy(dataset.preprocessed / dataset.name / name, made / name)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fastnnunet", "nnUNetv2"])
def test_from_raw_images_without_a_process_or_shared_memory(nnunet_dataset: Any, tmp_path: Path, command: str) -> None:
    dataset, folder, trace = nnunet_dataset(), tmp_path / "preprocessed", tmp_path / "trace.txt"
    under = small_shared_memory()
    if not under or shutil.which("strace") is None:
        pytest.skip("expected strace, and the right to mount, for a /dev/shm of 4 KiB")
    strace = ["strace", "-f", "--seccomp-bpf", "-e", "trace=process", "-o", str(trace)]
    options = ["-d", str(dataset.id), "-c", "3d_fullres", "--verify_dataset_integrity", "-npfp", "2"]
    if command == "fastnnunet":
        started = [*under, *strace, *OURS, "plan_and_preprocess", *options]
    else:
        needs_the_installed_package()
        started = [*under, *RUN, *strace, sys.executable, str(SCRIPTS / "nnUNetv2_plan_and_preprocess"), *options]
    done = call(*started, environment=environment(dataset, folder))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    created = created_processes(trace.read_text(encoding="utf-8"))
    assert set(created.values()) <= SHORT_PROGRAMS, created
    made, theirs = folder / dataset.name, dataset.preprocessed / dataset.name
    fingerprints = [json.loads((one / "dataset_fingerprint.json").read_text(encoding="utf-8")) for one in (made, theirs)]
    assert fingerprints[0] == fingerprints[1]
    assert len(list((made / "nnUNetPlans_3d_fullres").iterdir())) == 3 * CASES
    assert len(list((made / "gt_segmentations").iterdir())) == CASES
    assert "6 of 6 cases" in done.stdout


def test_a_bad_case_is_named_and_the_exit_code_tells(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset, folder = nnunet_dataset(), tmp_path / "preprocessed"
    made = plans_of(dataset, folder)
    shutil.copytree(dataset.raw / dataset.name, tmp_path / "raw" / dataset.name)
    bad = tmp_path / "raw" / dataset.name / "labelsTr" / "brain_002.nii.gz"
    bad.write_bytes(bad.read_bytes()[:200])
    variables = {**environment(dataset, folder), "nnUNet_raw": str(tmp_path / "raw")}
    done = call(*OURS, "preprocess", "-d", str(dataset.id), "-c", "3d_fullres", environment=variables)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("fastnnunet: error: "))
    assert line.startswith(f"fastnnunet: error: [brain_002] {bad}: ")
    assert "Traceback" not in done.stderr
    assert len(list((made / "nnUNetPlans_3d_fullres").iterdir())) == 3 * (CASES - 1)


def found(folder: Path) -> set[str]:
    """The cases that nnU-Net finds."""
    return {file.stem for file in folder.glob("*.b2nd") if not file.stem.endswith("_seg")}


@pytest.mark.slow
def test_an_interrupted_run_is_continued(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset, folder = nnunet_dataset(), tmp_path / "preprocessed"
    made = plans_of(dataset, folder) / "nnUNetPlans_3d_fullres"
    command = [*OURS, "preprocess", "-d", str(dataset.id), "-c", "3d_fullres", "-np", "1", "--threads", "1"]
    for number, wanted in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before = found(made)
        variables, _ = struck(tmp_path / number.name, r"brain_\d+\.b2nd", number, after=1)
        done = call(*command, environment={**environment(dataset, folder), **variables})
        assert done.returncode == wanted, done.stdout[-2000:] + done.stderr[-3000:]
        assert len(before) < len(found(made)) < CASES
        for name in found(made):
            assert (made / f"{name}_seg.b2nd").is_file()
            assert (made / f"{name}.pkl").is_file()
    done = call(*command, environment=environment(dataset, folder))
    assert done.returncode == 0, done.stderr
    assert "by a run that did not end" in done.stderr
    assert_same_cases(made, dataset.folder("3d_fullres"), CASES)
