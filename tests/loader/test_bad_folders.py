"""What is wrong with a folder or its files is one sentence: the case, the file, what was expected and what was found."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_folders import numpy_folder, open_folder, write_case

import fastnnunet_loader as fl

Break = Callable[[Path], Any]
IMAGE = np.zeros((1, 20, 24, 28), np.float32)
LABELS = np.zeros((1, 20, 24, 28), np.int8)


def replaced(name: str, array: Any) -> Break:
    return lambda root: np.save(root / name, array)


def cut(root: Path) -> None:
    file = root / "case_1.npy"
    file.write_bytes(file.read_bytes()[:5000])


FILES: dict[str, tuple[Break, str]] = {
    "labels are missing": (lambda root: (root / "case_1_seg.npy").unlink(), r"case_1_seg\.npy"),
    "image of a text": (lambda root: (root / "case_1.npy").write_text("no array"), r"case_1\.npy"),
    "image is cut": (cut, r"case_1\.npy.* truncated"),
    "one axis": (replaced("case_1.npy", np.zeros(5, np.float32)), r"case_1\.npy.*expected an array .*got shape \(5\)"),
    "two axes": (replaced("case_1_seg.npy", LABELS[0, 0]), r"case_1_seg\.npy.*expected an array .*got shape \(24, 28\)"),
    "five axes": (replaced("case_1.npy", IMAGE[None]), r"case_1\.npy.*expected an array .*got shape \(1, 1, 20, 24, 28\)"),
    "no voxels": (
        replaced("case_1.npy", IMAGE[:, :0]),
        r"case_1\.npy.*expected at least one voxel.*got shape \(1, 0, 24, 28\)",
    ),
    "complex numbers": (replaced("case_1.npy", IMAGE.astype(np.complex64)), r"case_1\.npy.*expected .*got dtype '<c8'"),
    "text": (replaced("case_1.npy", np.full(IMAGE.shape, "a")), r"case_1\.npy.*expected .*got dtype '<U1'"),
    "foreign byte order": (replaced("case_1.npy", IMAGE.astype(">f4")), r"case_1\.npy.*expected .*byte order, got dtype '>f4'"),
    "another shape of labels": (
        replaced("case_1_seg.npy", LABELS[:, 1:]),
        r"case_1_seg\.npy.*expected the image's shape \(20, 24, 28\), got \(19, 24, 28\)",
    ),
    "more channels": (replaced("case_1.npy", np.repeat(IMAGE, 3, 0)), r"case_1\.npy.*expected 1 channels as .* have, got 3"),
    "more channels of labels": (
        replaced("case_1_seg.npy", np.repeat(LABELS, 2, 0)),
        r"case_1_seg\.npy.*expected 1 channels as .* have, got 2",
    ),
    "labels that int16 does not hold": (
        replaced("case_1_seg.npy", LABELS.astype(np.int32) + 40000),
        r"case_1_seg\.npy.*expected labels, whole numbers from -32768 to 32767, got 40000",
    ),
    "labels that are no whole numbers": (
        replaced("case_1_seg.npy", LABELS + np.float32(0.25)),
        r"case_1_seg\.npy.*expected labels, whole numbers from -32768 to 32767, got 0\.25",
    ),
    "voxels that are not finite": (replaced("case_1.npy", IMAGE * np.nan), r"case_1\.npy.*(nan|NaN|finite)"),
    "properties that are no pickle": (
        lambda root: (root / "case_1.pkl").write_bytes(b"x"),
        r"case_1\.pkl.*expected a whole pickle of nnU-Net's properties, got",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_bad_file_is_named_with_its_case(tmp_path: Path, what: str) -> None:
    """And skipped where that is asked for."""
    root = numpy_folder(tmp_path / "cases", "npy")
    breaks, message = FILES[what]
    breaks(root)
    settings: dict[str, Any] = {"oversample_foreground": 1.0, "check_finite": True}
    with pytest.raises(fl.BadCaseError) as raised, open_folder(root, **settings) as loader:
        for _ in range(20):
            next(loader)
    text = str(raised.value).splitlines()[0]
    assert re.search(message, text), text
    assert "case_1" in text
    with open_folder(root, **settings, on_bad_case="skip", max_skipped=0.5) as loader:
        seen = {name for _ in range(10) for name in next(loader)["case"]}
        assert seen == {"case_0", "case_2", "case_3"}
        assert [bad.name for bad in loader.bad_cases] == ["case_1"]


def other(root: Path) -> Path:
    (root.parent / "file").write_text("")
    (root.parent / "empty").mkdir()
    return root.parent


ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"folder": "missing"}, fl.StorageError, r"missing\] expected a folder of cases, got no such folder"),
    ({"folder": "file"}, fl.StorageError, r"file\] expected a folder of cases, got a file"),
    ({"folder": "empty"}, fl.StorageError, r"empty\] expected cases, files that end in .b2nd, .npz or .npy, got none"),
    ({"cases": ["case_0", "a", "b", "c", "d"]}, ValueError, r"\[cases\] expected names of cases in .*, got a, b, c and 1 more"),
    ({"cases": ["case_0", "case_0"]}, ValueError, r"\[cases\] expected each name once, got case_0 again"),
    ({"cases": "case_0"}, ValueError, r"\[cases\] expected a list of names, got 'case_0'"),
    ({"cases": []}, ValueError, r"expected at least one case, got none"),
    ({"patch_size": (8,)}, ValueError, r"\[patch_size\] expected 2 or 3 whole numbers above 0, got \(8,\)"),
    ({"patch_size": (8, 8, 0)}, ValueError, r"\[patch_size\] expected 2 or 3 whole numbers above 0, got \(8, 8, 0\)"),
    ({"patch_size": (8, 8, 8.5)}, ValueError, r"\[patch_size\] expected 2 or 3 whole numbers above 0, got \(8, 8, 8.5\)"),
    ({"patch_size": 8}, ValueError, r"\[patch_size\] expected 2 or 3 whole numbers above 0, got 8"),
    (
        {"initial_patch_size": (8, 8)},
        ValueError,
        r"\[initial_patch_size\] expected at least patch_size, \(8, 8, 8\), got \(8, 8\)",
    ),
    ({"initial_patch_size": (8, 7, 8)}, ValueError, r"\[initial_patch_size\] expected at least patch_size"),
    (
        {"transforms": "augmentation"},
        ValueError,
        r"\[patch_size\] expected \(9, 9, 9\), as the augmentation has, got \(8, 8, 8\)",
    ),
    ({"batch_size": 0}, ValueError, r"\[batch_size\] expected a whole number above 0, got 0"),
    ({"batch_size": True}, ValueError, r"\[batch_size\] expected a whole number above 0, got True"),
    ({"batches_per_epoch": 0}, ValueError, r"\[batches_per_epoch\] expected a whole number above 0, or None, got 0"),
    ({"oversample_foreground": 1.5}, ValueError, r"\[oversample_foreground\] expected a share from 0 to 1, got 1.5"),
    ({"oversample_foreground": float("nan")}, ValueError, r"\[oversample_foreground\] expected a share from 0 to 1, got nan"),
    ({"sampling_probabilities": [1.0]}, ValueError, r"\[sampling_probabilities\] expected one for each of 4 cases, got 1"),
    ({"sampling_probabilities": [0.5] * 4}, ValueError, r"\[sampling_probabilities\] expected a sum of 1, got 2"),
    ({"ignore_label": -1}, ValueError, r"\[ignore_label\] expected a label from 0 .*, got -1"),
    ({"classes": []}, ValueError, r"\[classes\] expected labels, or tuples of labels for regions, got \[\]"),
    ({"classes": ["a"]}, ValueError, r"\[classes\] expected labels, or tuples of labels for regions, got \['a'\]"),
    ({"labels": False, "classes": [1]}, ValueError, r"\[labels\] expected labels for classes, .*, got images without labels"),
    ({"image_key": "case"}, ValueError, r"\[keys\] expected names that differ, got"),
    ({"per_case": {"image": [0] * 4}}, ValueError, r"\[per_case\] expected names besides image, label, case, got 'image'"),
    ({"per_case": {"age": [0] * 3}}, ValueError, r"\[per_case\] expected 'age' of 4 cases, got 3 values"),
    (
        {"per_case": {"age": {"case_0": 0}}},
        ValueError,
        r"\[per_case\] expected 'age' of every case, got none of case_1, case_2, case_3",
    ),
    (
        {"per_case": {"age": [[0], [0, 1], [0], [0]]}},
        ValueError,
        r"'age' of shape \(1,\), as case_0 has, got \(2,\) of case case_1",
    ),
    ({"threads": 0}, ValueError, r"threads"),
    ({"seed": -1}, ValueError, r"seed"),
]


@pytest.mark.parametrize(("given", "error", "message"), ARGUMENTS, ids=lambda one: str(one)[:40])
def test_a_wrong_argument_is_named(tmp_path: Path, given: dict[str, Any], error: type[Exception], message: str) -> None:
    root = numpy_folder(tmp_path / "cases")
    settings = dict(given)
    if settings.get("transforms") == "augmentation":
        settings["transforms"] = fl.augmentation.none((9, 9, 9))
    if "folder" in settings:
        root = other(root) / settings.pop("folder")
    with pytest.raises(error, match=message):
        open_folder(root, **settings).close()


def test_archives_of_which_one_has_no_labels(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases")
    write_case(root, "case_1", IMAGE, None, "npz")
    with (
        pytest.raises(fl.BadCaseError, match=r"case_1\.npz\] expected a member seg.npy, got members: data.npy"),
        open_folder(root) as loader,
    ):
        for _ in range(20):
            next(loader)
