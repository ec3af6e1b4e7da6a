"""Native metrics, ensembles and components, beside nnU-Net's own functions on the same arrays: equal in every bit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import nilearn.datasets
import numpy as np
import pytest
from acvl_utils.morphology import morphology_helper
from nnunetv2.ensembling import ensemble
from nnunetv2.evaluation import evaluate_predictions
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from fastnnunet_loader.evaluation import natives
from fastnnunet_loader.prediction.originals.stand_ins import original_of


def original(function: Any) -> Any:
    return original_of(function)


class Reader:
    """A reader-writer of arrays that are in memory."""

    def __init__(self, **arrays: Any) -> None:
        self.arrays = arrays
        self.written: dict[str, Any] = {}

    def read_seg(self, file: str) -> tuple[Any, dict[str, Any]]:
        return self.arrays[file], {}

    def write_seg(self, segmentation: Any, file: str, properties: Any) -> None:
        self.written[file] = (segmentation, properties)


@pytest.fixture(scope="module")
def brain() -> Any:
    """Grey and white matter and background, (X, Y, Z)."""
    image = nilearn.datasets.load_mni152_template(resolution=4).get_fdata()
    return np.digitize(image, [0.3, 0.55, 0.75]).astype(np.float32)


def moved(labels: Any) -> Any:
    out = np.roll(labels, 2, axis=1)
    out[3:6, 4:9, 5:7] = 3
    return out


REGIONS: dict[str, Any] = {
    "labels": [1, 2, 3],
    "with the background": [0, 1],
    "regions": [(1, 2, 3), (2, 3), (3,)],
    "mixed, twice the same": [1, (2, 2), (1, 9)],
    "not there": [7, (8, 9)],
    "lists": None,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int16, np.int64])
@pytest.mark.parametrize("ignore", [None, 0, 2, 3, 12])
@pytest.mark.parametrize("regions", [name for name in REGIONS if REGIONS[name] is not None])
def test_metrics_are_nnunets(brain: Any, dtype: Any, ignore: Any, regions: str) -> None:
    reader = Reader(reference=brain[None].astype(dtype), prediction=moved(brain)[None].astype(np.float32))
    call = ("reference", "prediction", reader, REGIONS[regions], ignore)
    expected, got = original(evaluate_predictions.compute_metrics)(*call), natives.compute_metrics.__wrapped__
    native = _native(natives.compute_metrics)(*call)
    assert repr(native) == repr(expected)
    assert {key: list(value.items()) for key, value in native["metrics"].items()}.keys() == expected["metrics"].keys()
    assert got is original(evaluate_predictions.compute_metrics)


def test_metrics_of_values_that_are_no_labels(brain: Any) -> None:
    reference = brain[None].copy()
    reference[0, :3] = [[[np.nan]], [[1.5]], [[-1]]]
    reference[0, 3] = 3e9
    reader = Reader(reference=reference, prediction=moved(brain)[None])
    for regions in ([1, 2], [-1, (1, 2)]):
        call = ("reference", "prediction", reader, regions, None)
        assert repr(_native(natives.compute_metrics)(*call)) == repr(original(evaluate_predictions.compute_metrics)(*call))


@pytest.mark.parametrize("regions", [["1"], [1.0], [(1, 2.5)], [True], [2**40]])
def test_labels_that_are_no_small_integers_are_nnunets_own(brain: Any, regions: Any) -> None:
    reader = Reader(reference=brain[None], prediction=brain[None])
    assert _native(natives.compute_metrics)("reference", "prediction", reader, regions, None) is NotImplemented


def test_arrays_of_two_shapes_are_nnunets_own(brain: Any) -> None:
    reader = Reader(reference=brain[None], prediction=brain[None, :5])
    assert _native(natives.compute_metrics)("reference", "prediction", reader, [1], None) is NotImplemented


def masks(brain: Any) -> dict[str, Any]:
    noise = np.random.default_rng(0).random(brain.shape)
    two = np.zeros((9, 9, 9), bool)
    two[1:3, 1:3, 1:3] = two[6:8, 6:8, 6:8] = two[4, 4, 4] = True
    return {
        "grey matter": brain == 1,
        "white matter in Fortran's order": np.asfortranarray(brain == 3),
        "every other slice": (brain > 1)[::2],
        "thousands": noise < 0.02,
        "touching at corners": noise < 0.3,
        "two largest": two,
        "nothing": np.zeros((4, 5, 6), bool),
        "everything": np.ones((4, 5, 6), bool),
        "a plane": (brain == 2)[:, :, brain.shape[2] // 2],
        "a plane of noise": noise[5] < 0.2,
        "one slice": (brain == 1)[None, 10],
    }


@pytest.mark.parametrize("name", list(masks(np.zeros((30, 30, 30)))))
def test_the_largest_components_are_nnunets(brain: Any, name: str) -> None:
    mask = masks(brain)[name]
    before = mask.copy()
    expected = original(morphology_helper.remove_all_but_largest_component)(mask)
    got = _native(natives.remove_all_but_largest_component)(mask)
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)
    assert np.array_equal(mask, before)


def test_components_of_other_arrays_are_nnunets_own() -> None:
    function = _native(natives.remove_all_but_largest_component)
    assert function(np.ones((3, 3, 3), np.uint8)) is NotImplemented
    assert function(np.ones((3, 3, 3), bool), 1) is NotImplemented
    assert function(np.ones((2, 3, 3, 3), bool)) is NotImplemented


CLASSES = LabelManager({"background": 0, "a": 1, "b": 2, "c": 3}, None)
REGION = LabelManager({"background": 0, "a": [1, 2, 3], "b": [2, 3], "c": 3}, (1, 300, 2))


def saved(folder: Path, number: int, dtype: Any, channels: int, odd: bool = False) -> str:
    """Probabilities with ties, and with NaN and infinity where `odd`."""
    values = np.round(np.random.default_rng(number).random((channels, 7, 9, 11)), 1).astype(dtype)
    if odd:
        values[1, 0], values[2, 1], values[0, 2], values[:, 3] = np.nan, np.inf, -np.inf, -np.inf
    file = folder / f"case_{number}.npz"
    np.savez_compressed(file, probabilities=values)
    (folder / f"case_{number}.pkl").write_bytes(pickle.dumps({"spacing": [1, 2, number]}))
    return str(file)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("labels", [CLASSES, REGION])
@pytest.mark.parametrize("dtypes", ["4", "44", "24", "42", "222", "444"])
def test_ensembles_are_nnunets(tmp_path: Path, dtypes: str, labels: Any, odd: bool) -> None:
    files = [saved(tmp_path, n, f"f{kind}", labels.num_segmentation_heads, odd) for n, kind in enumerate(dtypes)]
    theirs, ours = Reader(), Reader()
    original(ensemble.merge_files)(files, "case", ".nii.gz", theirs, labels)
    assert _native(natives.merge_files)(files, "case", ".nii.gz", ours, labels) is None
    (expected, of_theirs), (got, of_ours) = theirs.written["case.nii.gz"], ours.written["case.nii.gz"]
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)
    assert of_theirs == of_ours


def test_ensembles_that_are_nnunets_own(tmp_path: Path) -> None:
    merge = _native(natives.merge_files)
    good = saved(tmp_path, 0, np.float32, 4)
    for number, (dtype, channels) in enumerate([(np.float64, 4), (np.float32, 5), (np.uint8, 4)], start=1):
        assert merge([saved(tmp_path, number, dtype, channels), good], "case", "", Reader(), CLASSES) is NotImplemented
    assert merge([good, str(tmp_path / "missing.npz")], "case", "", Reader(), CLASSES) is NotImplemented
    assert merge([good], "case", "", Reader(), CLASSES, True) is NotImplemented
    assert merge([good], "case", "", Reader(), REGION) is NotImplemented


def test_a_damaged_file_fails_as_nnunets(tmp_path: Path) -> None:
    file = Path(saved(tmp_path, 0, np.float32, 4))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    failed = []
    for merge in (original(ensemble.merge_files), _native(natives.merge_files)):
        reader = Reader()
        with pytest.raises(Exception) as caught:
            merge([str(file)], "case", "", reader, CLASSES)
        failed.append(caught.type)
        assert reader.written == {}
    assert failed[0] is failed[1]


def _native(stand_in: Any) -> Any:
    """The native function itself, which says NotImplemented."""
    (cell,) = [c for c in stand_in.__closure__ if callable(c.cell_contents) and c.cell_contents is not stand_in]
    return cell.cell_contents
