"""The fingerprint beside nnU-Net's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor as module
from spoiling import add_nan, as_nrrd

import fastnnunet_loader as fl
from fastnnunet_loader.preprocessing.fingerprint import own_analysis
from fastnnunet_loader.preprocessing.intensities import PERCENTILES, intensity_properties, percentiles

SAMPLES = 40_000


def extract(dataset: Any, into: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Extract with nnU-Net's class as it is now."""
    monkeypatch.setenv("nnUNet_preprocessed", str(into))
    extractor = module.DatasetFingerprintExtractor(dataset.id, 2)
    extractor.num_foreground_voxels_for_intensitystats = SAMPLES
    extractor.run(overwrite_existing=True)
    return json.loads((into / dataset.name / "dataset_fingerprint.json").read_text(encoding="utf-8"))


def test_what_is_known_is_native() -> None:
    assert own_analysis() == ""


@pytest.mark.parametrize("count", [1, 2, 10, 101, 20_001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_percentiles_are_numpys(count: int, dtype: type) -> None:
    values = (np.random.default_rng(count).normal(size=count) * 300).astype(dtype)
    assert np.array_equal(percentiles(values, 2), np.percentile(values, PERCENTILES))


@pytest.mark.parametrize("count", [1, 7, 8, 127, 128, 129, 1000, 2_000_003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean_and_deviation_are_numpys_to_the_last_bit(count: int, dtype: type) -> None:
    values = (np.random.default_rng(count).normal(size=count) * 300 + 40).astype(dtype)
    found = intensity_properties(values, 2)
    numpys = {"mean": np.mean(values), "std": np.std(values), "min": np.min(values), "max": np.max(values)}
    assert {name: found[name] for name in numpys} == {name: float(value) for name, value in numpys.items()}


@pytest.mark.parametrize("variant", ["default", "two_channels"])
def test_it_is_nnunets(nnunet_dataset: Any, tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = nnunet_dataset(variant)
    with monkeypatch.context() as patch:
        patch.setattr(module, "multiprocessing", Threads)
        theirs = extract(dataset, tmp_path / "theirs", monkeypatch)
    fl.install(threads=2)
    monkeypatch.setattr(module.DatasetFingerprintExtractor, "analyze_case", None)  # which is not called
    monkeypatch.setattr("fastnnunet_loader.preprocessing.replacements.own_analysis", lambda: "")
    try:
        assert extract(dataset, tmp_path / "ours", monkeypatch) == theirs
    finally:
        fl.uninstall()


def test_a_case_without_foreground_counts_as_in_nnunet(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = nnunet_dataset()
    shutil.copytree(dataset.raw / dataset.name, tmp_path / "raw" / dataset.name)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    file = tmp_path / "raw" / dataset.name / "labelsTr" / "brain_002.nii.gz"
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)) * 0, str(file))
    with monkeypatch.context() as patch:
        patch.setattr(module, "multiprocessing", Threads)
        theirs = extract(dataset, tmp_path / "theirs", monkeypatch)
    fl.install(threads=2)
    try:
        assert extract(dataset, tmp_path / "ours", monkeypatch) == theirs
        as_nrrd(tmp_path / "raw" / dataset.name)
        add_nan(tmp_path / "raw" / dataset.name / "imagesTr" / "brain_004_0000.nrrd")
        with pytest.raises(fl.PreprocessingError, match=r"brain_004.*an image with NaN in 1 of its voxels"):
            extract(dataset, tmp_path / "bad", monkeypatch)
        assert not list((tmp_path / "bad" / dataset.name).iterdir())
    finally:
        fl.uninstall()


class Threads:
    """Stands for `multiprocessing`, so that nnU-Net's own code runs without the seconds that its processes need to start."""

    @staticmethod
    def get_context(_: str) -> Any:
        from fastnnunet_loader.threads import ThreadPool

        class Context:
            Pool = ThreadPool

        return Context
