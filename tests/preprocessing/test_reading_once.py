"""A case is read once for its fingerprint and all its configurations, in memory that cases in progress leave."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from same_cases import assert_same_cases

import fastnnunet_loader as fl
from datasets import CASES
from fastnnunet_loader.loading.reading.patience import Patience
from fastnnunet_loader.prediction.session.memory import Budget
from fastnnunet_loader.preprocessing import reading
from fastnnunet_loader.preprocessing.cases import TrainingCase

IMPATIENT = Patience(0.0, lambda text: pytest.fail(text))


def case_of(dataset: Any, name: str = "brain_001") -> TrainingCase:
    """A case of the data set."""
    raw = dataset.raw / dataset.name
    return TrainingCase(name, (str(raw / "imagesTr" / f"{name}_0000.nii.gz"),), str(raw / "labelsTr" / f"{name}.nii.gz"))


def a_copy(dataset: Any, folder: Path) -> TrainingCase:
    """A case in a folder of the test's own."""
    case = case_of(dataset)
    files = [str(shutil.copy(file, folder)) for file in case.files]
    return TrainingCase(case.name, (files[0],), files[1])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was read."""
    counted: Counter[str] = Counter()
    read = reading.read

    def counting(case: str, files: Any, *rest: Any) -> Any:
        counted.update(files)
        return read(case, files, *rest)

    monkeypatch.setattr(reading, "read", counting)
    return counted


def test_nnunets_command_reads_each_file_once_where_the_budget_allows(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Counter[str]
) -> None:
    dataset = nnunet_dataset()
    command = ["nnUNetv2_plan_and_preprocess", "-d", str(dataset.id), "-c", "2d", "3d_fullres", "--no_pbar"]
    monkeypatch.setattr(sys, "argv", command)
    for budget, times in (("2GB", {1}), ("4MB", {1, 3})):
        monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / budget))
        (tmp_path / budget).mkdir()
        fl.install(threads=2, memory_budget=budget)
        try:
            importlib.import_module("nnunetv2.experiment_planning.plan_and_preprocess_entrypoints").plan_and_preprocess_entry()
        finally:
            fl.uninstall()
        assert reading.current() is None
        assert len(reads) == 2 * CASES
        assert set(reads.values()) | {1} == times
        reads.clear()
    for folder in sorted((tmp_path / "2GB" / dataset.name).glob("nnUNetPlans_*")):
        assert_same_cases(folder, tmp_path / "4MB" / dataset.name / folder.name, CASES)


def test_what_is_kept_is_what_the_reader_returned(nnunet_dataset: Any) -> None:
    case, budget = case_of(nnunet_dataset()), Budget(2**30)
    with reading.keeping() as kept:
        first = reading.read_case(case, SimpleITKIO, kept, budget, IMPATIENT)
        first_image = first[0].copy()
        first[0][:] = -1  # as whoever normalises in place
        first[2]["spacing"] = None
        second = reading.read_case(case, SimpleITKIO, kept, budget, IMPATIENT)
        second[1][:] = -1
        third = reading.read_case(case, SimpleITKIO, kept, budget, IMPATIENT)
    image, properties = SimpleITKIO().read_images(list(case.images))
    labels, _ = SimpleITKIO().read_seg(case.label)
    for found in (second[0], third[0]):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, image)
    np.testing.assert_array_equal(first_image, image)
    np.testing.assert_array_equal(third[1], labels)
    assert third[2] == properties


def test_intensities_with_fractions_are_kept_as_they_are(nnunet_dataset: Any) -> None:
    case = case_of(nnunet_dataset())
    image, properties = SimpleITKIO().read_images(list(case.images))
    labels, _ = SimpleITKIO().read_seg(case.label)
    image = image / np.float32(3)
    image[0, 0, 0, 0] = np.nan
    kept = reading.Kept()
    kept.put(case, SimpleITKIO, reading.stamps_of_raw(case), (image, labels, properties), Budget(2**30))
    found = kept.get(case, SimpleITKIO)
    assert found is not None
    np.testing.assert_array_equal(found[0], image)


def test_labels_that_int16_does_not_hold_are_read_again(nnunet_dataset: Any) -> None:
    case = case_of(nnunet_dataset())
    image, properties = SimpleITKIO().read_images(list(case.images))
    kept = reading.Kept()
    labels = np.full(image.shape, 40_000, np.float32)
    kept.put(case, SimpleITKIO, reading.stamps_of_raw(case), (image, labels, properties), Budget(2**30))
    assert kept.get(case, SimpleITKIO) is None


@pytest.mark.parametrize("change", ["image", "label", "reader"])
def test_a_file_that_has_changed_is_read_anew(nnunet_dataset: Any, tmp_path: Path, reads: Counter[str], change: str) -> None:
    case, budget = a_copy(nnunet_dataset(), tmp_path), Budget(2**30)

    class Other(SimpleITKIO):  # type: ignore[misc]
        """A reader of somebody's own."""

    with reading.keeping() as kept:
        reading.read_case(case, SimpleITKIO, kept, budget, IMPATIENT)
        if change != "reader":
            os.utime(case.images[0] if change == "image" else case.label, ns=(1, 1))
        reading.read_case(case, Other if change == "reader" else SimpleITKIO, kept, budget, IMPATIENT)
    assert set(reads.values()) == {2}


def test_what_is_kept_gives_way_to_cases_in_progress(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset()
    case = case_of(dataset)
    kept = reading.Kept()
    found = reading.read_case(case, SimpleITKIO, None, Budget(1), IMPATIENT)
    stamps = reading.stamps_of_raw(case)
    kept.put(case, SimpleITKIO, stamps, found, Budget(2**30))
    size = kept.nbytes
    assert size == 4 * found[0].size + 2 * found[1].size
    busy = Budget(3 * size)
    assert busy.reserve(1, 2 * size, lambda: False)
    kept.put(case_of(dataset, "brain_002"), SimpleITKIO, stamps, found, busy)
    assert kept.nbytes == size, "there is room for one"
    kept.shrink_to(size)
    assert kept.get(case, SimpleITKIO) is not None
    kept.shrink_to(size - 1)
    assert kept.nbytes == 0
    assert kept.get(case, SimpleITKIO) is None


def test_the_smallest_go_first(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset()
    large, small = case_of(dataset), case_of(dataset, "brain_002")
    image, labels, properties = reading.read_case(large, SimpleITKIO, None, Budget(1), IMPATIENT)
    kept = reading.Kept()
    for case, slices in ((small, 4), (large, 9)):
        stamps = reading.stamps_of_raw(case)
        kept.put(case, SimpleITKIO, stamps, (image[:, :slices], labels[:, :slices], properties), Budget(2**30))
    kept.shrink_to(kept.nbytes - 1)
    assert kept.get(small, SimpleITKIO) is None
    assert kept.get(large, SimpleITKIO) is not None
