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
from fastnnunet_loader.doctor.files import QUICK_CASES, Expected, case_names, check_case, check_folder
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
