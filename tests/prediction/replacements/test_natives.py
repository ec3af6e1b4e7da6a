"""nnU-Net's functions that programs call directly, after install(): native, with nnU-Net's results."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import Case, assert_same_files
from nnunetv2.inference import export_prediction, predict_from_raw_data
from nnunetv2.preprocessing.cropping import cropping
from nnunetv2.preprocessing.preprocessors import default_preprocessor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling import default_resampling
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from raw_images import copy_images, description, folder_of_images, images_of

import fastnnunet_loader as fl
from fastnnunet_loader.prediction.originals.stand_ins import STAND_INS
from fastnnunet_loader.prediction.replacements import natives

RNG = np.random.default_rng(0)


@pytest.fixture
def installed() -> Iterator[None]:
    fl.install(threads=2)
    yield
    fl.uninstall()


@pytest.fixture
def declined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of nnU-Net's own functions that were called because native code had not taken the arguments."""
    called: list[str] = []
    for stand_in in STAND_INS:

        def original(*args: Any, _name: str = stand_in.name, _own: Any = stand_in.original, **kwargs: Any) -> Any:
            called.append(_name)
            return _own(*args, **kwargs)

        monkeypatch.setattr(stand_in, "original", original)
    return called


def image(dtype: Any, channels: int = 2) -> np.ndarray:
    smooth = np.cumsum(RNG.standard_normal((channels, 12, 15, 9)), axis=2)
    return (10 * smooth).astype(dtype)


def labels(dtype: Any) -> np.ndarray:
    return np.repeat(RNG.integers(0, 4, (1, 4, 5, 9)), 3, axis=2).repeat(3, axis=1).astype(dtype)


SIZES = (17, 11, 14)


@pytest.mark.parametrize("axis", [None, 0, np.int64(2)])
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_images_are_resampled_natively(installed: None, declined: list[str], dtype: Any, order: int, axis: Any) -> None:
    data, separate = image(dtype), axis is not None
    arguments = (SIZES, False, axis, order, separate, 0)
    ours, theirs = (
        default_resampling.resample_data_or_seg(data, *arguments),
        natives_original("resample_data_or_seg")(data, *arguments),
    )
    assert "resample_data_or_seg" not in declined
    assert (ours.dtype, ours.shape, type(ours)) == (theirs.dtype, theirs.shape, type(theirs))
    # float16 is rounded at the end, so that a last bit may be another.
    tolerance = 1e-5 if dtype is np.float32 else 2**-10
    assert np.abs(ours.astype(float) - theirs).max() <= tolerance * np.ptp(data.astype(float))


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("dtype", natives.LABELS)
def test_labels_are_resampled_natively(installed: None, declined: list[str], dtype: Any, order: int, axis: Any) -> None:
    data = labels(dtype)
    arguments = (SIZES, True, axis, order, axis is not None, 0)
    ours, theirs = (
        default_resampling.resample_data_or_seg(data, *arguments),
        natives_original("resample_data_or_seg")(data, *arguments),
    )
    assert "resample_data_or_seg" not in declined
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)


def natives_original(name: str) -> Any:
    """nnU-Net's own function."""
    return getattr(natives, name).__wrapped__


def unusual() -> dict[str, tuple[Any, dict[str, Any]]]:
    nan, huge = image(np.float32), image(np.float32)
    nan[0, 3, 4, 5] = np.nan
    huge[0, 3, 4, 5] = 3e38
    wrong = labels(np.float32)
    wrong[0, 1, 2, 3] = np.nan
    return {
        "float64": (image(np.float64), {}),
        "int16 image": (image(np.int16), {}),
        "bool": (labels(np.uint8) > 1, {"is_seg": True, "order": 0}),
        "big-endian": (image(">f4"), {}),
        "NaN": (nan, {}),
        "huge": (huge, {}),
        "NaN in labels": (wrong, {"is_seg": True, "order": 1}),
        "order 2": (image(np.float32), {"order": 2}),
        "labels of order 3": (labels(np.int8), {"is_seg": True, "order": 3}),
        "labels, thick slices of order 1": (
            labels(np.int8), {"is_seg": True, "order": 1, "axis": 0, "do_separate_z": True, "order_z": 1}),
        "another dtype out": (image(np.float32), {"dtype_out": np.float64}),
        "masked array": (np.ma.masked_array(image(np.float32)), {}),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(unusual()))
def test_what_native_code_does_not_know_is_nnunets_own(installed: None, declined: list[str], name: str) -> None:
    data, arguments = unusual()[name]
    theirs = natives_original("resample_data_or_seg")(data, SIZES, **arguments)
    ours = default_resampling.resample_data_or_seg(data, SIZES, **arguments)
    assert declined == ["resample_data_or_seg"]
    assert (ours.dtype, type(ours)) == (theirs.dtype, type(theirs))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("data", "sizes", "arguments"),
    [
        (np.zeros((1, 4, 5), np.float32), (6, 7), {}),
        (np.zeros((1, 4, 5, 6), np.float32), (6, 7, 8), {"do_separate_z": True}),
        (np.zeros((1, 4, 5, 6), np.float32), (6.5, 7, 8), {}),
        ([[1.0]], (6, 7, 8), {}),
    ],
)
def test_wrong_arguments_raise_what_nnunet_raises(installed: None, data: Any, sizes: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(Exception) as theirs:
        natives_original("resample_data_or_seg")(data, sizes, **arguments)
    with pytest.raises(type(theirs.value), match=f"^{type(theirs.value)(*theirs.value.args)}".replace("(", r"\(")[:20]):
        default_resampling.resample_data_or_seg(data, sizes, **arguments)


def test_nothing_to_resample_gives_the_very_array(installed: None) -> None:
    data = image(np.float32)
    assert default_resampling.resample_data_or_seg(data, data.shape[1:]) is data
    tensor = torch.from_numpy(data)
    resized = default_resampling.resample_data_or_seg_to_shape(tensor, SIZES, (1, 1, 1), (1, 1, 1))
    assert isinstance(resized, np.ndarray)
    spaced = default_resampling.resample_data_or_seg_to_spacing(data, (1, 1, 1), (2, 2, 2))
    assert spaced.shape == (2, 6, 8, 4)


@pytest.mark.parametrize("with_labels", [False, True])
@pytest.mark.parametrize("shape", [(9, 10, 11), (1, 10, 11), (9, 1, 1)])
def test_crop_is_nnunets(installed: None, declined: list[str], shape: tuple[int, ...], with_labels: bool) -> None:
    for density in (0.0, 0.5, 0.75, 1.0):  # at the third most holes are closed
        data = (RNG.random((2, *shape)) < density / 2).astype(np.float32)
        seg = RNG.integers(0, 2, (1, *shape)).astype(np.int16) if with_labels else None
        theirs = natives_original("crop_to_nonzero")(data, None if seg is None else seg.copy())
        ours = default_preprocessor.crop_to_nonzero(data, None if seg is None else seg.copy())
        assert ours[2] == theirs[2]
        for mine, other in zip(ours[:2], theirs[:2], strict=True):
            assert mine.dtype == other.dtype
            assert np.array_equal(mine, other)
    assert not declined


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("variant", ["default", "regions", "anisotropic"])
def test_logits_become_nnunets_labels(
    nnunet_dataset: Any, tmp_path: Path, installed: None, declined: list[str], variant: str, dtype: Any, tensor: bool
) -> None:
    case = Case(nnunet_dataset(variant), tmp_path)
    logits: Any = case.logits.numpy().astype(dtype)
    logits = torch.from_numpy(logits) if tensor else logits
    manager = case.plans.get_label_manager(case.about)
    name = "convert_predicted_logits_to_segmentation_with_correct_shape"
    arguments = (logits, case.plans, case.configuration, manager, case.properties)
    for probabilities in (False, True):
        declined.clear()
        ours = getattr(predict_from_raw_data, name)(*arguments, probabilities, num_threads_torch=1)
        assert not declined
        theirs = natives_original(name)(*arguments, probabilities, num_threads_torch=1)
        (mine, *own), (other, *others) = (found if probabilities else (found,) for found in (ours, theirs))
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        assert np.array_equal(mine, other)
        for a, b in zip(own, others, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(a, b, atol=2e-3)


def test_files_are_written_as_nnunets(nnunet_dataset: Any, tmp_path: Path, installed: None, declined: list[str]) -> None:
    case = Case(nnunet_dataset("default"), tmp_path)
    for side, export in (
        ("ours", nnUNetTrainer.export_prediction_from_logits),
        ("theirs", natives_original("export_prediction_from_logits")),
    ):
        (tmp_path / side).mkdir()
        arguments = (case.logits, dict(case.properties), case.configuration, case.plans)
        export(*arguments, case.about, str(tmp_path / side / "brain_000"), True, num_threads_torch=1)
        declined += [side]
    assert declined[0] == "ours"
    assert_same_files(tmp_path / "theirs", tmp_path / "ours")


@pytest.mark.parametrize("target", ["brain_000", "deeper/brain_000", "brain_000/", "a.b"])
def test_files_are_where_nnunet_writes_them(
    nnunet_dataset: Any, tmp_path: Path, installed: None, declined: list[str], target: str
) -> None:
    """A target that ends like a folder is one, and a folder that does not exist is an error."""
    case = Case(nnunet_dataset("default"), tmp_path)
    found: list[Any] = []
    for side, export in (
        ("ours", export_prediction.export_prediction_from_logits),
        ("theirs", natives_original("export_prediction_from_logits")),
    ):
        (tmp_path / side / "brain_000").mkdir(parents=True)
        arguments = (case.logits, dict(case.properties), case.configuration, case.plans, case.about)
        try:
            export(*arguments, f"{tmp_path / side}/{target}", num_threads_torch=1)
            error = None
        except Exception as raised:
            error = type(raised).__name__
        found.append((error, sorted(str(file.relative_to(tmp_path / side)) for file in (tmp_path / side).rglob("*"))))
    assert found[0] == found[1]


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_numbers_of_threads_that_torch_refuses_are_refused(
    nnunet_dataset: Any, tmp_path: Path, installed: None, threads: Any
) -> None:
    case = Case(nnunet_dataset("default"), tmp_path)
    name = "convert_predicted_logits_to_segmentation_with_correct_shape"
    arguments = (case.logits, case.plans, case.configuration, case.plans.get_label_manager(case.about), case.properties)
    with pytest.raises((RuntimeError, TypeError)) as theirs:
        natives_original(name)(*arguments, num_threads_torch=threads)
    with pytest.raises(theirs.type):
        getattr(export_prediction, name)(*arguments, num_threads_torch=threads)


@pytest.mark.parametrize("with_labels", [False, True])
@pytest.mark.parametrize("variant", ["default", "anisotropic", "two_channels"])
def test_cases_are_preprocessed_as_by_nnunet(nnunet_dataset: Any, tmp_path: Path, variant: str, with_labels: bool) -> None:
    dataset = nnunet_dataset(variant)
    manager = PlansManager(dataset.plans)
    configuration = manager.get_configuration("3d_fullres")
    files = images_of(copy_images(dataset, tmp_path, 1) if not with_labels else folder_of_images(dataset), "brain_000")
    label = str(Path(dataset.raw) / dataset.name / "labelsTr" / "brain_000.nii.gz") if with_labels else None

    def run() -> Any:
        return DefaultPreprocessor(verbose=False).run_case(files, label, manager, configuration, description(dataset))

    theirs = run()
    fl.install(threads=2)
    try:
        ours = run()
    finally:
        fl.uninstall()
    assert np.abs(ours[0] - theirs[0]).max() <= 1e-4 * np.ptp(theirs[0])
    for index in (0, 1):
        assert (ours[index].dtype, ours[index].shape) == (theirs[index].dtype, theirs[index].shape)
    assert np.array_equal(ours[1], theirs[1])
    assert ours[2].keys() == theirs[2].keys()
    for found, expected in zip(
        ours[2].get("class_locations", {}).values(), theirs[2].get("class_locations", {}).values(), strict=True
    ):
        assert np.array_equal(found, expected)


def test_every_name_is_replaced_and_put_back() -> None:
    places = [
        (export_prediction, "export_prediction_from_logits"),
        (predict_from_raw_data, "export_prediction_from_logits"),
        (nnUNetTrainer, "export_prediction_from_logits"),
        (nnUNetTrainer, "resample_and_save"),
        (cropping, "crop_to_nonzero"),
        (default_preprocessor, "crop_to_nonzero"),
        (default_resampling, "resample_data_or_seg"),
        (sys.modules[__name__], "IMPORTED_BEFORE"),
    ]
    before = [getattr(*place) for place in places]
    fl.install()
    try:
        during = [getattr(*place) for place in places]
        kept = [place for place, now, then in zip(places, during, before, strict=True) if now is then]
        assert kept == []
        assert [inspect.signature(f) for f in during] == [inspect.signature(f) for f in before]
        assert all(pickle.loads(pickle.dumps(f)) is f for f in during)
    finally:
        fl.uninstall()
    assert [getattr(*place) for place in places] == before


IMPORTED_BEFORE = export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape


def test_what_was_kept_does_nnunets_work_after_uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    native: list[Any] = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        native.append(args)
        return fl.resample(*args, **kwargs)

    monkeypatch.setattr(natives, "resample", counting)
    fl.install()
    kept = default_resampling.resample_data_or_seg
    kept(image(np.float32), SIZES)
    assert len(native) == 1
    fl.uninstall()
    kept(image(np.float32), SIZES)
    assert len(native) == 1
    fl.install()
    try:
        assert default_resampling.resample_data_or_seg is kept
        kept(image(np.float32), SIZES)
    finally:
        fl.uninstall()
    assert len(native) == 2


MEASURED = """
import resource, sys, time
from benchmarks.prediction import exporter, logits
run = exporter(sys.argv[1], 5, direct=True)
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
run()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, time.process_time() - start)
"""


@pytest.mark.slow
def test_memory_and_time_of_a_direct_call() -> None:
    figures = {}
    for side in ("nnunet", "fastnnunet"):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, side],
            capture_output=True,
            encoding="utf-8",
            check=True,
            cwd=Path(__file__).parents[3],
        )
        figures[side] = [float(word) for word in done.stdout.split()[-2:]]
    assert figures["fastnnunet"][0] <= 300
    assert figures["nnunet"][1] >= 25 * figures["fastnnunet"][1]


@pytest.mark.parametrize(("asked", "threads"), [(None, 3), (1, 1), (3, 3), (9, 3)])
def test_a_direct_call_takes_as_many_threads_as_it_may(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: None, asked: int | None, threads: int
) -> None:
    """Those of install(), and fewer where the caller asks torch for fewer."""
    fl.install(threads=3)
    taken: list[tuple[str, Any]] = []

    class Enough(Exception):
        pass

    def note(name: str, given: Any) -> None:
        taken.append((name, given))
        raise Enough

    from fastnnunet_loader.prediction.export import export

    monkeypatch.setattr(natives, "Conversion", lambda plans, configuration, labels, threads: note("conversion", threads))
    monkeypatch.setattr(natives, "resample", lambda *_, **named: note("resample", named["threads"]))
    monkeypatch.setattr(export, "Exporting", lambda *given: note("export", given[3]))
    logits = torch.zeros((2, 4, 4, 4))
    convert = export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape
    with pytest.raises(Enough):
        convert(logits, None, None, None, {}, num_threads_torch=asked)
    with pytest.raises(Enough):
        export_prediction.export_prediction_from_logits(
            logits, {}, None, None, {}, str(tmp_path / "x"), num_threads_torch=asked
        )
    with pytest.raises(Enough):
        default_resampling.resample_data_or_seg(np.ones((1, 4, 4, 4), np.float32), (5, 5, 5))
    assert taken == [("conversion", threads), ("export", threads), ("resample", 3)]
