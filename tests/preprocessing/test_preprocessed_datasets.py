"""Whole data sets, preprocessed by nnU-Net's own functions with this package under them, beside what nnU-Net made."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import SimpleITK
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from same_cases import assert_same_cases
from spoiling import add_nan, as_nrrd

import fastnnunet_loader as fl
from datasets import CASES
from fastnnunet_loader.preprocessing import case as of_case

pytestmark = pytest.mark.usefixtures("installed")


def preprocess(dataset: Any, configurations: Any) -> None:
    """Call nnU-Net's function."""
    api = importlib.import_module("nnunetv2.experiment_planning.plan_and_preprocess_api")
    api.preprocess_dataset(dataset.id, "nnUNetPlans", list(configurations), [2])


def of(dataset: Any, folder: Path, configuration: str) -> tuple[Path, Path]:
    """The folder that was made here, and nnU-Net's."""
    identifier = dataset.plans["configurations"][configuration]["data_identifier"]
    return folder / identifier, dataset.preprocessed / dataset.name / identifier


@pytest.mark.parametrize(
    ("variant", "configurations"),
    [
        ("default", ("2d", "3d_fullres")),
        ("anisotropic", ("3d_fullres",)),
        ("regions", ("3d_fullres",)),
        ("ignore", ("3d_fullres",)),
        ("two_channels", ("3d_fullres",)),
        ("cascade", ("3d_lowres", "3d_fullres")),
    ],
)
def test_every_kind_of_data_set_is_as_nnunet_makes_it(
    planned: Any, variant: str, configurations: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = planned(variant)
    monkeypatch.setattr(DefaultPreprocessor, "run_case_save", lambda *_: pytest.fail("this is nnU-Net's own"), raising=True)
    monkeypatch.setattr(of_case, "own_way", lambda _: "")
    preprocess(dataset, configurations)
    for configuration in configurations:
        assert_same_cases(*of(dataset, folder, configuration), CASES)
    assert not list(folder.glob(".*")), "nothing is left of the record"


class ThinnedPreprocessor(DefaultPreprocessor):  # type: ignore[misc]
    """Loses labels after resampling, as nnU-Net's text on `modify_seg_fn` suggests."""

    def modify_seg_fn(self, seg: Any, *_: Any) -> Any:
        """Keep every other slice."""
        seg[:, ::2] = 0
        return seg


def test_a_preprocessor_of_ones_own_is_followed(planned: Any, caplog: pytest.LogCaptureFixture) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

    dataset, folder = planned()
    before = ConfigurationManager.preprocessor_class
    ConfigurationManager.preprocessor_class = property(lambda _: ThinnedPreprocessor)
    try:
        preprocess(dataset, ["3d_fullres"])
    finally:
        ConfigurationManager.preprocessor_class = before
    assert "ThinnedPreprocessor preprocesses in Python, on threads of this process" in caplog.text
    import blosc2

    ours, _ = of(dataset, folder, "3d_fullres")
    assert len(list(ours.iterdir())) == 3 * CASES
    labels = blosc2.open(urlpath=str(next(ours.glob("*_seg.b2nd"))), mode="r")[:]
    assert not labels[:, ::2].any()
    assert labels[:, 1::2].any()


def copy_raw(dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The raw data set in a folder of its own, to be damaged."""
    raw = tmp_path / "nnUNet_raw"
    shutil.copytree(dataset.raw / dataset.name, raw / dataset.name)
    monkeypatch.setenv("nnUNet_raw", str(raw))
    return raw / dataset.name


def shrink(file: Path) -> None:
    """Another shape for a segmentation."""
    image = SimpleITK.ReadImage(str(file))
    SimpleITK.WriteImage(image[:, :, 1:], str(file))


def test_bad_cases_are_named_and_the_others_finished(
    planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, folder = planned()
    raw = copy_raw(dataset, tmp_path, monkeypatch)
    truncated = raw / "imagesTr" / "brain_001_0000.nii.gz"
    whole = truncated.read_bytes()
    truncated.write_bytes(whole[: len(whole) // 2])
    other = raw / "labelsTr" / "brain_003.nii.gz"
    label = other.read_bytes()
    shrink(other)
    with pytest.raises(fl.PreprocessingError) as raised:
        preprocess(dataset, ["3d_fullres"])
    error = raised.value
    assert (error.case, [one.case for one in error.others]) == ("brain_001", ["brain_003"])
    assert str(truncated) in str(error)
    assert str(other) in str(error)
    ours, theirs = of(dataset, folder, "3d_fullres")
    good = ["brain_000", "brain_002", "brain_004", "brain_005"]
    assert sorted(file.name for file in ours.iterdir()) == sorted(
        f"{c}{e}" for c in good for e in (".b2nd", "_seg.b2nd", ".pkl")
    )

    # The next run preprocesses only those two.
    times = {file.name: file.stat().st_mtime_ns for file in ours.iterdir()}
    truncated.write_bytes(whole)
    other.write_bytes(label)
    caplog.clear()
    preprocess(dataset, ["3d_fullres"])
    assert "4 of 6 cases are preprocessed already, by a run that did not end" in caplog.text
    assert {name: (ours / name).stat().st_mtime_ns for name in times} == times
    assert_same_cases(ours, theirs, CASES)

    # And the one after that all of them, as nnU-Net does.
    preprocess(dataset, ["3d_fullres"])
    assert not any((ours / name).stat().st_mtime_ns == time for name, time in times.items())


def test_a_changed_image_is_not_taken_for_finished(
    planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, _ = planned()
    raw = copy_raw(dataset, tmp_path, monkeypatch)
    bad = raw / "imagesTr" / "brain_001_0000.nii.gz"
    whole = bad.read_bytes()
    bad.write_bytes(b"")
    with pytest.raises(fl.PreprocessingError):
        preprocess(dataset, ["3d_fullres"])
    bad.write_bytes(whole)
    changed = raw / "imagesTr" / "brain_002_0000.nii.gz"
    image = SimpleITK.ReadImage(str(changed))
    SimpleITK.WriteImage(image + 1, str(changed))
    caplog.clear()
    preprocess(dataset, ["3d_fullres"])
    assert "4 of 6 cases" in caplog.text


def test_a_budget_too_small_is_told_before_the_first_case(planned: Any) -> None:
    dataset, folder = planned()
    fl.install(threads=2, memory_budget="100kB")
    with pytest.raises(fl.PreprocessingError, match=r"expected a memory budget of at least [\d.]+ MiB, got 97.7 KiB|100"):
        preprocess(dataset, ["3d_fullres"])
    assert not list(of(dataset, folder, "3d_fullres")[0].iterdir())


def test_a_voxel_that_is_nan_is_told(
    planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, folder = planned()
    raw = copy_raw(dataset, tmp_path, monkeypatch)
    as_nrrd(raw, folder)
    file = raw / "imagesTr" / "brain_001_0000.nrrd"
    add_nan(file)
    preprocess(dataset, ["3d_fullres"])
    assert f"[brain_001] {file}: 1 of " in caplog.text
    assert "NaN or infinite" in caplog.text
