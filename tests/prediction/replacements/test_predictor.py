"""After install() nnU-Net's own predictor starts no process, and predicts what it predicted before."""

from __future__ import annotations

import multiprocessing.process
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference import predict_from_raw_data as module
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from prediction_runs import TIES, assert_same_segmentations
from raw_images import copy_images, images_of

import fastnnunet_loader as fl
from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.preprocessing.preprocess import Preprocessing
from fastnnunet_loader.prediction.session.session import Session

SEQUENTIAL = nnUNetPredictor.predict_from_files_sequential
"""nnU-Net's own, before anything is installed."""

SEQUENTIAL_ARRAY = nnUNetPredictor.predict_single_npy_array


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """install(), and no process can be started."""

    def start(_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)
    fl.install(threads=2)
    yield
    fl.uninstall()


@pytest.fixture
def predictor(trained: Any) -> nnUNetPredictor:
    made = nnUNetPredictor(tile_step_size=1, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    made.initialize_from_trained_model_folder(str(trained()[1]), (0,))
    return made


@pytest.fixture
def images(nnunet_dataset: Any, tmp_path: Path) -> Path:
    return copy_images(nnunet_dataset(), tmp_path / "images")


def read(predictor: Any, images: Path, case: str) -> tuple[Any, Any]:
    return predictor.plans_manager.image_reader_writer_class().read_images(images_of(images, case))


def test_files(predictor: Any, images: Path, installed: None, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    lists = [images_of(images, f"brain_00{i}") for i in range(2)]
    SEQUENTIAL(predictor, lists, [str(tmp_path / "theirs" / f"brain_00{i}") for i in range(2)])
    assert predictor.predict_from_files(str(images), str(tmp_path / "ours")) == [None, None]
    assert_same_segmentations(tmp_path / "ours", tmp_path / "theirs", TIES)


def test_files_one_after_another(predictor: Any, images: Path, installed: None, tmp_path: Path, monkeypatch: Any) -> None:
    read, preprocess = [], Preprocessing.from_files

    def from_files(self: Any, case: str, *rest: Any) -> Any:
        read.append(case)
        return preprocess(self, case, *rest)

    monkeypatch.setattr(Preprocessing, "from_files", from_files)
    monkeypatch.chdir(tmp_path)
    lists = [images_of(images, f"brain_00{i}") for i in range(2)]
    assert predictor.predict_from_files_sequential(lists[:1], ["alone"]) == []
    assert predictor.predict_from_files_sequential(str(images), str(tmp_path / "ours"), True) == []
    assert (tmp_path / "alone.nii.gz").read_bytes() == (tmp_path / "ours" / "brain_000.nii.gz").read_bytes()
    assert (tmp_path / "ours" / "brain_001.npz").is_file()
    assert predictor.predict_from_files_sequential(str(images), str(tmp_path / "ours"), True, False) is None
    assert read == ["brain_000", "brain_000", "brain_001"], "nnU-Net preprocesses"


def test_results_that_are_returned(predictor: Any, images: Path, installed: None) -> None:
    lists = [images_of(images, f"brain_00{i}") for i in range(2)]
    theirs = SEQUENTIAL(predictor, lists, None)
    for ours in (predictor.predict_from_files(lists, None), predictor.predict_from_files_sequential(lists, None)):
        assert all(np.array_equal(a, b) for a, b in zip(theirs, ours, strict=True))
    arrays, properties = zip(*(read(predictor, images, f"brain_00{i}") for i in range(2)), strict=True)
    before = [array.copy() for array in arrays]
    from_arrays = predictor.predict_from_list_of_npy_arrays(list(arrays), None, list(properties), None)
    assert all(np.array_equal(a, b) for a, b in zip(theirs, from_arrays, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True)), "the images are the caller's"
    segmentation, probabilities = predictor.predict_single_npy_array(*read(predictor, images, "brain_000"), None, None, True)
    assert np.array_equal(segmentation, theirs[0])
    assert probabilities.shape == (3, *segmentation.shape)


def test_iterators(predictor: Any, images: Path, installed: None) -> None:
    (theirs,) = SEQUENTIAL(predictor, [images_of(images, "brain_000")], None)
    image, properties = read(predictor, images, "brain_000")
    items = list(predictor.get_data_iterator_from_raw_npy_data([image], None, [properties], None))
    assert items[0].keys() == {"data", "data_properties", "ofile"}
    (ours,) = predictor.predict_from_data_iterator(iter(items))
    assert np.array_equal(ours, theirs)


def test_items_of_another_iterator_overlap(predictor: Any, images: Path, installed: None, monkeypatch: Any) -> None:
    """What they need is in their properties: the next one waits ready while the last one is exported."""
    arrays, properties = zip(*(read(predictor, images, f"brain_00{i}") for i in range(2)), strict=True)
    items = list(predictor.get_data_iterator_from_raw_npy_data(list(arrays), None, list(properties), None))
    predicting = threading.Event()
    overlapped: list[bool] = []
    predict, export = Session.predict, Session.export

    def noting(self: Any, case: str, *args: Any) -> Any:
        if case == "image 1":
            predicting.set()
        return predict(self, case, *args)

    def waiting(self: Any, *args: Any) -> Any:
        overlapped.append(predicting.wait(10 if not overlapped else 0))
        return export(self, *args)

    theirs = predictor.predict_from_data_iterator(iter(items))
    monkeypatch.setattr(Session, "predict", noting)
    monkeypatch.setattr(Session, "export", waiting)
    ours = predictor.predict_from_data_iterator(iter(items))
    assert overlapped == [True, True], "the first one was exported before the second one could begin"
    assert all(np.array_equal(a, b) for a, b in zip(theirs, ours, strict=True))
    # Without what tells the size, a case is alone, as it was: nothing else is known.
    bare = [{**item, "data_properties": {**item["data_properties"]}} for item in items]
    assert Session(predictor, say=lambda _: None).need_of_prepared("a", {}) is None
    assert all(job.need is not None and job.need.preprocess == 0 for job in Session(predictor).jobs_of_items(bare))


def test_a_preprocessed_case_needs_what_its_image_needs(predictor: Any, images: Path, installed: None) -> None:
    """Its properties have the shape in the order of the network's axes, and the spacing in the order of the file's."""
    image, properties = read(predictor, images, "brain_000")
    image, properties["spacing"] = image[:, ::3], [12.0, 4.0, 3.0]
    predictor.plans_manager.plans.update(transpose_forward=[2, 0, 1], transpose_backward=[1, 2, 0])
    session = Session(predictor, progress=False, say=lambda _: None)
    (job,) = session.jobs_of_arrays([image], None, [properties], None)
    (item,) = predictor.get_data_iterator_from_raw_npy_data([image], None, [properties], None)
    need = session.need_of_prepared("a", item["data_properties"])
    assert job.need is not None and need is not None
    assert need == replace(job.need, preprocess=0)


def test_bad_case(predictor: Any, images: Path, installed: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (images / "brain_000_0000.nii.gz").write_bytes(b"no image")
    with pytest.raises(PredictionError, match="brain_000"):
        predictor.predict_from_files(str(images), str(tmp_path / "ours"))
    fl.install(threads=2, on_bad_case="skip")
    assert predictor.predict_from_files(str(images), str(tmp_path / "ours")) == [None, None]
    assert (tmp_path / "ours" / "brain_001.nii.gz").is_file()
    assert "left out: [brain_000]" in caplog.text


def test_an_image_far_from_the_training_gets_a_warning(
    trained: Any, images: Path, installed: None, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = nnUNetPredictor(tile_step_size=1, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(trained()[1]), (0,))
    image, properties = read(predictor, images, "brain_000")
    predictor.predict_single_npy_array(image, properties)
    assert not caplog.records
    thick = {**properties, "spacing": [16.0, *properties["spacing"][1:]]}
    predictor.predict_single_npy_array(image[:, ::4], thick)
    (record,) = caplog.records
    assert "[image 0] a spacing of (16, " in record.getMessage()
    # A network from elsewhere knows no images.
    predictor.manual_initialization(
        predictor.network, predictor.plans_manager, predictor.configuration_manager, predictor.list_of_parameters,
        predictor.dataset_json, predictor.trainer_name, None,
    )  # fmt: skip
    predictor.predict_single_npy_array(image[:, ::4], thick)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image, properties: (image[0, 0], properties), r"an image \(C, X, Y, Z\), got an array of shape \(.*\); a 2D"),
        (lambda image, properties: (image[:, 0], properties), r"an image \(C, X, Y, Z\)"),
        (lambda image, properties: (image[:, :1], {"spacing": [1, 1]}), r"three spacings in mm .*, got spacing \[1, 1\]"),
        (lambda image, properties: (image, {}), "three spacings in mm .*, got no 'spacing'"),
        (lambda image, properties: (image, {"spacing": [0, 1, 1]}), "three spacings in mm"),
        (lambda image, properties: (image, {"spacing": "1 1 1"}), "three spacings in mm"),
        (lambda image, properties: (image, {"spacing": 4.0}), "three spacings in mm"),
        (lambda image, properties: (image[:, :0], properties), "an image with voxels"),
        (
            lambda image, properties: (np.concatenate([image, image]), properties),
            r"1 channel \(T1\), got an image of shape \(2,",
        ),
    ],
    ids=["2D", "3D", "two spacings", "no spacing", "spacing 0", "text", "a number", "no voxels", "two channels"],
)
def test_arrays_that_cannot_be_predicted(predictor: Any, images: Path, installed: None, change: Any, said: str) -> None:
    """Where nnU-Net fails, too; the message names the image and what it should be."""
    image, properties = change(*read(predictor, images, "brain_000"))
    with pytest.raises(PredictionError, match=rf"\[image 0\] expected {said}"):
        predictor.predict_single_npy_array(image, dict(properties))
    fl.uninstall()
    with pytest.raises(Exception):  # noqa: B017 - whatever it is
        SEQUENTIAL_ARRAY(predictor, image, dict(properties))


def test_arrays_that_look_odd_are_predicted(predictor: Any, images: Path, installed: None) -> None:
    image, properties = read(predictor, images, "brain_000")
    expected = predictor.predict_single_npy_array(image, dict(properties))
    odd = {**properties, "spacing": np.array([*properties["spacing"], 7.0])}  # nnU-Net looks at three of them
    assert np.array_equal(predictor.predict_single_npy_array(image.astype(np.float64), odd), expected)


def test_lists_of_other_lengths(predictor: Any, images: Path, installed: None) -> None:
    image, properties = read(predictor, images, "brain_000")
    predict = predictor.predict_from_list_of_npy_arrays
    with pytest.raises(ValueError, match=r"\[properties\] expected one for each image, 2, got 1"):
        predict([image, image], None, [properties], None)
    with pytest.raises(ValueError, match=r"\[targets\] expected one for each image, 2, got 1"):
        predict([image, image], None, [properties] * 2, ["one"])
    assert len(predict([image], None, [dict(properties)] * 2, None)) == 1, "nnU-Net leaves out what is more"


def test_bad_array_is_skipped(predictor: Any, images: Path, installed: None, caplog: pytest.LogCaptureFixture) -> None:
    image, properties = read(predictor, images, "brain_000")
    fl.install(threads=2, on_bad_case="skip")
    made = predictor.predict_from_list_of_npy_arrays([image[0], image], None, [dict(properties)] * 2, None)
    assert made[0] is None
    assert made[1] is not None
    assert "left out: [image 0] expected an image (C, X, Y, Z)" in caplog.text


def test_uninstall_puts_everything_back() -> None:
    def seen() -> list[Any]:
        names = (
            "preprocessing_iterator_fromfiles",
            "preprocessing_iterator_fromnpy",
            "create_lists_from_splitted_dataset_folder",
        )
        return [*(getattr(module, name) for name in names), *vars(nnUNetPredictor).values()]

    before = seen()
    fl.install()
    assert seen() != before
    fl.uninstall()
    assert seen() == before
