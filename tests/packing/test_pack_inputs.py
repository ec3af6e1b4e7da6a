"""How cases are found, and what is said of files that do not fit."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from packed_inputs import OBLIQUE, labels_of, quietly, read, volume, write, write_cases, write_dicom

import fastnnunet_loader as fl
from fastnnunet_loader.packing import checks, dicom
from fastnnunet_loader.packing.formats import look


def refusal(*args: Any, **options: Any) -> fl.PreprocessingError:
    """The one error of a run in which the other cases are packed."""
    with pytest.raises(fl.PreprocessingError) as raised:
        quietly(*args, **options)
    assert raised.value.others == ()
    return raised.value


def test_numbers_of_cases_are_no_channels(tmp_path: Path) -> None:
    """Names such as patient_0000 are those of cases where labels have them, too; labels tell."""
    for number in range(3):
        write(tmp_path / "images" / f"patient_{number:04d}.nii.gz", volume(number)[0])
        write(tmp_path / "labels" / f"patient_{number:04d}.nii.gz", labels_of(volume(number)))
    names = [f"patient_{number:04d}" for number in range(3)]
    assert quietly(tmp_path / "images", tmp_path / "out", labels=tmp_path / "labels") == names
    assert quietly(tmp_path / "images", tmp_path / "channels") == ["patient"]
    assert len(read(tmp_path / "channels", "patient")) == 3
    assert quietly(tmp_path / "images", tmp_path / "cases", channel_endings=False) == names


def test_labels_beside_the_images(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for number in range(2):
        write(root / f"case_{number}.nii.gz", volume(number)[0])
        write(root / f"case_{number}-label.nii.gz", labels_of(volume(number)))
    assert quietly(root, tmp_path / "out", labels=root, label_suffix="-label") == ["case_0", "case_1"]
    assert np.array_equal(read(tmp_path / "out", "case_1_seg")[0], labels_of(volume(1)))


def test_monais_datalist(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, channels=2)
    entries = [
        {"image": [f"./images/case_{n}_{c:04d}.nii.gz" for c in range(2)], "label": f"./labels/case_{n}.nii.gz"}
        for n in range(3)
    ]
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"numTraining": 3, "training": entries[:2], "validation": entries[2:]}))
    assert quietly(file, tmp_path / "out") == ["case_0", "case_1"]
    assert quietly(file, tmp_path / "val", section="validation") == ["case_2"]
    assert np.array_equal(read(tmp_path / "val", "case_2"), volume(2, 2).astype(np.float32))
    with pytest.raises(ValueError, match=r"\[section\] expected a list .*, got 'test'; there is training, validation"):
        quietly(file, tmp_path / "other", section="test")
    given = [{"image": tmp_path / "images" / "case_0_0000.nii.gz", "name": "anna"}]
    assert quietly(given, tmp_path / "list") == ["anna"]
    same = [{"image": f"{folder}/image.nii.gz"} for folder in "ab"]
    for entry in same:
        write(tmp_path / entry["image"], volume()[0])
    file.write_text(json.dumps(same))
    with pytest.raises(
        fl.PreprocessingError, match=r"\[image\] expected a name for each case, got it for .*a/image.nii.gz, .*b/image"
    ):
        quietly(file, tmp_path / "other")


def damage(what: str, root: Path) -> dict[str, Any]:
    """Make case_1 of three bad. Returns options."""
    image, label = root / "images" / "case_1.nii.gz", root / "labels" / "case_1.nii.gz"
    voxels, labels = volume(1)[0], labels_of(volume(1))
    if what == "truncated":
        image.write_bytes(image.read_bytes()[:-500])
    elif what == "empty":
        label.write_bytes(b"")
    elif what == "no image":
        image.write_bytes(b"hello")
    elif what == "missing label":
        label.unlink()
    elif what == "two labels":
        write(root / "labels" / "case_1.nrrd", labels)
    elif what == "two images":
        write(root / "images" / "case_1.nrrd", voxels)
    elif what == "shape":
        write(label, labels[1:])
    elif what == "spacing":
        write(label, labels, spacing=(0.8, 0.9, 2.6))
    elif what == "orientation":
        write(label, labels, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    elif what == "direction":
        write(label, labels, direction=OBLIQUE)
    elif what == "origin":
        moved = sitk.ReadImage(str(label))
        moved.SetOrigin((0.0, 0.0, 0.0))
        sitk.WriteImage(moved, str(label))
    elif what == "not whole":
        write(label, labels + np.float32(0.5) * (labels == 2))
    elif what == "negative":
        write(label, labels.astype(np.int16) - 1)
    elif what == "NaN label":
        write(label, np.where(labels == 2, np.nan, labels).astype(np.float32))
    elif what == "NaN image":
        write(image, np.where(labels == 2, np.nan, voxels).astype(np.float32))
    elif what == "4D label":
        sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(label))] * 2), str(label))
    elif what == "channels":
        sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(image))] * 2), str(image))
    elif what == "complex":
        sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(image)), sitk.sitkComplexFloat32), str(image))
    return {"labels": root / "labels"}


SAID = {
    "truncated": ("images/case_1.nii.gz", "expected 12480 bytes of voxels, got an end after"),
    "empty": ("labels/case_1.nii.gz", "expected an image, got an empty file"),
    "no image": ("images/case_1.nii.gz", "expected an image that can be read, got RuntimeError"),
    "missing label": ("images/case_1.nii.gz", "expected one file case_1 with any ending in .*labels, got none"),
    "two labels": ("images/case_1.nii.gz", "expected one file case_1 .*, got case_1.nii.gz, case_1.nrrd"),
    "two images": ("images/case_1.nii.gz", "expected one image of this name, got case_1.nii.gz, case_1.nrrd"),
    "shape": ("labels/case_1.nii.gz", r"expected the size \(12, 20, 26\) of case_1.nii.gz, got \(11, 20, 26\)"),
    "spacing": ("labels/case_1.nii.gz", r"expected the spacing \(0.8, 0.9, 2.5\) mm of case_1.nii.gz, got \(0.8, 0.9, 2.6\)"),
    "orientation": ("labels/case_1.nii.gz", "expected the orientation LPS of case_1.nii.gz, got RAS"),
    "direction": ("labels/case_1.nii.gz", r"expected the direction \(1, .* of case_1.nii.gz, got \(0.995004, "),
    "origin": ("labels/case_1.nii.gz", r"expected the origin \(-11, 7.5, 30.25\) mm of case_1.nii.gz, got \(0, 0, 0\)"),
    "not whole": ("labels/case_1.nii.gz", "expected whole numbers from 0 to 32767 as labels, got 2.5 and others in "),
    "negative": ("labels/case_1.nii.gz", "expected whole numbers from 0 to 32767 as labels, got -1 and others in "),
    "NaN label": ("labels/case_1.nii.gz", "expected whole numbers from 0 to 32767 as labels, got nan and others in "),
    "NaN image": ("images/case_1.nii.gz", "expected numbers that float32 holds, got .* of channel 0 NaN or infinite"),
    "4D label": ("labels/case_1.nii.gz", "expected labels with 1 channel, got 2"),
    "channels": ("images/case_1.nii.gz", "expected 1 channels, as case case_0 has, got 2"),
    "complex": ("images/case_1.nii.gz", "expected real voxels, got complex of 32-bit float"),
}


@pytest.mark.parametrize("what", SAID)
def test_a_case_that_does_not_fit_is_named_and_the_others_are_packed(what: str, tmp_path: Path) -> None:
    images, _ = write_cases(tmp_path)
    options = damage(what, tmp_path)
    error = refusal(images, tmp_path / "out", **options)
    file, said = SAID[what]
    assert (error.case, error.file) == ("case_1", str(tmp_path / file))
    assert re.search(said, error.reason), error.reason
    packed = sorted(file.name for file in (tmp_path / "out").glob("*.b2nd"))
    assert packed == ["case_0.b2nd", "case_0_seg.b2nd", "case_2.b2nd", "case_2_seg.b2nd"]


@pytest.mark.parametrize("ending", ["nii", "nrrd", "nhdr", "mha", "mhd", "gipl", "png", "tif", "npy", "npz", "dicom"])
def test_a_truncated_file_is_named_whatever_its_format(ending: str, tmp_path: Path) -> None:
    flat = ending in ("png", "tif")
    for number in range(2):
        array = np.clip(volume(number)[0, 6], 0, 255).astype(np.uint8) if flat else volume(number)[0]
        if ending == "dicom":
            write_dicom(tmp_path / "images" / f"case_{number}", array)
        else:
            write(tmp_path / "images" / f"case_{number}.{ending}", array)
    bad = tmp_path / "images" / f"case_1{'' if ending == 'dicom' else f'.{ending}'}"
    part = bad / "03-5.1.dcm" if ending == "dicom" else bad.with_suffix(".raw") if ending in ("mhd", "nhdr") else bad
    part.write_bytes(part.read_bytes()[: -part.stat().st_size // 3])
    error = refusal(tmp_path / "images", tmp_path / "out")
    assert (error.case, error.file) == ("case_1", str(bad))
    assert [file.name for file in (tmp_path / "out").glob("*.b2nd")] == ["case_0.b2nd"]


@pytest.mark.parametrize("what", ["spacing", "orientation", "origin"])
def test_headers_may_be_ignored(what: str, tmp_path: Path) -> None:
    images, _ = write_cases(tmp_path)
    assert len(quietly(images, tmp_path / "out", ignore_headers=True, **damage(what, tmp_path))) == 3


def test_a_channel_that_is_missing_or_elsewhere(tmp_path: Path) -> None:
    images, _ = write_cases(tmp_path, channels=2)
    (images / "case_1_0001.nii.gz").unlink()
    error = refusal(images, tmp_path / "out")
    assert (error.case, error.reason) == (
        "case_1", "expected 2 channels, as other cases have, got case_1_0000.nii.gz and none that ends in _0001",
    )  # fmt: skip
    write(images / "case_1_0001.nii.gz", volume()[0], spacing=(1, 1, 1))
    error = refusal(images, tmp_path / "out")
    assert error.file == str(images / "case_1_0001.nii.gz")
    assert error.reason == "expected the spacing (0.8, 0.9, 2.5) mm of case_1_0000.nii.gz, got (1, 1, 1)"


def test_what_is_no_image_and_labels_without_one_are_told(tmp_path: Path) -> None:
    images, labels = write_cases(tmp_path, 2)
    (images / "case_0.nii.gz").unlink()
    (images / "notes.txt").write_text("of the scanner")
    (images / "reports").mkdir()
    said: list[str] = []
    assert quietly(images, tmp_path / "out", labels=labels, say=said.append) == ["case_1"]
    assert said == [
        f"ignoring what is no image in {images}: notes.txt, reports",
        "ignoring labels without an image: case_0",
        "1 cases",
    ]


def test_a_folder_of_one_series_is_a_case(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "anna", volume()[0])
    (folder / "DICOMDIR").write_bytes(b"no image")
    assert quietly(folder, tmp_path / "out") == ["anna"]


@pytest.mark.parametrize("name", ["case_seg", "case_target", "CASE_1"])
def test_names_that_packed_files_cannot_have(name: str, tmp_path: Path) -> None:
    images, _ = write_cases(tmp_path, 2)
    write(images / f"{name}.nrrd", volume()[0])
    error = refusal(images, tmp_path / "out")
    assert error.case.casefold() == name.casefold()
    assert "expected a name" in error.reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"spacing": (1, 1)}, None),
        ({"spacing": (1, -1, 1)}, r"\[spacing\] expected two or three numbers above 0, in mm, got \(1, -1, 1\)"),
        ({"orientation": "RAX"}, r"\[orientation\] expected three letters, such as RAS, got 'RAX'"),
        ({"orientation": "RLS"}, r"\[orientation\] expected three letters"),
        ({"crop": "brain"}, r"\[crop\] expected 'nonzero' or nothing, got 'brain'"),
        ({"normalize": "z"}, r"\[normalize\] expected one of none, zscore, .*, got 'z'"),
        ({"normalize": "percentiles:5:101"}, r"\[normalize\] expected percentiles:LOW:HIGH .*, got 'percentiles:5:101'"),
        ({"normalize": "ct"}, r"\[normalize\] expected labels to find the intensities for ct"),
        ({"patch_size": (64,)}, r"\[patch_size\] expected two or three sizes above 0, got \(64,\)"),
        ({"memory_budget": "much"}, r"\[memory_budget\] expected a size such as '4GB', got 'much'"),
        ({"threads": 0}, r"\[threads\] expected a number from 1 on, got 0"),
        ({"threads": "many"}, r"\[threads\] expected a number from 1 on, got 'many'"),
        ({"spacing": 1.0}, r"\[spacing\] expected two or three numbers above 0, in mm, got 1.0"),
        ({"spacing": (None, 1, 1)}, r"\[spacing\] expected two or three numbers above 0, in mm, got \(None, 1, 1\)"),
        ({"image_spacing": (1,)}, r"\[image_spacing\] expected two or three numbers above 0, in mm, got \(1,\)"),
        ({"image_spacing": (-1, 1, 1)}, r"\[image_spacing\] expected two or three numbers above 0"),
        ({"orientation": 3}, r"\[orientation\] expected three letters, such as RAS, got '3'"),
        ({"normalize": None}, r"\[normalize\] expected a word for all channels, or one for each, got None"),
        ({"patch_size": (16.5, 16, 16)}, r"\[patch_size\] expected two or three sizes above 0, got \(16.5, 16, 16\)"),
        ({"patch_size": 16}, r"\[patch_size\] expected two or three sizes above 0, got 16"),
        ({"patience": -1}, r"\[patience\] expected seconds from 0 on, got -1"),
        ({"plans": 3}, r"\[plans\] expected a path, got 3"),
        ({"configuration": "2d"}, r"\[plans\] expected nnU-Net's plans with a configuration"),
        ({"targets": "nowhere"}, r"\[targets\] expected a folder, got nowhere, which does not exist"),
    ],
)
def test_arguments_are_checked_before_work_begins(options: dict[str, Any], said: str | None, tmp_path: Path) -> None:
    images, _ = write_cases(tmp_path, 1)
    if said is None:
        assert quietly(images, tmp_path / "out", **options) == ["case_0"]
        return
    with pytest.raises(ValueError, match=said):
        quietly(images, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_spacing_is_not_resized_as_if_it_had_one(tmp_path: Path) -> None:
    write(tmp_path / "images" / "case.npy", volume()[0])
    error = refusal(tmp_path / "images", tmp_path / "out", spacing=(1, 1, 1))
    assert (
        error.reason
        == "expected a file that tells the spacing of its voxels, got one that does not; give it with --image-spacing"
    )
    quietly(tmp_path / "images", tmp_path / "out", spacing=(1, 1, 1), image_spacing=(0.8, 0.9, 2.5))
    write(tmp_path / "told" / "case.nii.gz", volume()[0])
    quietly(tmp_path / "told", tmp_path / "same", spacing=(1, 1, 1))
    assert np.array_equal(read(tmp_path / "out", "case"), read(tmp_path / "same", "case"))
    error = refusal(tmp_path / "images", tmp_path / "turned", orientation="RAS")
    assert error.reason == "expected a 3D image with an orientation, got one without"


@pytest.mark.parametrize("images", [None, 3, {"image": "a.nii.gz"}])
def test_what_is_no_folder_and_no_list(images: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[images\] expected a folder, a file, or a list of cases, got "):
        quietly(images, tmp_path / "out")


def test_channels_that_normalize_and_targets_do_not_have(tmp_path: Path) -> None:
    images, _ = write_cases(tmp_path, 2)
    with pytest.raises(fl.PreprocessingError, match="expected 2 channels, as normalize has words for, got 1"):
        quietly(images, tmp_path / "out", normalize=["zscore", "none"])
    for number in range(2):
        write(tmp_path / "targets" / f"case_{number}.npy", volume(number, 1 + number).astype(np.float32))
    error = refusal(images, tmp_path / "out", targets=tmp_path / "targets", ignore_headers=True)
    assert error.file == str(tmp_path / "targets" / "case_1.npy")
    assert error.reason == "expected 1 channels of the target, as case case_0 has, got 2"


def test_headers_are_read_on_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors and channels are told in the order of the cases, whichever header comes first."""
    images, labels = write_cases(tmp_path, 3)
    (images / "case_2.nii.gz").write_bytes(b"hello")
    both = threading.Barrier(2)
    met: list[str] = []

    def looking(file: str, *rest: Any) -> Any:
        if "images/case_0" in file or "images/case_1" in file:
            both.wait(20)  # it ends only if another thread is here
            met.append(file)
        return look(file, *rest)

    monkeypatch.setattr(checks, "look", looking)
    assert refusal(images, tmp_path / "out", labels=labels, threads=2).case == "case_2"
    assert len(met) == 2


def test_a_series_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slices are in an order that only their headers tell, so this takes as long as reading them."""
    write_dicom(tmp_path / "images" / "anna", volume()[0])
    found = dicom.files_of
    asked: list[str] = []
    monkeypatch.setattr(dicom, "files_of", lambda folder, series: asked.append(folder) or found(folder, series))
    assert quietly(tmp_path / "images", tmp_path / "out") == ["anna"]
    assert asked == [str(tmp_path / "images" / "anna")]
    assert np.array_equal(read(tmp_path / "out", "anna"), volume().astype(np.float32))
