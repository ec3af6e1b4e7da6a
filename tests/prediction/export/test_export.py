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
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

from fastnnunet_loader.errors import FastnnUNetError
from fastnnunet_loader.prediction.export.conversion import Conversion, same_labels
from fastnnunet_loader.prediction.export.outputs import Leftovers, Outputs


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


def test_labels_below_zero_are_nnunets_own(nnunet_dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(nnunet_dataset("regions"), tmp_path)
    case.about["regions_class_order"] = (1, -1)
    assert not case.exporting().native
    assert "nnU-Net cuts label -1 to the dtype" in capsys.readouterr().out


def test_a_label_manager_with_a_method_of_its_own_decides_itself(nnunet_dataset: Any, tmp_path: Path) -> None:
    case = Case(nnunet_dataset("default"), tmp_path)
    plan, usual, own = (case.plans, case.configuration), *(case.plans.get_label_manager(case.about) for _ in range(2))
    assert Conversion(*plan, own, 1).native
    assert same_labels(usual, own)
    own.convert_logits_to_segmentation = lambda logits: logits.argmin(0)
    assert Conversion(*plan, own, 1).declines == "LabelManager"
    assert not same_labels(usual, own)


@pytest.mark.parametrize("other", [{"order": 3}, {"order": 0}, {"order_z": 1}, {"order": 0, "is_seg": True}], ids=str)
def test_other_resampling_of_logits_is_the_plans_own(nnunet_dataset: Any, tmp_path: Path, other: dict[str, Any]) -> None:
    dataset = nnunet_dataset("default")
    fullres = dict(dataset.plans["configurations"]["3d_fullres"])
    usual = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    fullres["resampling_fn_probabilities_kwargs"] = {**usual, **other}
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
        assert "kept in" in remove_leftovers(tmp_path).describe(tmp_path)[0]


def test_work_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system lets nobody but root ask for such a process."""
    from fastnnunet_loader.prediction.export.outputs import HELD, Outputs, remove_leftovers

    folder = Outputs().begin(tmp_path / "case")
    owner = json.loads((folder / HELD).read_text(encoding="utf-8"))
    (folder / HELD).write_text(json.dumps({**owner, "pid": 1, "started": ""}), encoding="utf-8")

    def refused(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refused)
    assert remove_leftovers(tmp_path) == Leftovers([], [])
    assert folder.is_dir()


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


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("along", [0, 2])
def test_planes_become_the_files_of_the_whole(nnunet_dataset: Any, tmp_path: Path, along: int, probabilities: bool) -> None:
    """Also where the prediction begins again half-way, as after the device has failed."""
    case = Case(nnunet_dataset("default"), tmp_path)
    exporting, shape = case.exporting(), case.logits.shape[1:]
    exporting.write(case.logits, case.properties, str(tmp_path / "whole" / "brain_000"), probabilities)
    target = str(tmp_path / "planes" / "brain_000")
    deciding = exporting.begin(shape, along, case.properties, target, probabilities)
    with pytest.raises(ValueError, match="expected logits, got none"):
        deciding.segmentation()
    deciding.start().add(-case.logits.narrow(along + 1, 0, 7), 0)
    deciding.start().add(case.logits, 0)
    exporting.write(deciding, case.properties, target, probabilities)
    assert_same_files(tmp_path / "whole", tmp_path / "planes")
    # And without a file.
    deciding = exporting.begin(shape, along, case.properties, None, probabilities)
    deciding.start().add(case.logits, 0)
    ours = exporting.segmentation(deciding, case.properties, probabilities)
    theirs = exporting.segmentation(case.logits, case.properties, probabilities)
    for a, b in zip(ours, theirs, strict=True) if probabilities else [(ours, theirs)]:
        assert np.array_equal(a, b)
    begun = exporting.begin(shape, along, case.properties, target, probabilities)
    assert hidden(tmp_path / "planes")
    exporting.abandon(begun)
    assert not hidden(tmp_path / "planes")


def test_a_case_that_cannot_begin_leaves_nothing(nnunet_dataset: Any, tmp_path: Path) -> None:
    case = Case(nnunet_dataset("default"), tmp_path)
    properties = {name: value for name, value in case.properties.items() if name != "bbox_used_for_cropping"}
    with pytest.raises(KeyError):
        case.exporting().begin(case.logits.shape[1:], 0, properties, str(tmp_path / "ours" / "brain_000"), True)
    assert list((tmp_path / "ours").iterdir()) == []


def test_a_segmentation_that_was_not_written_to_its_end_is_told(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ITK says nothing where the disk is full."""
    case = Case(nnunet_dataset("default"), tmp_path)
    kind = case.plans.image_reader_writer_class
    write = kind.write_seg

    def cut_off(self: Any, segmentation: Any, file: str, properties: Any) -> None:
        write(self, segmentation, file, properties)
        Path(file).write_bytes(Path(file).read_bytes()[: -Path(file).stat().st_size // 2])

    monkeypatch.setattr(kind, "write_seg", cut_off)
    with pytest.raises(OSError, match=r"expected .* bytes of voxels, got .*; .* are free on the disk"):
        case.exporting().write(case.logits, case.properties, str(tmp_path / "ours" / "brain_000"), True)
    assert list((tmp_path / "ours").iterdir()) == []
    monkeypatch.setattr(kind, "write_seg", lambda self, segmentation, file, properties: Path(file).write_bytes(b"no image"))
    with pytest.raises(OSError, match="expected a file that can be read again, got"):
        case.exporting().write(case.logits, case.properties, str(tmp_path / "ours" / "brain_000"))
    assert list((tmp_path / "ours").iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"force_separate_z": None},
        {"force_separate_z": False},
        {"force_separate_z": True},
        {"force_separate_z": None, "separate_z_anisotropy_threshold": 2.0},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("forward", [[0, 1, 2], [2, 0, 1]])
def test_every_setting_of_the_resampling_of_logits_is_the_plans(
    nnunet_dataset: Any, tmp_path: Path, forward: list[int], settings: dict[str, Any]
) -> None:
    """With images of thick slices along each axis, and of slices that are thick for some thresholds only."""
    dataset = nnunet_dataset("default")
    fullres = dict(dataset.plans["configurations"]["3d_fullres"])
    fullres["resampling_fn_probabilities_kwargs"] = {"is_seg": False, "order": 1, "order_z": 0, **settings}
    turned = {"transpose_forward": forward, "transpose_backward": [int(n) for n in np.argsort(forward)]}
    case = Case(dataset, tmp_path, {**dataset.plans, **turned, "configurations": {"3d_fullres": fullres}})
    exporting = case.exporting()
    assert exporting.native
    manager = case.plans.get_label_manager(case.about)
    for spacing in ([13.0, 3.0, 3.5], [3.0, 13.0, 3.5], [3.0, 3.5, 13.0], [10.0, 4.2, 4.0]):
        properties = {**case.properties, "spacing": spacing}
        theirs, expected = convert_predicted_logits_to_segmentation_with_correct_shape(
            case.logits, case.plans, case.configuration, manager, properties, True, num_threads_torch=1
        )
        ours, probabilities = exporting.segmentation(case.logits, properties, True)
        assert (ours.shape, probabilities.shape) == (theirs.shape, expected.shape)
        assert np.count_nonzero(ours != theirs) <= 1e-4 * ours.size
        np.testing.assert_allclose(probabilities, expected, atol=5e-3)


def test_what_native_code_takes_of_a_case(nnunet_dataset: Any, tmp_path: Path) -> None:
    """Everything else is nnU-Net's own, which says what is wrong with it, or makes of it what it makes of it."""
    case = Case(nnunet_dataset("default"), tmp_path)
    box = case.properties["bbox_used_for_cropping"]
    shape = list(case.properties["shape_before_cropping"])
    exporting = case.exporting()
    assert exporting.takes(case.logits, case.properties)
    assert not exporting.takes(case.logits[:2], case.properties)
    for axis in range(3):
        longer, shifted, beyond = ([list(side) for side in box] for _ in range(3))
        longer[axis][1] += 1
        shifted[axis] = [box[axis][0] - 1, box[axis][1] - 1]
        beyond[axis] = [box[axis][0] + shape[axis], box[axis][1] + shape[axis]]
        smaller = [n - (a == axis) * (n - box[axis][1] + 1) for a, n in enumerate(shape)]
        for name, value in (
            ("bbox_used_for_cropping", longer),
            ("bbox_used_for_cropping", shifted),
            ("bbox_used_for_cropping", beyond),
            ("shape_before_cropping", smaller),
        ):
            assert not exporting.takes(case.logits, {**case.properties, name: value}), (name, value)
    for name in ("bbox_used_for_cropping", "shape_before_cropping", "shape_after_cropping_and_before_resampling", "spacing"):
        assert not exporting.takes(case.logits, {**case.properties, name: None}), name
        assert not exporting.takes(case.logits, {n: v for n, v in case.properties.items() if n != name}), name


def test_old_folders_that_nobody_has_signed_are_named(tmp_path: Path) -> None:
    from fastnnunet_loader.prediction.export.outputs import remove_leftovers

    names = [".a-1.fastnnunet-part", ".b-2.fastnnunet-part"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "visible.fastnnunet-part").mkdir()
    for age, found in ((23 * 3600, []), (25 * 3600, names)):  # a day is what the message says
        for name in names:
            os.utime(tmp_path / name, (time.time() - age, time.time() - age))
        left = remove_leftovers(tmp_path)
        assert (left.removed, left.unknown) == ([], found)
        assert len(left.describe(tmp_path)) == bool(found)
    assert f"kept in {tmp_path}, unchanged for more than a day: {', '.join(names)}." in left.describe(tmp_path)[0]
    assert Leftovers(["a", "b"], []).describe(tmp_path) == [f"removed incomplete files of a killed run from {tmp_path}: a, b"]
    assert len(Leftovers(["a"], ["b"]).describe(tmp_path)) == 2


def test_files_of_a_case_replace_those_of_an_earlier_one(tmp_path: Path) -> None:
    outputs, target = Outputs(), tmp_path / "below" / "case"
    for content in (b"earlier", b"later"):
        with outputs.beside(target, ".nii.gz") as folder:
            assert folder.parent == target.parent
            assert folder.name.startswith(".case-")
            for ending in (".nii.gz", ".npz"):
                (folder / f"case{ending}").write_bytes(content)
        assert {file.name: file.read_bytes() for file in target.parent.iterdir()} == {
            "case.nii.gz": content,
            "case.npz": content,
        }
    with pytest.raises(ZeroDivisionError), outputs.beside(target, ".nii.gz") as folder:
        (folder / "case.nii.gz").write_bytes(b"wrong")
        raise ZeroDivisionError
    assert (target.parent / "case.nii.gz").read_bytes() == b"later"
    assert hidden(target.parent) == []
