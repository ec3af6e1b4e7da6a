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
from fastnnunet_loader.preprocessing.intensities import PERCENTILES, Foreground, intensity_properties, percentiles

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
    assert np.array_equal(percentiles([values], 2), np.percentile(values, PERCENTILES))


@pytest.mark.parametrize("count", [1, 7, 8, 127, 128, 129, 1000, 2_000_003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean_and_deviation_are_numpys_to_the_last_bit(count: int, dtype: type) -> None:
    values = (np.random.default_rng(count).normal(size=count) * 300 + 40).astype(dtype)
    assert_numpys(intensity_properties([values], 2), values)


def test_whole_numbers_count_as_in_float32() -> None:
    """Cases whose images are whole numbers lie beside others, and nnU-Net has all in one array."""
    random = np.random.default_rng(3)
    whole = random.integers(-1000, 3000, 50_001).astype(np.int16)
    parts = [whole, (random.normal(size=70_000) * 300).astype(np.float32), whole[:1], whole[::-1].copy()]
    values = np.concatenate([part.astype(np.float32) for part in parts])
    assert_numpys(intensity_properties(parts, 2), values)
    assert np.array_equal(percentiles(parts, 2), np.percentile(values, PERCENTILES))


def assert_numpys(found: dict[str, float], values: Any) -> None:
    numpys = {"mean": np.mean(values), "std": np.std(values), "min": np.min(values), "max": np.max(values)}
    assert {name: found[name] for name in numpys} == {name: float(value) for name, value in numpys.items()}


@pytest.mark.parametrize(("scale", "kept"), [(1.0, np.int16), (0.5, np.float32)])
def test_what_is_drawn_is_nnunets_in_the_smallest_type(scale: float, kept: type) -> None:
    random = np.random.default_rng(0)
    image = (random.integers(0, 900, (2, 9, 8, 7)) * scale).astype(np.float32)
    labels = (random.random((9, 8, 7)) < 0.3).astype(np.float32)
    theirs, _ = module.DatasetFingerprintExtractor.collect_foreground_intensities(labels[None], image, num_samples=5000)
    foreground = Foreground(1, 2, 5000)
    foreground.draw(0, image, labels)
    for channel in (0, 1):
        (ours,) = foreground.of(channel)
        assert ours.dtype == kept
        assert np.array_equal(ours, theirs[channel])


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
