"""fl.logits_to_segmentation against nnU-Net's own export, on logits of a real head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from predictions import class_labels, logits, nnunet_export

import fastnnunet_loader as fl

SHAPES = [
    ((31, 37, 29), (52, 63, 51)),  # up
    ((31, 37, 29), (17, 20, 33)),  # down and up
    ((31, 37, 29), (31, 37, 29)),  # as it is
    ((31, 37, 29), (31, 50, 29)),
    ((1, 45, 54), (1, 70, 81)),  # one slice
    ((12, 30, 1), (25, 30, 3)),
    ((2, 3, 2), (1, 1, 1)),
    ((5, 6, 260), (7, 9, 530)),  # rows longer than what is worked on at once
]
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "inner": 3}


def assert_same(ours, theirs):
    """Equal but for ties: fewer than one voxel in ten thousand."""
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert np.count_nonzero(ours != theirs) <= 1e-4 * ours.size


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("shape", "new_shape"), SHAPES)
def test_classes(shape, new_shape, dtype):
    for channels in (1, 2, 7):
        predicted = logits(channels, shape, dtype=dtype)
        assert_same(fl.logits_to_segmentation(predicted, new_shape), nnunet_export(predicted, new_shape))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [9, 5, 13])
def test_thick_slices(axis, size, dtype):
    shape, new_shape = [25, 28, 23], [36, 20, 41]
    shape[axis], new_shape[axis] = 9, size
    predicted = logits(4, tuple(shape), dtype=dtype)
    ours = fl.logits_to_segmentation(predicted, new_shape, axis=axis)
    assert_same(ours, nnunet_export(predicted, new_shape, axis=axis))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("axis", [None, 0])
def test_regions(axis, dtype):
    predicted = logits(3, (25, 28, 23), dtype=dtype)
    for order in [(1, 2, 3), (3, 1, 2), (2, 2, 0)]:
        ours = fl.logits_to_segmentation(predicted, (36, 20, 41), axis=axis, regions_class_order=order)
        theirs = nnunet_export(predicted, (36, 20, 41), axis=axis, labels=REGIONS, regions_class_order=order)
        assert_same(ours, theirs)


def test_regions_on_the_edge():
    """Where sigmoid rounds to a half: off."""
    edge = np.array([0.0, -0.0, 8.9e-8, 8.95e-8, 1e-7, -1e-7, 1.0], np.float32)
    for values in (edge, np.array([0.0, 5.9e-8, 1.2e-7], np.float16)):
        predicted = np.broadcast_to(values, (3, 2, 2, len(values)))
        ours = fl.logits_to_segmentation(predicted, predicted.shape[1:], regions_class_order=(1, 2, 3))
        theirs = nnunet_export(predicted.copy(), predicted.shape[1:], labels=REGIONS, regions_class_order=(1, 2, 3))
        assert np.array_equal(ours, theirs)


def test_a_class_between_two_others():
    """The second best of two neighbours may be the best between them."""
    predicted = np.zeros((3, 1, 1, 2), np.float32)
    predicted[:, 0, 0, 0], predicted[:, 0, 0, 1] = (5, 0, 4), (0, 5, 4)
    assert fl.logits_to_segmentation(predicted, (1, 1, 8))[0, 0].tolist() == [0, 0, 0, 2, 2, 1, 1, 1]
    assert_same(fl.logits_to_segmentation(predicted, (1, 1, 8)), nnunet_export(predicted, (1, 1, 8)))


def test_equal_logits_give_the_first_class():
    predicted = np.full((4, 5, 6, 7), 3.3, np.float32)
    predicted[0] = 1.0
    assert (fl.logits_to_segmentation(predicted, (9, 9, 9)) == 1).all()


@pytest.mark.parametrize("backward", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_box_and_order_of_axes(backward):
    predicted = logits(4, (15, 18, 13))
    given = {"bbox": [[3, 25], [0, 31], [7, 26]], "shape": (30, 31, 29), "transpose_backward": backward}
    ours = fl.logits_to_segmentation(predicted, (22, 31, 19), **given)
    assert_same(ours, nnunet_export(predicted, (22, 31, 19), **given))


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.uint16), (300, np.uint16)])
def test_many_classes(count, dtype):
    predicted = logits(count, (4, 5, 6))
    ours = fl.logits_to_segmentation(predicted, (7, 8, 9))
    assert ours.dtype == dtype
    assert_same(ours, nnunet_export(predicted, (7, 8, 9)))


def test_labels_of_regions_beyond_a_byte():
    predicted = logits(2, (6, 7, 8))
    numbers = fl.logits_to_segmentation(predicted, (7, 8, 9), regions_class_order=(1, 2))
    assert set(np.unique(numbers)) == {0, 1, 2}
    for order in [(7, 700), (700, 7), (7, 255), (255, 7)]:  # the largest need not be the last
        ours = fl.logits_to_segmentation(predicted, (7, 8, 9), regions_class_order=order)
        assert ours.dtype == np.uint16
        assert np.array_equal(ours, np.array([0, *order])[numbers])


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_values_that_are_not_finite(axis, dtype):
    predicted = logits(4, (9, 10, 11), dtype=dtype)
    predicted[2, 4, 5, 6] = np.nan
    predicted[1, 8, 9, 10] = np.nan
    predicted[3, 0, 0, 0] = -np.inf
    predicted[3, 2, 2, 2] = np.inf
    predicted[:, 5, 0:3, 0] = -np.inf
    for new_shape in [(15, 16, 17), (9, 10, 11), (12, 7, 23)]:
        ours = fl.logits_to_segmentation(predicted, new_shape, axis=axis)
        assert np.array_equal(ours, nnunet_export(predicted, new_shape, axis=axis))


def test_views_and_tensors():
    padded = logits(3, (20, 22, 24), dtype=np.float16)
    inner = padded[:, 2:-2, 1:-1, 3:-4]
    expected = nnunet_export(inner, (30, 31, 32))
    assert_same(fl.logits_to_segmentation(inner, (30, 31, 32)), expected)
    assert_same(fl.logits_to_segmentation(torch.from_numpy(padded)[:, 2:-2, 1:-1, 3:-4], (30, 31, 32)), expected)
    turned = np.ascontiguousarray(inner.transpose(0, 3, 2, 1)).transpose(0, 3, 2, 1)
    assert_same(fl.logits_to_segmentation(turned, (30, 31, 32)), expected)
    slices = padded[:, :, :, 3:4]  # one voxel along Z: nothing there is contiguous
    assert_same(fl.logits_to_segmentation(slices, (30, 31, 2)), nnunet_export(slices, (30, 31, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("regions", [None, (1, 2, 3)])
@pytest.mark.parametrize("backward", [(0, 1, 2), (2, 0, 1)])
def test_probabilities(tmp_path, regions, backward, dtype):
    predicted = logits(3, (15, 18, 13), dtype=dtype)
    given = {"bbox": [[3, 25], [0, 31], [7, 26]], "shape": (30, 31, 29), "transpose_backward": backward}
    labels = REGIONS if regions else class_labels(3)
    segmentation, expected = nnunet_export(
        predicted, (22, 31, 19), labels=labels, regions_class_order=regions, return_probabilities=True, **given
    )
    mapped = np.lib.format.open_memmap(tmp_path / "p.npy", "w+", np.float32, expected.shape)
    mapped[...] = np.nan  # everything is written
    ours = fl.logits_to_segmentation(predicted, (22, 31, 19), regions_class_order=regions, probabilities=mapped, **given)
    assert_same(ours, segmentation)
    # Where nnU-Net's float64 and float32 differ, float16 may be rounded the other way.
    wrong = np.abs(np.asarray(mapped) - expected)
    assert np.quantile(wrong, 0.999) < 1e-6 and wrong.max() < (5e-3 if dtype == np.float16 else 1e-5)


def test_threads_do_not_matter():
    predicted = logits(5, (23, 31, 29), dtype=np.float16)
    one, many = np.empty((2, 5, 40, 30, 37), np.float32)
    for axis in (None, 1):
        a, b = (
            fl.logits_to_segmentation(predicted, (40, 30, 37), axis=axis, probabilities=p, threads=t)
            for p, t in ((one, 1), (many, 5))
        )
        c, d = (fl.logits_to_segmentation(predicted, (40, 30, 37), axis=axis, threads=t) for t in (1, 5))
        assert np.array_equal(a, b) and np.array_equal(c, d) and np.array_equal(one, many)


def test_with_plans_as_nnunet_makes_them():
    """The call that an export makes, with nnU-Net's plans, properties and label manager."""
    kwargs = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "architecture": {},
        "spacing": [3.0, 0.8, 0.9],
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": kwargs,
    }
    plans = PlansManager(
        {
            "plans_name": "p",
            "dataset_name": "Dataset001_x",
            "transpose_forward": [2, 0, 1],
            "transpose_backward": [1, 2, 0],
            "configurations": {"3d_fullres": configuration},
        }
    )
    properties = {
        "spacing": [0.5, 0.6, 4.0],
        "shape_before_cropping": (14, 50, 45),
        "bbox_used_for_cropping": [[1, 13], [4, 50], [0, 43]],
        "shape_after_cropping_and_before_resampling": (12, 46, 43),
    }
    predicted = logits(4, (16, 29, 29), dtype=np.float16)
    theirs = convert_predicted_logits_to_segmentation_with_correct_shape(
        torch.from_numpy(predicted),
        plans,
        plans.get_configuration("3d_fullres"),
        LabelManager(class_labels(4), None),
        properties,
        num_threads_torch=1,
    )
    spacing = [properties["spacing"][i] for i in plans.transpose_forward]
    separate, axis = determine_do_sep_z_and_axis(None, configuration["spacing"], spacing)
    assert separate and axis == 0
    ours = fl.logits_to_segmentation(
        predicted,
        properties["shape_after_cropping_and_before_resampling"],
        axis=axis,
        bbox=properties["bbox_used_for_cropping"],
        shape=properties["shape_before_cropping"],
        transpose_backward=plans.transpose_backward,
    )
    assert_same(ours, theirs)


SMALL = np.zeros((2, 3, 4, 5), np.float32)


def read_only(*shape):
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("predicted", "kwargs", "error", "message"),
    [
        (SMALL[0], {}, ValueError, r"\[logits_to_segmentation\] expected logits \(C, X, Y, Z\), got 3 axes"),
        (SMALL[:0], {}, ValueError, "expected at least one channel, got 0"),
        (SMALL.astype(np.float64), {}, TypeError, "expected logits of float32 or float16, got float64"),
        (torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16), {}, TypeError, "got torch.bfloat16"),
        (torch.zeros(2, 3, 4, 5, device="meta"), {}, TypeError, "expected logits on the CPU, got meta"),
        ([1, 2], {}, TypeError, "expected logits as an array or a tensor, got list"),
        (SMALL, {"axis": -1}, ValueError, "expected axis None, 0, 1 or 2, got -1"),
        (SMALL, {"shape": (5, 6)}, ValueError, "expected a shape of three sizes"),
        (
            SMALL,
            {"shape": (5, 6, 6)},
            ValueError,
            r"expected the new shape to fit into the image of \(5, 6, 6\), got \(6, 7, 8\)",
        ),
        (SMALL, {"bbox": [[0, 6], [0, 7], [1, 8]]}, ValueError, "expected a bbox of the new shape"),
        (SMALL, {"bbox": [0, 6]}, ValueError, "expected a bbox of three"),
        (SMALL, {"bbox": [[-1, 5], [0, 7], [0, 8]]}, ValueError, "fit into the image"),
        (SMALL, {"transpose_backward": (0, 1, 1)}, ValueError, "expected transpose_backward to be an order"),
        (SMALL, {"regions_class_order": (1,)}, ValueError, "expected a label for each of 2 regions, got 1"),
        (SMALL, {"regions_class_order": ()}, ValueError, "expected labels in regions_class_order, got none"),
        (SMALL, {"regions_class_order": (1, -1)}, ValueError, "expected labels from 0 to 255, got -1"),
        (SMALL, {"regions_class_order": (1, 70000)}, ValueError, "expected labels from 0 to 65535, got 70000"),
        (SMALL, {"probabilities": np.zeros((2, 6, 7, 9), np.float32)}, ValueError, "expected writable probabilities"),
        (SMALL, {"probabilities": read_only(2, 6, 7, 8)}, ValueError, "expected writable probabilities"),
        (SMALL, {"probabilities": np.zeros((2, 6, 7, 8))}, TypeError, "expected probabilities of float32, got float64"),
        (SMALL, {"probabilities": np.zeros((2, 6, 7))}, ValueError, "expected probabilities to be an array"),
        (SMALL, {"threads": 0}, ValueError, "expected at least one thread, got 0"),
    ],
)
def test_errors_say_what_was_expected(predicted, kwargs, error, message):
    with pytest.raises(error, match=message):
        fl.logits_to_segmentation(predicted, (6, 7, 8), **kwargs)
