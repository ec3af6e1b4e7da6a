"""Every kind of bad file is named, with what was expected of it."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaging import array, bad, change_properties, checks_of, truncate, write

from fastnnunet_loader.doctor import Verdict, exit_code
from fastnnunet_loader.doctor.files import QUICK_CASES, CaseReport, Expected, _speed, case_names, check_case, check_folder
from fastnnunet_loader.loading.reading.cases import blosc2_files
from fastnnunet_loader.loading.reading.pickles import read_properties


@pytest.fixture
def damaged(nnunet_dataset: Any, tmp_path: Path) -> Any:
    """A copy of the default data set, to be damaged."""
    return nnunet_dataset("default").copy(tmp_path / "copy")


@pytest.fixture
def here(damaged: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in damaged.env.items():
        monkeypatch.setenv(name, value)
    return damaged


@pytest.mark.parametrize("variant", ["default", "cascade", "ignore", "regions", "two_channels", "anisotropic"])
def test_healthy_data_sets_give_no_failure(nnunet_dataset: Any, variant: str) -> None:
    checks = checks_of(nnunet_dataset(variant), None)
    assert not bad(checks), bad(checks)
    assert any(check.name.startswith("files, ") and "all 6 cases" in check.found for check in checks)


def only(dataset: Any, check: str, verdict: Verdict = Verdict.FAIL, **settings: Any) -> tuple[str, ...]:
    """The details of the only bad check, which is this one."""
    checks = checks_of(dataset, **settings)
    assert list(bad(checks)) == [check], bad(checks)
    found = bad(checks)[check]
    assert found.verdict is verdict
    assert found.mend
    assert exit_code(checks) == (2 if verdict is Verdict.FAIL else 1)
    return found.details


@pytest.mark.parametrize("kind", [".b2nd", "_seg.b2nd"])
def test_truncated_file_has_both_sizes_named(here: Any, kind: str) -> None:
    file = here.folder() / f"{here.cases()[2]}{kind}"
    before, after = truncate(file)
    (line,) = only(here, "files, 3d_fullres")
    assert str(file) in line
    assert "truncated" in line
    assert f"says {before} bytes" in line
    assert f"has {after}" in line


def test_empty_file_is_named(here: Any) -> None:
    file = here.folder() / f"{here.cases()[0]}.b2nd"
    file.write_bytes(b"")
    (line,) = only(here, "files, 3d_fullres")
    assert str(file) in line
    assert "file has 0" in line


def test_damage_inside_a_whole_file_is_found_by_decompressing(here: Any) -> None:
    file = here.folder() / f"{here.cases()[1]}.b2nd"
    content = bytearray(file.read_bytes())
    # Whole blocks: inside of one, bytes that zstd could not compress are stored as they are, and any others decompress.
    quarter = len(content) // 4
    content[quarter : 3 * quarter] = os.urandom(2 * quarter)
    file.write_bytes(content)
    (line,) = only(here, "files, 3d_fullres")
    assert str(file) in line
    assert "damaged" in line


@pytest.mark.parametrize("kind", [".b2nd", "_seg.b2nd", ".pkl"])
def test_missing_file_is_named(here: Any, kind: str) -> None:
    name = here.cases()[3]
    file = here.folder() / f"{name}{kind}"
    file.unlink()
    lines = bad(checks_of(here))["files, 3d_fullres"].details
    assert lines == (f"[{file}] expected a file of case {name}, got none",)


def test_shape_mismatch_of_image_and_segmentation(here: Any) -> None:
    file = here.folder() / f"{here.cases()[0]}_seg.b2nd"
    voxels = array(file)
    write(file, voxels[:, :-1])
    (line,) = only(here, "files, 3d_fullres")
    assert str(file) in line
    assert str(voxels.shape[1:]) in line
    assert str(voxels[:, :-1].shape[1:]) in line


def test_wrong_number_of_channels(here: Any) -> None:
    file = here.folder() / f"{here.cases()[0]}.b2nd"
    write(file, np.repeat(array(file), 2, axis=0))
    (line,) = only(here, "files, 3d_fullres")
    assert str(file) in line
    assert "expected 1 channels" in line
    assert "got 2" in line


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite(here: Any, value: float) -> None:
    file = here.folder() / f"{here.cases()[4]}.b2nd"
    voxels = array(file)
    voxels[0, 30, 20, 10] = voxels[0, 31, 0, 0] = value
    write(file, voxels)
    (line,) = only(here, "voxels, 3d_fullres")
    assert str(file) in line
    assert f"2 of {voxels.size}" in line
    assert "(0, 30, 20, 10)" in line


def test_label_outside_dataset_json(here: Any) -> None:
    file = here.folder() / f"{here.cases()[5]}_seg.b2nd"
    voxels = array(file)
    voxels[0, 0, 0, :3] = 7
    voxels[0, 0, 1, 0] = -1  # outside of the image, as nnU-Net writes it
    write(file, voxels)
    (line,) = only(here, "voxels, 3d_fullres")
    assert str(file) in line
    assert "7 (3 voxels)" in line
    assert "-1 (" not in line


def test_slabs_give_the_same_places_as_the_whole(here: Any) -> None:
    name = here.cases()[0]
    image, segmentation = (here.folder() / f"{name}{kind}" for kind in (".b2nd", "_seg.b2nd"))
    voxels, labels = array(image), array(segmentation)
    voxels[0, 5, 1, 2] = voxels[0, 40, 3, 4] = np.nan
    labels[0, 33, 0, 0] = 9
    write(image, voxels)
    write(segmentation, labels)
    expected = Expected(1, frozenset({0, 1, 2}), (4.0, 4.0, 4.0), (0, 1, 2), True)
    files = blosc2_files(here.folder(), None, name)
    reports = [check_case(files, here.folder() / f"{name}.pkl", expected, slab) for slab in (2**30, 2 * voxels[0, 0].nbytes, 1)]
    assert reports[0].content == reports[1].content == reports[2].content
    assert "(0, 5, 1, 2)" in reports[0].content[0]
    assert "9 (1 voxels)" in reports[0].content[1]
    assert {report.voxel_bytes for report in reports} == {voxels.size * 4 + labels.size * 2}


def test_properties_of_a_larger_image(here: Any) -> None:
    file = here.folder() / f"{here.cases()[0]}.pkl"
    outside = np.array([[0, 1, 1, 1], [0, 1000, 2, 3], [0, 1, 2000, 3]])
    change_properties(file, class_locations={1: outside, 2: []})
    (line,) = only(here, "files, 3d_fullres")
    assert str(file) in line
    assert "(1000, 2, 3) of class 1, and 1 more" in line


def test_properties_of_another_case(here: Any) -> None:
    first, second = (here.folder() / f"{name}.pkl" for name in here.cases()[:2])
    # Locations that are inside, but not of this image.
    change_properties(first, class_locations={1: np.argwhere(array(first.with_name(f"{first.stem}_seg.b2nd")) == 0)[:50]})
    shutil.copy(first, second)
    lines = bad(checks_of(here))["properties, 3d_fullres"].details
    assert any(str(first) in line and "50 of 50" in line for line in lines)


def test_case_that_other_plans_resampled(here: Any) -> None:
    file = here.folder() / f"{here.cases()[0]}.pkl"
    change_properties(file, spacing=[4.0, 4.0, 5.0])
    (line,) = only(here, "properties, 3d_fullres", Verdict.WARNING)
    assert f"{here.cases()[0]}.b2nd" in line
    assert "expected shape" in line


def test_properties_without_class_locations(here: Any) -> None:
    file = here.folder() / f"{here.cases()[0]}.pkl"
    properties = read_properties(file)
    del properties["class_locations"]
    file.write_bytes(pickle.dumps(properties))
    (line,) = only(here, "files, 3d_fullres")
    assert f"[{file}] expected 'class_locations'" in line


def test_truncated_properties(here: Any) -> None:
    file = here.folder() / f"{here.cases()[0]}.pkl"
    truncate(file)
    (line,) = only(here, "files, 3d_fullres")
    assert f"[{file}] expected a whole pickle" in line


class Runs:
    """A pickle of this runs a command."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


def test_pickle_that_would_run_code_is_refused_by_name(here: Any, tmp_path: Path) -> None:
    file, touched = here.folder() / f"{here.cases()[0]}.pkl", tmp_path / "touched"
    change_properties(file, payload=Runs(touched)) if os.name == "posix" else pytest.skip("the command is for a POSIX shell")
    (line,) = only(here, "files, 3d_fullres")
    assert str(file) in line
    assert "posix.system" in line
    assert not touched.exists()


def test_quick_reads_some_cases_but_looks_for_all(here: Any) -> None:
    folder, cases = here.folder(), here.cases()
    assert len(cases) > QUICK_CASES
    truncate(folder / f"{cases[0]}.b2nd")
    (folder / f"{cases[4]}_seg.b2nd").unlink()
    check = bad(checks_of(here, quick=True))["files, 3d_fullres"]
    assert f"in {QUICK_CASES} of {len(cases)} cases" in check.found
    assert len(check.details) == 2, check.details


def test_every_bad_file_is_named(here: Any) -> None:
    for name in here.cases():
        truncate(here.folder() / f"{name}.b2nd")
    lines = only(here, "files, 3d_fullres", threads=4)
    assert [name in line for name, line in zip(here.cases(), lines, strict=True)] == [True] * len(lines)


def test_strange_ending_is_named(here: Any) -> None:
    file = here.folder() / "brain_000.b2nd.part"
    file.touch()
    assert only(here, "kinds of files") == (str(file),)


def test_archives_of_older_versions(here: Any, tmp_path: Path) -> None:
    folder, name = tmp_path / "npz", here.cases()[0]
    folder.mkdir()
    image, labels = (array(here.folder() / f"{name}{kind}") for kind in (".b2nd", "_seg.b2nd"))
    np.savez_compressed(folder / f"{name}.npz", data=image, seg=labels)
    shutil.copy(here.folder() / f"{name}.pkl", folder)
    expected = Expected(1, frozenset({0, 1, 2}), (4.0, 4.0, 4.0), (0, 1, 2), True)
    assert not bad(check_folder(folder, "old", expected, "nnUNetv2_preprocess", 2, False))
    truncate(folder / f"{name}.npz")
    found = bad(check_folder(folder, "old", expected, "nnUNetv2_preprocess", 2, False))
    assert f"{name}.npz" in found["files, old"].details[0]
    assert case_names(folder) == {name}


def report_of(folder: Path, properties: dict[str, Any], shape: tuple[int, ...], expected: Expected, labels: Any = None) -> Any:
    """What is found in a case with an image of this shape, and a segmentation of zeros."""
    folder.mkdir(exist_ok=True)
    write(folder / "case.b2nd", np.ones(shape, np.float32))
    write(folder / "case_seg.b2nd", np.zeros((1, *shape[1:]), np.int8) if labels is None else labels)
    (folder / "case.pkl").write_bytes(pickle.dumps({"class_locations": {}, **properties}))
    return check_case(blosc2_files(folder, None, "case"), folder / "case.pkl", expected, 2**20)


@pytest.mark.parametrize("flat", [False, True])
def test_a_planned_shape_follows_from_the_axes_as_the_network_has_them(tmp_path: Path, flat: bool) -> None:
    cropped, spacing = (10, 12, 7), [5.0, 3.0, 1.0]  # the first in the network's order, the second in the file's
    target = (2.5, 6.0) if flat else (2.0, 2.5, 6.0)
    expected = Expected(1, frozenset({0, 1}), target, (2, 0, 1), True)
    planned = (10 if flat else 5, 24, 4)  # round(3.5) is 4
    properties = {"shape_after_cropping_and_before_resampling": cropped, "spacing": spacing}
    assert report_of(tmp_path / "a", properties, (1, *planned), expected).doubts == []
    for axis in range(3):
        other = tuple(n + (a == axis) for a, n in enumerate(planned))
        (line,) = report_of(tmp_path / f"b{axis}", properties, (1, *other), expected).doubts
        assert f"expected shape {planned}, from the plans and case.pkl, got {other}" in line
    # A preprocessor of one's own may do as it likes.
    own = Expected(1, frozenset({0, 1}), target, (2, 0, 1), False)
    assert report_of(tmp_path / "c", properties, (1, 9, 9, 9), own).doubts == []


def test_properties_that_lack_something_are_named(tmp_path: Path) -> None:
    expected = Expected(1, frozenset({0, 1}), (1.0, 1.0, 1.0), (0, 1, 2), True)
    cropped, spacing = "shape_after_cropping_and_before_resampling", "spacing"
    whole = {cropped: (5, 6, 7), spacing: [1.0, 1.0, 1.0]}
    for absent, said in (((cropped,), cropped), ((spacing,), spacing), ((cropped, spacing), f"{cropped} and {spacing}")):
        properties = {name: value for name, value in whole.items() if name not in absent}
        report = report_of(tmp_path / "a", properties, (1, 5, 6, 7), expected)
        assert report.doubts == [f"[{tmp_path / 'a' / 'case.pkl'}] expected {said}, got none"]
        assert report.damage == []
    report = report_of(tmp_path / "a", {**whole, spacing: [1.0, 1.0]}, (1, 5, 6, 7), expected)
    assert "expected a spacing and a shape of 3 axes, got [1.0, 1.0] and (5, 6, 7)" in report.damage[0]


def test_segmentations_of_several_channels_and_places_below_zero(tmp_path: Path) -> None:
    expected = Expected(1, frozenset({0, 1, 2}), (1.0, 1.0, 1.0), (0, 1, 2), False)
    report = report_of(tmp_path / "a", {}, (1, 5, 6, 7), expected, np.zeros((2, 5, 6, 7), np.int8))
    assert any("case_seg.b2nd] expected 1 channel, got 2" in line for line in report.damage)
    outside = {(1, 2): np.array([[0, 1, 1, 1], [0, 1, -1, 3]]), 2: np.array([[0, 1, 1, 7]]), 1: np.array([[0, 4, 5, 6]])}
    labels = np.zeros((1, 5, 6, 7), np.int8)
    labels[0, 4, 5, 6] = 1
    report = report_of(tmp_path / "b", {"class_locations": outside}, (1, 5, 6, 7), expected, labels)
    assert [line.partition("got ")[2] for line in report.damage] == [
        "(1, -1, 3) of class (1, 2), and 0 more",
        "(1, 1, 7) of class 2, and 0 more",
    ]
    assert report.doubts == []


def test_places_of_a_region_have_any_of_its_labels(tmp_path: Path) -> None:
    """In slabs of one plane, too."""
    expected = Expected(1, frozenset({0, 1, 2, 3}), (1.0, 1.0, 1.0), (0, 1, 2), False)
    labels = np.zeros((1, 5, 6, 7), np.int8)
    labels[0, 0, 1, 2], labels[0, 3, 1, 2], labels[0, 4, 1, 2] = 1, 2, 3
    at = np.array([[0, plane, 1, 2] for plane in range(5)])
    properties = {"class_locations": {(1, 2): at, 3: at[4:], 2: at[3:]}}
    for slab in (1, 2**20):
        report_of(tmp_path / "a", properties, (1, 5, 6, 7), expected, labels)
        files = blosc2_files(tmp_path / "a", None, "case")
        report = check_case(files, tmp_path / "a" / "case.pkl", expected, slab)
        assert [line.partition("class_locations of class ")[2] for line in report.doubts] == [
            "(1, 2) to have it in the segmentation, got 3 of 5 that have not",
            "2 to have it in the segmentation, got 1 of 2 that have not",
        ]


def test_quick_reads_cases_from_the_first_to_the_last(here: Any) -> None:
    for name in here.cases():
        truncate(here.folder() / f"{name}.b2nd")
    lines = bad(checks_of(here, quick=True))["files, 3d_fullres"].details
    assert [name for name in here.cases() if any(name in line for line in lines)] == [here.cases()[i] for i in (0, 1, 2, 3, 5)]


@pytest.mark.parametrize(
    ("size", "seconds", "verdict"),
    [(40, 1.0, Verdict.OK), (40, 4.0, Verdict.WARNING), (10, 4.0, Verdict.OK), (40, 2.0, Verdict.OK)],
)
def test_storage_that_is_slow_is_told(size: int, seconds: float, verdict: Verdict) -> None:
    """By the bytes that one thread reads in a second, where they are enough to tell."""
    reports = [CaseReport(file_bytes=size * 2**18, file_seconds=seconds / 4, voxel_bytes=3 * 2**20) for _ in range(4)]
    check = _speed(reports, "title", 2, 6.0)
    assert (check.name, check.verdict) == ("speed, title", verdict)
    assert f"read at {size / seconds:.1f} MiB/s by each of 2 threads ({size:.1f} MiB, " in check.found
    assert "12.0 MiB of voxels checked at 2.0 MiB/s" in check.found


def test_only_files_of_cases_make_cases(tmp_path: Path) -> None:
    for name in ("a.b2nd", "a_seg.b2nd", "b_seg.b2nd", "c.pkl", "d.npz"):
        (tmp_path / name).touch()
    assert case_names(tmp_path) == {"a"}
    expected = Expected(1, frozenset(), (1.0, 1.0, 1.0), (0, 1, 2), False)
    checks = {check.name: check for check in check_folder(tmp_path, "t", expected, "preprocess", 1, False)}
    (strange,) = checks["kinds of files"].details
    assert strange == str(tmp_path / "d.npz")
    missing = [line for line in checks["files, t"].details if "got none" in line]
    assert [line.partition("case ")[2] for line in missing] == [
        "a, got none", "b, got none", "b, got none", "c, got none", "c, got none",
    ]  # fmt: skip
    for file in tmp_path.iterdir():
        file.unlink()
    *_, nothing = check_folder(tmp_path, "t", expected, "preprocess", 1, False)
    assert (nothing.verdict, nothing.found, nothing.mend) == (Verdict.FAIL, f"no case in {tmp_path}", "preprocess")


def test_labels_that_are_not_planned_are_counted_over_the_whole_image(tmp_path: Path) -> None:
    """Also where it is read in parts."""
    expected = Expected(1, frozenset({0, 1}), (1.0, 1.0, 1.0), (0, 1, 2), False)
    labels = np.zeros((1, 5, 6, 7), np.int8)
    labels[0, 0, 1, :2], labels[0, 3, 1, :3], labels[0, 4, 0, 0] = 9, 9, 5
    report_of(tmp_path, {}, (1, 5, 6, 7), expected, labels)
    files = blosc2_files(tmp_path, None, "case")
    for slab in (1, 2 * 42 * 2, 2**20):
        (line,) = check_case(files, tmp_path / "case.pkl", expected, slab).content
        assert line.endswith("expected labels of dataset.json, [0, 1], or -1, got also 5 (1 voxels), 9 (5 voxels)")
