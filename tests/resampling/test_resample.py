"""fl.resample against nnU-Net's own resampling, on real images."""

from __future__ import annotations

import numpy as np
import pytest
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg
from volumes import head, tissues

import fastnnunet_loader as fl

SHAPES = [
    ((45, 54, 45), (75, 92, 79)),  # up, as from 3 mm to 1.8 mm
    ((45, 54, 45), (30, 31, 29)),  # down
    ((33, 20, 41), (20, 35, 41)),  # both, and one axis as it is
    ((33, 20, 41), (33, 20, 70)),
    ((33, 20, 41), (50, 20, 41)),
    ((1, 45, 54), (1, 70, 81)),  # one slice
    ((4, 30, 30), (9, 31, 29)),
    ((20, 30, 1), (25, 30, 4)),
    ((2, 3, 2), (1, 1, 1)),
    ((64, 65, 2), (65, 66, 130)),
]


def nnunet(array, new_shape, order, *, is_seg=False, axis=None, order_z=0):
    return resample_data_or_seg(
        array, new_shape, is_seg=is_seg, axis=axis, order=order, do_separate_z=axis is not None, order_z=order_z
    )


def assert_close(ours, theirs, image):
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    reach = float(np.nanmax(image) - np.nanmin(image))
    rounding = float(np.spacing(np.nanmax(np.abs(image))))
    wrong = np.abs(ours - theirs)
    assert float(np.max(wrong[~np.isnan(wrong)], initial=0.0)) <= 1e-5 * reach + rounding


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("shape", "new_shape"), SHAPES)
def test_image(shape, new_shape, order):
    image = head(2, shape)
    assert_close(fl.resample(image, new_shape, order), nnunet(image, new_shape, order), image)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [9, 5, 4, 13])
def test_image_of_thick_slices(axis, order, size):
    shape, new_shape = [41, 38, 33], [51, 30, 62]
    shape[axis], new_shape[axis] = 9, size
    image = head(2, tuple(shape))
    assert_close(fl.resample(image, new_shape, order, axis=axis), nnunet(image, new_shape, order, axis=axis), image)


@pytest.mark.parametrize("order_z", [1, 3])
def test_order_along_thick_slices(order_z):
    image = head(1, (9, 38, 33))
    new_shape = (14, 45, 40)
    expected = nnunet(image, new_shape, 3, axis=0, order_z=order_z)
    assert_close(fl.resample(image, new_shape, 3, axis=0, order_z=order_z), expected, image)


def test_slices_only_change_their_number():
    image = head(1, (9, 38, 33))
    for new_shape in [(14, 38, 33), (4, 38, 33)]:
        assert np.array_equal(fl.resample(image, new_shape, axis=0), nnunet(image, new_shape, 3, axis=0))


def test_range_is_kept():
    image = head(1, (30, 31, 32))
    resized = fl.resample(image, (50, 60, 55))
    assert resized.min() >= image.min() and resized.max() <= image.max()
    # A spline would leave it.
    assert (resized == image.max()).any()
    # Each slice has a range of its own.
    image[0, 3] = 0.25
    assert (fl.resample(image, (30, 60, 55), axis=0)[0, 3] == np.float32(0.25)).all()


@pytest.mark.parametrize("order", [1, 3])
def test_constant_and_large_values(order):
    constant = np.full((1, 7, 9, 8), 1234.5678, np.float32)
    assert (fl.resample(constant, (13, 8, 9), order) == constant[0, 0, 0, 0]).all()
    # The differences are small beside the level.
    image = head(1, (30, 31, 32)) + np.float32(5000)
    assert_close(fl.resample(image, (41, 25, 50), order), nnunet(image, (41, 25, 50), order), image)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("axis", [None, 0])
def test_nan_goes_as_far_as_nnunets(order, axis):
    image = head(1, (9, 21, 23))
    image[0, 4, 5, 6] = np.nan
    image[0, 8, 20, 22] = np.nan
    for new_shape in [(12, 30, 31), (9, 11, 35)] if axis == 0 else [(12, 30, 31), (5, 11, 46)]:
        theirs = nnunet(image, new_shape, order, axis=axis)
        assert_close(fl.resample(image, new_shape, order, axis=axis), theirs, np.nan_to_num(image))


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
def test_nothing_but_nan():
    image = np.full((1, 5, 6, 7), np.nan, np.float32)
    for order in (0, 1, 3):
        assert np.isnan(fl.resample(image, (7, 8, 9), order)).all()
        assert np.isnan(nnunet(image, (7, 8, 9), order)).all()


def test_same_shape_is_a_copy():
    image = head(2, (9, 10, 11))
    image[0, 0, 0, 0] = np.nan
    for kwargs in ({}, {"axis": 1}):
        same = fl.resample(image, (9, 10, 11), **kwargs)
        assert np.array_equal(same, image, equal_nan=True) and not np.shares_memory(same, image)


def test_views_and_odd_integers():
    image = head(2, (20, 22, 24))
    view = image.transpose(0, 3, 1, 2)[:, ::2]
    size = np.array([15, 30, 20])
    assert np.array_equal(fl.resample(view, size), fl.resample(np.ascontiguousarray(view), (15, 30, 20)))


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_threads_do_not_matter(axis, order):
    image, labels = head(1, (23, 31, 29)), tissues(1, (23, 31, 29))
    new_shape = (31, 27, 40)
    one, many = (fl.resample(image, new_shape, order, axis=axis, threads=threads) for threads in (1, 5))
    assert np.array_equal(one, many)
    if order < 3:
        one, many = (fl.resample(labels, new_shape, order, is_seg=True, axis=axis, threads=t) for t in (1, 5))
        assert np.array_equal(one, many)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(("shape", "new_shape"), SHAPES)
def test_labels(shape, new_shape, order):
    labels = tissues(2, shape)
    assert np.array_equal(fl.resample(labels, new_shape, order, is_seg=True), nnunet(labels, new_shape, order, is_seg=True))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [9, 5, 4, 13])
def test_labels_of_thick_slices(axis, size):
    shape, new_shape = [41, 38, 33], [51, 30, 62]
    shape[axis], new_shape[axis] = 9, size
    labels = tissues(1, tuple(shape))
    theirs = nnunet(labels, new_shape, 1, is_seg=True, axis=axis)
    assert np.array_equal(fl.resample(labels, new_shape, 1, is_seg=True, axis=axis), theirs)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32])
def test_label_dtypes(dtype):
    rng = np.random.default_rng(1)
    low, high = (-1, 3) if dtype != np.uint8 else (0, 4)
    if dtype == np.uint16:
        low, high = 65530, 65535
    if dtype in (np.int16, np.int32, np.int64, np.float32):
        high = 1000
    labels = rng.integers(low, high, (1, 9, 10, 11)).astype(dtype)
    for new_shape in [(5, 5, 6), (18, 20, 22), (13, 7, 17)]:
        theirs = nnunet(labels, new_shape, 1, is_seg=True)
        ours = fl.resample(labels, new_shape, 1, is_seg=True)
        assert ours.dtype == dtype and np.array_equal(ours, theirs)


def test_labels_tie():
    """Halving puts every voxel between eight others: all ties, which nnU-Net settles by the nearest voxel."""
    rng = np.random.default_rng(2)
    labels = rng.integers(-1, 3, (1, 20, 22, 24)).astype(np.int16)
    for new_shape in [(10, 11, 12), (10, 22, 24), (4, 11, 8)]:
        assert np.array_equal(fl.resample(labels, new_shape, 1, is_seg=True), nnunet(labels, new_shape, 1, is_seg=True))


@pytest.mark.parametrize(
    ("arguments", "kwargs", "error", "message"),
    [
        ((np.zeros((3, 4, 5), np.float32), (3, 4, 5)), {}, ValueError, r"\[resample\] expected an array \(C, X, Y, Z\)"),
        ((np.zeros((1, 3, 4, 5), np.float32), (3, 4)), {}, ValueError, "expected a shape of three sizes"),
        ((np.zeros((1, 3, 4, 5), np.float32), (3, 0, 4)), {}, ValueError, "expected a new shape of positive sizes, got 0"),
        ((np.zeros((1, 3, 0, 5), np.float32), (3, 4, 4)), {}, ValueError, r"expected sizes from 1 to .*got \(3, 0, 5\)"),
        (
            (np.zeros((1, 3, 4, 5), np.float32), (3, 4, 6), 2),
            {},
            ValueError,
            "expected order and order_z to be 0, 1 or 3, got 2",
        ),
        ((np.zeros((1, 3, 4, 5), np.float32), (3, 4, 6)), {"axis": 3}, ValueError, "expected axis None, 0, 1 or 2, got 3"),
        ((np.zeros((1, 3, 4, 5), np.float32), (3, 4, 6)), {"threads": 0}, ValueError, "expected at least one thread, got 0"),
        ((np.zeros((1, 3, 4, 5), np.float64), (3, 4, 6)), {}, TypeError, "expected an image of float32, got float64"),
        ((np.zeros((1, 3, 4, 5), np.int16), (3, 4, 6), 3), {"is_seg": True}, ValueError, "expected order 0 or 1 for a segm"),
        (
            (np.zeros((1, 3, 4, 5), np.int16), (3, 4, 6), 1),
            {"is_seg": True, "axis": 0, "order_z": 1},
            ValueError,
            "expected order_z 0 for a segmentation, got 1",
        ),
        ((np.zeros((1, 3, 4, 5)), (3, 4, 6), 1), {"is_seg": True}, TypeError, "expected a segmentation of int8.*got float64"),
    ],
)
def test_errors_say_what_was_expected(arguments, kwargs, error, message):
    with pytest.raises(error, match=message):
        fl.resample(*arguments, **kwargs)
