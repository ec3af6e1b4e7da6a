"""The raw files of a data set, before a training: what nnU-Net would refuse, or not be able to predict after it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from damaging import bad, change_properties, checks_of

from fastnnunet_loader.doctor import Check, Verdict, run
from fastnnunet_loader.doctor.dataset import DatasetChecks
from fastnnunet_loader.doctor.files import Expected, check_folder
from fastnnunet_loader.doctor.raw import check_raw


@pytest.fixture
def here(nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The default data set with raw files of its own."""
    dataset = nnunet_dataset("default")
    raw = tmp_path / "raw"
    shutil.copytree(dataset.raw / dataset.name, raw / dataset.name)
    monkeypatch.setenv("nnUNet_raw", str(raw))
    return raw / dataset.name, dataset


def raw_check(dataset: Any, **settings: Any) -> Check:
    (check,) = (check for check in checks_of(dataset, **settings) if check.name == "raw files")
    return check


def resave(file: Path, change: Callable[[Any], Any]) -> None:
    image = nibabel.load(file)
    voxels, affine = np.asarray(image.dataobj), image.affine
    file.unlink()
    made = nibabel.Nifti1Image(change(voxels), affine)
    nibabel.save(made, file)


def test_good_files_and_scaled_ones(here: Any) -> None:
    raw, dataset = here
    file = raw / "imagesTr" / "brain_000_0000.nii.gz"
    image = nibabel.load(file)
    scaled = nibabel.Nifti1Image(np.asarray(image.dataobj).astype(np.int16), image.affine)
    scaled.header.set_slope_inter(0.5, 10)
    nibabel.save(scaled, file)
    check = raw_check(dataset)
    assert check.verdict is Verdict.OK
    assert "6 cases" in check.found
    assert "SimpleITKIO" in check.found


IMAGE, LABELS = "imagesTr/brain_001_0000.nii.gz", "labelsTr/brain_001.nii.gz"


def copy_to_images_ts(raw: Path) -> None:
    shutil.copytree(raw / "imagesTr", raw / "imagesTs")
    (raw / "imagesTs" / "brain_001_0000.nii.gz").write_bytes(b"no image")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "4D of two": (lambda raw: resave(raw / IMAGE, lambda v: np.stack([v] * 2, -1)), f"{IMAGE}: expected 1 channel"),
    "label of another size": (lambda raw: resave(raw / LABELS, lambda v: v[1:]), f"{LABELS}: expected the size ("),
    "no label": (lambda raw: (raw / LABELS).unlink(), f"{LABELS}: expected a file, got none"),
    "empty": (lambda raw: (raw / IMAGE).write_bytes(b""), f"{IMAGE}: expected an image, got an empty file"),
    "no channel": (lambda raw: (raw / "imagesTr/brain_001.nii.gz").touch(), "expected a name with the number of the channel"),
    "imagesTs": (copy_to_images_ts, "[imagesTs, brain_001]"),
}


@pytest.mark.parametrize(("change", "said"), DAMAGES.values(), ids=DAMAGES)
def test_bad_files_are_named(here: Any, change: Callable[[Path], object], said: str) -> None:
    raw, dataset = here
    change(raw)
    check = raw_check(dataset)
    assert check.verdict is Verdict.FAIL
    assert any(said in line for line in check.details), check.details
    assert len(check.details) == 1


def test_4d_images_are_named_before_a_training(here: Any) -> None:
    """nnU-Net trains on them, and fails when it writes the first segmentation."""
    raw, dataset = here
    for file in (raw / "imagesTr").iterdir():
        resave(file, lambda v: np.stack([v, v], -1))
    content = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    content["channel_names"] = {"0": "T1", "1": "T2"}
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    check = raw_check(dataset)
    assert check.verdict is Verdict.FAIL
    assert len(check.details) == 6
    assert (
        "expected an image of 2 or 3 dimensions, as nnU-Net's SimpleITKIO can write its segmentation, got 4" in check.details[0]
    )


def test_raw_data_set_that_is_not_preprocessed(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, dataset = here
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "empty"))
    monkeypatch.delenv("nnUNet_results", raising=False)
    (raw / "labelsTr" / "brain_003.nii.gz").unlink()
    checks = DatasetChecks(str(dataset.id))
    found = checks.find()
    assert found.verdict is Verdict.FAIL
    assert found.mend == f"nnUNetv2_plan_and_preprocess -d {dataset.id}"
    (check,) = run(checks.tasks(), lambda _: None)
    assert check.name == "raw files"
    assert "[brain_003]" in check.details[0]


def test_files_that_dataset_json_lists(here: Any) -> None:
    raw, dataset = here
    content = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    content["dataset"] = {"one": {"images": ["imagesTr/brain_000_0000.nii.gz"], "label": "$NOWHERE/none.nii.gz"}}
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    (line,) = raw_check(dataset).details
    assert line.startswith("[one] ")
    assert "none.nii.gz: expected a file, got none" in line


def test_files_that_dataset_json_lists_may_be_named_by_the_environment(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nnU-Net expands them."""
    raw, dataset = here
    monkeypatch.setenv("ELSEWHERE", str(raw.parent / "elsewhere"))
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).rename((raw.parent / "elsewhere").parent / f"elsewhere_{folder}")
    content = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    images = ["${ELSEWHERE}_imagesTr/brain_000_0000.nii.gz"]
    content["dataset"] = {"one": {"images": images, "label": "${ELSEWHERE}_labelsTr/brain_000.nii.gz"}}
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    check = raw_check(dataset)
    assert (check.verdict, check.details) == (Verdict.OK, ())
    assert "headers of 1 cases" in check.found


@pytest.mark.parametrize(
    ("stuff", "said"),
    [
        ({"sitk_stuff": {"spacing": (1.0, 1.0, 1.0, 1.0), "origin": (0.0,) * 4, "direction": (1.0,)}}, "2 or 3 dimensions"),
        ({"nibabel_stuff": {"original_affine": np.diag([0.0, 0.0, 0.0, 1.0])}}, "an affine with which"),
    ],
)
def test_preprocessed_cases_that_cannot_be_written(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuff: Any, said: str
) -> None:
    dataset = nnunet_dataset("default").copy(tmp_path / "copy")
    for variable, value in dataset.env.items():
        monkeypatch.setenv(variable, value)
    change_properties(dataset.folder() / "brain_002.pkl", **stuff)
    (check,) = bad(checks_of(dataset)).values()
    assert (check.name, check.verdict) == ("segmentations, 3d_fullres", Verdict.FAIL)
    (line,) = check.details
    assert "brain_002.pkl" in line
    assert said in line


NAMES = ["a b", "it's", 'with "quotes"', "$(touch x)", "semi;colon", "`x`"]


@pytest.mark.parametrize("name", NAMES)
def test_lines_to_run_hold_names_as_they_are(tmp_path: Path, name: str) -> None:
    """A shell that gets the line sees the name, and nothing that the name could make it do."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "stray file.txt").touch()
    (folder / "case.b2nd").touch()
    expected = Expected(1, frozenset(), (1.0, 1.0, 1.0), (0, 1, 2), False)
    checks = check_folder(folder, name, expected, "preprocess", 1, False)
    (strange,) = (check for check in checks if check.name == "kinds of files")
    assert shlex.split(strange.mend) == ["rm", str(folder / "stray file.txt")]


@pytest.mark.parametrize("name", NAMES)
def test_plans_with_odd_names(nnunet_dataset: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = nnunet_dataset("default").copy(tmp_path / "it's a copy")
    for variable, value in dataset.env.items():
        monkeypatch.setenv(variable, value)
    folder = dataset.preprocessed / dataset.name
    (folder / "nnUNetPlans.json").rename(folder / f"{name}.json")
    (check,) = (check for check in checks_of(dataset) if check.name == "plans")
    assert shlex.split(check.mend) == ["-p", name]
    (folder / "splits_final.json").write_text("no JSON", encoding="utf-8")
    (check,) = (check for check in checks_of(dataset, plans_name=name) if check.name == "splits")
    assert shlex.split(check.mend)[:2] == ["rm", str(folder / "splits_final.json")]


def test_quick_looks_at_cases_from_the_first_to_the_last(here: Any) -> None:
    raw, dataset = here
    for file in (raw / "imagesTr").iterdir():
        file.write_bytes(b"")
    lines = raw_check(dataset, quick=True).details
    assert [n for n in range(6) if any(f"[brain_00{n}]" in line for line in lines)] == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("reader", ["NibabelIO", "SimpleITKIO"])
def test_files_are_looked_at_with_the_reader_of_the_plans(here: Any, reader: str) -> None:
    raw, dataset = here
    check = check_raw(raw, {**dataset.plans, "image_reader_writer": reader}, 2, False)
    assert check.found == f"headers of 6 cases are as nnU-Net's {reader} takes them"
    # Without plans, with the one that nnU-Net would choose.
    assert "SimpleITKIO" in check_raw(raw, {}, 2, False).found
    description = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    named = json.dumps({**description, "overwrite_image_reader_writer": "NibabelIO"})
    (raw / "dataset.json").write_text(named, encoding="utf-8")
    assert "NibabelIO" in check_raw(raw, {}, 2, False).found


def test_a_description_that_is_none_is_named(here: Any) -> None:
    raw, _ = here
    for text in ("no JSON", "{}", "[]", '{"file_ending": ".nii.gz", "dataset": 3}'):
        (raw / "dataset.json").write_text(text, encoding="utf-8")
        check = check_raw(raw, {}, 2, False)
        assert check.verdict is Verdict.FAIL
        assert check.found.startswith(f"[{raw / 'dataset.json'}] expected a raw data set of nnU-Net, got ")


def test_a_raw_data_set_without_images_is_a_note(here: Any) -> None:
    raw, dataset = here
    shutil.rmtree(raw / "imagesTr")
    check = raw_check(dataset)
    assert (check.verdict, check.found) == (Verdict.NOTE, f"no image that ends with .nii.gz in {raw / 'imagesTr'}")


def test_names_that_are_wrong_are_named_in_both_folders(here: Any) -> None:
    raw, dataset = here
    shutil.copytree(raw / "imagesTr", raw / "imagesTs")
    for folder in ("imagesTr", "imagesTs"):
        (raw / folder / f"of_{folder}.nii.gz").touch()
    lines = raw_check(dataset).details
    assert len(lines) == 2
    assert all(f"of_{folder}" in line for folder, line in zip(("imagesTr", "imagesTs"), lines, strict=True))
