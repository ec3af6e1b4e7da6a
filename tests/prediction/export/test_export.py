"""What is written for a case, against nnU-Net's export of the same logits."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from exported import Case, assert_same_files

from fastnnunet_loader.errors import FastnnUNetError


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(
    ("variant", "configuration"),
    [("default", "3d_fullres"), ("default", "2d"), ("anisotropic", "3d_fullres"), ("regions", "3d_fullres")],
)
def test_files_are_nnunets(nnunet_dataset: Any, tmp_path: Path, variant: str, configuration: str, probabilities: bool) -> None:
    case = Case(nnunet_dataset(variant), tmp_path, configuration=configuration)
    (tmp_path / "theirs").mkdir()
    case.nnunet(tmp_path / "theirs" / "brain_000", probabilities)
    exporting = case.exporting()
    assert exporting.native
    exporting.write(case.logits, case.properties, str(tmp_path / "ours" / "brain_000"), probabilities)
    assert_same_files(tmp_path / "theirs", tmp_path / "ours")


@pytest.mark.parametrize("high", [254, 255, 300])
def test_labels_of_regions_are_nnunets(
    nnunet_dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], high: int
) -> None:
    """nnU-Net chooses the dtype by the number of labels, so that a region of label 300 gets 44."""
    case = Case(nnunet_dataset("regions"), tmp_path)
    case.about["regions_class_order"] = (1, high)
    (tmp_path / "theirs").mkdir()
    case.nnunet(tmp_path / "theirs" / "brain_000", False)
    exporting = case.exporting()
    assert exporting.native == (high < 255)
    assert ("nnU-Net cuts label" in capsys.readouterr().out) == (high >= 255)
    exporting.write(case.logits, case.properties, str(tmp_path / "ours" / "brain_000"), False)
    assert_same_files(tmp_path / "theirs", tmp_path / "ours")


def test_other_resampling_of_logits_is_the_plans_own(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    fullres = dict(dataset.plans["configurations"]["3d_fullres"])
    fullres["resampling_fn_probabilities_kwargs"] = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    case = Case(dataset, tmp_path, {**dataset.plans, "configurations": {"3d_fullres": fullres}})
    assert not case.exporting().native
    (tmp_path / "theirs").mkdir()
    case.nnunet(tmp_path / "theirs" / "brain_000", True)
    case.exporting().write(case.logits, case.properties, str(tmp_path / "ours" / "brain_000"), True)
    assert_same_files(tmp_path / "theirs", tmp_path / "ours")


@pytest.mark.parametrize("probabilities", [False, True])
def test_results_without_a_file(nnunet_dataset: Any, tmp_path: Path, probabilities: bool) -> None:
    case = Case(nnunet_dataset("default"), tmp_path)
    result = case.exporting().segmentation(case.logits, case.properties, probabilities)
    segmentation = result[0] if probabilities else result
    case.exporting().write(case.logits, case.properties, str(tmp_path / "ours" / "brain_000"))
    written = np.asarray(nibabel.load(tmp_path / "ours" / "brain_000.nii.gz").dataobj).T
    assert np.array_equal(segmentation, written)
    if probabilities:
        assert result[1].shape == (3, *segmentation.shape)


def test_failed_write_leaves_what_was_there(nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(nnunet_dataset("default"), tmp_path)
    target = tmp_path / "ours" / "brain_000"
    target.parent.mkdir()
    (tmp_path / "ours" / "brain_000.nii.gz").write_bytes(b"earlier")
    exporting = case.exporting()

    def failing(_: object, segmentation: Any, file: str, properties: Any) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(case.plans.image_reader_writer_class, "write_seg", failing)
    with pytest.raises(OSError, match="No space left"):
        exporting.write(case.logits, case.properties, str(target), True)
    assert [file.name for file in target.parent.iterdir()] == ["brain_000.nii.gz"]
    assert (tmp_path / "ours" / "brain_000.nii.gz").read_bytes() == b"earlier"


HOLDER = """
import sys, time, pathlib
from fastnnunet_loader.prediction.export.outputs import Outputs
outputs = Outputs()
folder = outputs.begin(pathlib.Path(sys.argv[1]))
(folder / "case.nii.gz").write_bytes(b"half")
print("begun", flush=True)
time.sleep(60)
"""


def hidden(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob(".*"))


def holder(target: Path, *under: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*under, sys.executable, "-c", HOLDER, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.stdout.close()
    return process


def test_folders_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    from fastnnunet_loader.prediction.export.outputs import Outputs, remove_leftovers

    with holder(tmp_path / "case") as process:
        (tmp_path / ".other-fastnnunet").mkdir()
        (tmp_path / ".mine.fastnnunet-part").mkdir()  # not made by this program, or not yet signed
        (held,) = (name for name in hidden(tmp_path) if name.startswith(".case-"))
        own = Outputs()
        mine = own.begin(tmp_path / "own")
        assert remove_leftovers(tmp_path).removed == [], "two processes are at work"
        process.kill()
        assert wait_for(lambda: remove_leftovers(tmp_path).removed) == [held], "also before it is waited for"
        process.wait()
        assert mine.is_dir()
        own.discard(mine)
        assert hidden(tmp_path) == [".mine.fastnnunet-part", ".other-fastnnunet"]


def wait_for(found: Any) -> Any:
    deadline = time.monotonic() + 10
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


@pytest.mark.parametrize(
    ("change", "removed"),
    [
        ({"pid": 2**22 - 1}, True),  # gone
        ({"started": "1"}, True),  # its number is another process's now
        ({"started": ""}, False),
        ({}, False),  # at work
        ({"pid": 2**22 - 1, "machine": "another"}, False),  # another node's, or this one's before it was started again
        ({"pid": 2**22 - 1, "processes": "pid:[1]"}, False),  # a container's
        ({"pid": 1, "started": ""}, False),  # another user's
    ],
)
def test_only_what_is_known_to_be_dead_is_removed(tmp_path: Path, change: dict[str, Any], removed: bool) -> None:
    from fastnnunet_loader.prediction.export.outputs import HELD, Outputs, remove_leftovers

    folder = Outputs().begin(tmp_path / "case")
    owner = json.loads((folder / HELD).read_text(encoding="utf-8"))
    (folder / HELD).write_text(json.dumps({**owner, **change}), encoding="utf-8")
    found = remove_leftovers(tmp_path)
    assert (found.removed, folder.exists()) == (([folder.name], False) if removed else ([], True))
    assert found.unknown == []
    if "machine" in change or "processes" in change:
        os.utime(folder, (1e9, 1e9))
        assert remove_leftovers(tmp_path).unknown == [f"{folder.name} (of {owner['host']}, process {2**22 - 1})"]
        assert "left alone" in remove_leftovers(tmp_path).describe(tmp_path)[0]


def test_work_of_another_container_is_left_alone(tmp_path: Path) -> None:
    from fastnnunet_loader.prediction.export.outputs import remove_leftovers

    under = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*under, "true"], check=False, capture_output=True).returncode:
        assert not os.environ.get("CI"), "namespaces of processes cannot be made here"
        pytest.skip("namespaces of processes cannot be made here")
    with holder(tmp_path / "case", *under) as process:
        held = hidden(tmp_path)
        assert remove_leftovers(tmp_path).removed == []
        process.kill()
        process.wait()
        # Nothing here can tell that it is gone.
        assert remove_leftovers(tmp_path).removed == []
        assert hidden(tmp_path) == held


def test_the_segmentation_comes_last(tmp_path: Path) -> None:
    """--continue_prediction takes a case with a segmentation for done, so it must not be there before its probabilities."""
    from fastnnunet_loader.prediction.export.outputs import Outputs

    outputs, target = Outputs(), tmp_path / "case"
    for in_the_way in ("case.npz", "case.pkl"):
        (tmp_path / in_the_way / "something").mkdir(parents=True)
        folder = outputs.begin(target)
        for ending in (".nii.gz", ".npz", ".pkl"):
            (folder / f"case{ending}").write_bytes(b"1")
        with pytest.raises(OSError, match=in_the_way):
            outputs.complete(folder, target, last="case.nii.gz")
        assert not (tmp_path / "case.nii.gz").exists()
        outputs.discard(folder)
        shutil.rmtree(tmp_path / in_the_way)
        (tmp_path / "case.npz").unlink(missing_ok=True)


def test_closed_outputs_remove_what_is_incomplete(tmp_path: Path) -> None:
    from fastnnunet_loader.prediction.export.outputs import Outputs

    outputs = Outputs()
    with pytest.raises(FastnnUNetError, match="stopped"), outputs.beside(tmp_path / "case", ".nii.gz") as folder:
        (folder / "case.nii.gz").write_bytes(b"half")
        outputs.close()
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(FastnnUNetError, match="stopped"), outputs.beside(tmp_path / "case", ".nii.gz"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_case_is_complete_or_not_there_when_outputs_are_closed(tmp_path: Path) -> None:
    from fastnnunet_loader.prediction.export.outputs import Outputs

    for number in range(200):
        outputs, target = Outputs(), tmp_path / f"case{number}"
        folder = outputs.begin(target)
        for kind in ("npz", "pkl", "nii.gz"):
            (folder / f"case{number}.{kind}").write_bytes(b"whole")
        closing = threading.Thread(target=outputs.close)
        closing.start()
        with contextlib.suppress(FastnnUNetError):
            outputs.complete(folder, target, ".nii.gz")
        closing.join()
        assert len(list(tmp_path.glob(f"case{number}.*"))) in (0, 3)
    assert not list(tmp_path.glob(".*"))
