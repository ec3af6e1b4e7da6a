"""What a user or another program has changed in nnU-Net's prediction is called, or named in one sentence."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.process
from collections.abc import Iterator
from multiprocessing import Pool
from multiprocessing import TimeoutError as TimedOut
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference import data_iterators, export_prediction
from nnunetv2.inference import predict_from_raw_data as module
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors import default_preprocessor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling import default_resampling
from prediction_runs import labels
from raw_images import copy_images, images_of

import fastnnunet_loader as fl
from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.originals.followed import kept_processes, own_methods
from fastnnunet_loader.prediction.replacements import speaking

CONVERT = export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape
SEQUENTIAL = nnUNetPredictor.predict_from_files_sequential


@pytest.fixture(autouse=True)
def nnunets_names() -> Iterator[None]:
    """What a test replaces after install() would be put back as it was then: as this package's."""
    modules = (module, export_prediction, default_resampling, data_iterators, default_preprocessor)
    before = [dict(vars(each)) for each in modules]
    yield
    for each, names in zip(modules, before, strict=True):
        vars(each).update(names)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)


@pytest.fixture
def installed(no_process: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """install() after what a test replaces, and nothing was said before."""
    caplog.set_level(logging.INFO, "fastnnunet_loader")
    monkeypatch.setattr(speaking, "_said", set())
    fl.install(threads=1)
    yield
    fl.uninstall()


@pytest.fixture
def images(nnunet_dataset: Any, tmp_path: Path) -> Path:
    return copy_images(nnunet_dataset(), tmp_path / "images", 1)


def initialised(model: Path, kind: type = nnUNetPredictor) -> Any:
    predictor = kind(tile_step_size=1, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    return predictor


def predicted(predictor: Any, images: Path) -> Any:
    (found,) = predictor.predict_from_files([images_of(images, "brain_000")], None)
    return found


@pytest.mark.parametrize("order", ["replaced before", "replaced after"])
@pytest.mark.parametrize("way", ["files", "array", "returned"])
def test_own_export_is_called(
    trained: Any, images: Path, tmp_path: Path, no_process: None, monkeypatch: pytest.MonkeyPatch, way: str, order: str
) -> None:
    model, calls = trained()[1], []

    def export(logits: Any, properties: Any, configuration: Any, plans: Any, dataset: Any, target: str, *rest: Any) -> None:
        calls.append((tuple(logits.shape[1:]), rest))
        Path(target + ".mine").write_bytes(b"mine")

    def convert(logits: Any, *rest: Any, **_: Any) -> Any:
        calls.append(rest)
        return "mine"

    def replace() -> None:
        monkeypatch.setattr(module, "export_prediction_from_logits", export)
        monkeypatch.setattr(module, "convert_predicted_logits_to_segmentation_with_correct_shape", convert)

    if order == "replaced before":
        replace()
    fl.install(threads=1)
    if order == "replaced after":
        replace()
    try:
        predictor = initialised(model)
        image = predictor.plans_manager.image_reader_writer_class().read_images(images_of(images, "brain_000"))
        if way == "files":
            predictor.predict_from_files([images_of(images, "brain_000")], [str(tmp_path / "one")])
            assert (tmp_path / "one.mine").read_bytes() == b"mine"
            assert not list(tmp_path.glob("one.nii.gz"))
        elif way == "array":
            assert predictor.predict_single_npy_array(*image) == "mine"
        else:
            assert predicted(predictor, images) == "mine"
    finally:
        fl.uninstall()
    assert len(calls) == 1
    assert module.export_prediction_from_logits is export, "uninstall() leaves what others have put there"


def test_own_resampling_is_called(trained: Any, images: Path, installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, original = [], default_resampling.resample_data_or_seg

    def resample(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0].dtype)
        return original(*args, **kwargs)

    expected = predicted(initialised(trained()[1]), images)
    monkeypatch.setattr(default_resampling, "resample_data_or_seg", resample)
    found = predicted(initialised(trained()[1]), images)
    assert {np.dtype(np.float32), np.dtype(np.float16)} <= set(calls), "of the image, and of the logits"
    assert np.array_equal(found, expected)


def test_own_gaussian_is_called(trained: Any, images: Path, installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, original = [], module.compute_gaussian

    def gaussian(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, "compute_gaussian", gaussian)
    predicted(initialised(trained()[1]), images)
    assert calls


class Doubling(nnUNetPredictor):
    """Every window twice."""

    slicers = 0

    def _internal_get_sliding_window_slicers(self, image_size: Any) -> Any:
        type(self).slicers += 1
        found = super()._internal_get_sliding_window_slicers(image_size)
        return [*found, *found]


class Logits(nnUNetPredictor):
    """Everything is of the last class."""

    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros((3, *data.shape[1:]), dtype=torch.half)
        logits[2] = 1
        return logits


def test_own_windows_are_taken(
    trained: Any, images: Path, installed: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (expected,) = SEQUENTIAL(initialised(trained()[1], Doubling), [images_of(images, "brain_000")], None)
    monkeypatch.setattr(Doubling, "slicers", 0)
    assert np.array_equal(predicted(initialised(trained()[1], Doubling), images), expected)
    assert Doubling.slicers == 1
    assert "Doubling._internal_get_sliding_window_slicers" in caplog.text
    found = predicted(initialised(trained()[1], Logits), images)
    assert set(np.unique(found)) <= {0, 2}
    assert np.count_nonzero(found)


class Iterating(nnUNetPredictor):
    """Methods around the network of one's own."""

    def predict_from_files(self, *args: Any, **kwargs: Any) -> Any:
        return self.predict_from_files_sequential(*args, **kwargs)

    def predict_from_data_iterator(self, data_iterator: Any, *args: Any, **kwargs: Any) -> Any:
        return [("mine", found) for found in super().predict_from_data_iterator(data_iterator, *args, **kwargs)]


def test_own_steps_are_called_and_named(trained: Any, images: Path, installed: None, caplog: pytest.LogCaptureFixture) -> None:
    expected = predicted(initialised(trained()[1]), images)
    predictor = initialised(trained()[1], Iterating)
    assert "Iterating predicts with predict_from_files, predict_from_data_iterator of its own" in caplog.text
    assert np.array_equal(predicted(predictor, images), expected), "one calls the other, and neither itself"
    ((mine, found),) = predictor.predict_from_list_of_npy_arrays(
        *predictor.plans_manager.image_reader_writer_class().read_images(images_of(images, "brain_000"))[:1],
        None,
        predictor.plans_manager.image_reader_writer_class().read_images(images_of(images, "brain_000"))[1],
        None,
    )
    assert mine == "mine"
    assert np.array_equal(found, expected)


class Pooling(nnUNetPredictor):
    """Worker processes of one's own."""

    def predict_from_data_iterator(self, data_iterator: Any, *args: Any, **kwargs: Any) -> Any:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.map(abs, [-1])


def test_kept_worker_processes_are_named_before_the_work(installed: None, caplog: pytest.LogCaptureFixture) -> None:
    Pooling(device=torch.device("cpu"))
    assert "Pooling keeps the worker processes that its own predict_from_data_iterator start" in caplog.text
    with pytest.raises(AssertionError, match="a process was started"):
        Pooling(device=torch.device("cpu")).predict_from_data_iterator([])


def with_another_argument(function: FunctionType) -> FunctionType:
    """A program's copy of nnU-Net's method in a module of its own, as one that takes a further argument has it."""
    space = {**function.__globals__, "__name__": "a_program", "multiprocessing": Through(module)}
    copy = FunctionType(function.__code__, space, function.__name__, function.__defaults__, function.__closure__)

    def method(self: Any, *args: Any, another: bool = False, **kwargs: Any) -> Any:
        return copy(self, *args, **kwargs)

    return method


class Through:
    """`prd.multiprocessing`, as such programs write it."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of.multiprocessing, name)


@pytest.mark.parametrize("order", ["replaced before", "replaced after"])
def test_methods_that_a_program_has_replaced_run_on_threads(
    trained: Any, images: Path, no_process: None, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    model = trained()[1]
    fl.install(threads=1)
    expected = predicted(initialised(model), images)
    fl.uninstall()
    method = with_another_argument(nnUNetPredictor.predict_from_data_iterator)
    if order == "replaced before":
        monkeypatch.setattr(nnUNetPredictor, "predict_from_data_iterator", method)
    fl.install(threads=1)
    try:
        if order == "replaced after":
            nnUNetPredictor.predict_from_data_iterator = method
        found = predicted(initialised(model), images)
        assert nnUNetPredictor.predict_from_data_iterator is method
    finally:
        fl.uninstall()
        if order == "replaced after":
            nnUNetPredictor.predict_from_data_iterator = PREDICT
    assert np.array_equal(found, expected)


PREDICT = nnUNetPredictor.predict_from_data_iterator


def test_own_preprocessing_for_the_queue_runs_on_threads(
    trained: Any, images: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, called = data_iterators.preprocess_fromfiles_save_to_queue, []

    def preprocess(*args: Any) -> None:
        called.append(args[0])
        original(*args)

    expected = predicted(initialised(trained()[1]), images)
    monkeypatch.setattr(data_iterators, "preprocess_fromfiles_save_to_queue", preprocess)
    assert np.array_equal(predicted(initialised(trained()[1]), images), expected)
    assert called


class Cleaning(DefaultPreprocessor):
    """Reads files in a way of its own, and takes NaN for nothing."""

    def run_case(self, files: Any, seg: Any, plans: Any, configuration: Any, dataset: Any) -> Any:
        reader = plans.image_reader_writer_class()
        data, properties = reader.read_images([file.removesuffix(".link") for file in files])
        data[0, 0, 0, 0] = np.nan
        return self.run_case_npy(np.nan_to_num(data), None, properties, plans, configuration, dataset)


class Halving(DefaultPreprocessor):
    def _normalize(self, data: Any, *rest: Any) -> Any:
        return super()._normalize(data, *rest) / 2


class Emptying(DefaultPreprocessor):
    def run_case_npy(self, data: Any, *rest: Any) -> Any:
        return super().run_case_npy(np.nan_to_num(data), *rest)


@pytest.mark.parametrize(
    ("kind", "way"),
    [(kind, way) for kind in (Cleaning, Halving, Emptying) for way in ("files", "sequential")]
    + [(Halving, "arrays"), (Emptying, "arrays")],
)
def test_own_preprocessor_is_called_as_nnunet_calls_it(
    trained: Any, images: Path, installed: None, monkeypatch: pytest.MonkeyPatch, kind: type, way: str
) -> None:
    predictor = initialised(trained()[1])
    monkeypatch.setitem(predictor.configuration_manager.configuration, "preprocessor_name", kind.__name__)
    monkeypatch.setattr(default_preprocessor, kind.__name__, kind, raising=False)
    type(predictor.configuration_manager).preprocessor_class.fget.cache_clear()
    files = [file + (".link" if kind is Cleaning else "") for file in images_of(images, "brain_000")]
    made = kind(verbose=False)
    image, properties = predictor.plans_manager.image_reader_writer_class().read_images(images_of(images, "brain_000"))
    if kind is Cleaning or way == "arrays":
        image[0, 0, 0, 0] = 0  # as below, or NaN there, which the preprocessor replaces by 0
    plan = (predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json)
    data, _, properties = made.run_case_npy(image, None, dict(properties), *plan)
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    expected = CONVERT(logits, predictor.plans_manager, predictor.configuration_manager, predictor.label_manager, properties)
    if way == "arrays":
        if kind is not Halving:
            image[0, 0, 0, 0] = np.nan
        (found,) = predictor.predict_from_list_of_npy_arrays([image], None, [{"spacing": properties["spacing"]}], None)
    else:
        predict = predictor.predict_from_files if way == "files" else predictor.predict_from_files_sequential
        (found,) = predict([files], None)
    type(predictor.configuration_manager).preprocessor_class.fget.cache_clear()
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("shape", "properties", "said"),
    [
        ((1, 64, 64), {"spacing": [1.0, 1.0]}, r"expected an image \(C, X, Y, Z\), got an array of shape \(1, 64, 64\)"),
        ((1, 1, 64, 64), {"spacing": [1.0, 1.0]}, r"expected three spacings .* got spacing \[1.0, 1.0\]"),
        ((1, 8, 64, 64), {}, "got no 'spacing' in the properties"),
        ((1, 8, 64, 64), {"spacing": [1.0, 0.0, 1.0]}, "expected three spacings"),
    ],
)
@pytest.mark.parametrize("way", ["single", "list"])
def test_wrong_arrays_are_named(trained: Any, installed: None, shape: Any, properties: Any, said: str, way: str) -> None:
    predictor, image = initialised(trained()[1]), np.ones(shape, np.float32)
    with pytest.raises(PredictionError, match=said):
        if way == "single":
            predictor.predict_single_npy_array(image, properties)
        else:
            predictor.predict_from_list_of_npy_arrays([image], None, [properties], None)


def test_files_without_a_channel_number_keep_their_name(trained: Any, images: Path, tmp_path: Path, installed: None) -> None:
    (file,) = images_of(images, "brain_000")
    plain = images / "somebody.nii.gz"
    plain.write_bytes(Path(file).read_bytes()[:100])
    with pytest.raises(PredictionError, match=r"\[somebody\]"):
        initialised(trained()[1]).predict_from_files([[str(plain)]], [str(tmp_path / "out")])
    Path(file).rename(plain)
    initialised(trained()[1]).predict_from_files([[str(plain)]], [str(tmp_path / "out")])
    assert np.count_nonzero(labels(tmp_path / "out.nii.gz"))


class Starting(nnUNetPredictor):
    """Methods of a program's own, of which two start processes."""

    def predict_from_files(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().predict_from_files(*args, **kwargs)
        except TimedOut:
            return None

    def predict_from_data_iterator(self, *args: Any, **kwargs: Any) -> Any:
        def in_a_pool(values: Any) -> Any:
            with Pool(1) as pool:
                return pool.map(len, values)

        return in_a_pool(super().predict_from_data_iterator(*args, **kwargs))

    def predict_single_npy_array(self, *args: Any, **kwargs: Any) -> Any:
        return [multiprocessing.Process(target=value) for value in super().predict_single_npy_array(*args, **kwargs)]

    def predict_from_files_sequential(self, *args: Any, **kwargs: Any) -> Any:
        return super().predict_from_files_sequential(*args, **kwargs)


def test_own_methods_that_start_processes_are_told_from_others() -> None:
    """Also where a function inside does it; to wait for a time starts none."""
    predictor = Starting.__new__(Starting)
    assert kept_processes(predictor) == ["predict_single_npy_array", "predict_from_data_iterator"]
    assert sorted(own_methods(predictor)) == sorted(name for name in vars(Starting) if name.startswith("predict"))
    assert kept_processes(nnUNetPredictor.__new__(nnUNetPredictor)) == []
