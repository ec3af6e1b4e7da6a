"""The native preprocessing of a case, against nnU-Net's DefaultPreprocessor on the same files."""

from __future__ import annotations

import copy
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from raw_images import copy_images, description, folder_of_images, images_of

from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.images import Header, read_header
from fastnnunet_loader.prediction.preprocessing.preprocess import Preprocessing
from fastnnunet_loader.prediction.session.memory import estimate


def both(dataset: Any, plans: Any, configuration: str, files: list[str], previous: str | None = None) -> tuple[Any, Any]:
    """What nnU-Net and this package make of a case: (image, properties) each."""
    manager = PlansManager(plans)
    chosen = manager.get_configuration(configuration)
    about = description(dataset)
    image, segmentation, properties = DefaultPreprocessor(verbose=False).run_case(files, previous, manager, chosen, about)
    if previous is not None:
        labels = manager.get_label_manager(about).foreground_labels
        image = np.vstack((image, convert_labelmap_to_one_hot(segmentation[0], labels, image.dtype)))
    said: list[str] = []
    preprocessing = Preprocessing(manager, chosen, about, 2, said.append)
    ours = preprocessing.from_files("case", files, previous)
    assert preprocessing.native == (not any("images" in line for line in said))
    return (image, properties), (ours[0].numpy(), ours[1])


def assert_same(theirs: Any, ours: Any) -> None:
    (expected, properties), (image, own_properties) = theirs, ours
    assert image.dtype == np.float32
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= 1e-4 * np.ptp(expected)
    for name in ("shape_before_cropping", "bbox_used_for_cropping", "shape_after_cropping_and_before_resampling", "spacing"):
        assert np.array_equal(own_properties[name], properties[name]), name


@pytest.mark.parametrize(
    ("variant", "configuration"),
    [
        ("default", "3d_fullres"),
        ("default", "2d"),
        ("anisotropic", "3d_fullres"),
        ("two_channels", "3d_fullres"),  # normalised within the nonzero mask
    ],
)
def test_images_are_prepared_as_by_nnunet(nnunet_dataset: Any, tmp_path: Path, variant: str, configuration: str) -> None:
    dataset = nnunet_dataset(variant)
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    theirs, ours = both(dataset, dataset.plans, configuration, files)
    assert ours[1]["shape_after_cropping_and_before_resampling"] != ours[0].shape[1:], "nothing was resampled"
    assert_same(theirs, ours)


@pytest.mark.parametrize("masks", [[True, False], [False, True]])
def test_each_channel_has_its_own_mask(nnunet_dataset: Any, tmp_path: Path, masks: list[bool]) -> None:
    dataset = nnunet_dataset("two_channels")
    plans = copy.deepcopy(dataset.plans)
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["ZScoreNormalization"] * 2
    plans["configurations"]["3d_fullres"]["use_mask_for_norm"] = masks
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    assert_same(*both(dataset, plans, "3d_fullres", files))


def test_turned_axes(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("anisotropic")
    plans = {**dataset.plans, "transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    assert_same(*both(dataset, plans, "3d_fullres", files))


def test_previous_stage_becomes_channels(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("cascade")
    label = Path(dataset.raw) / dataset.name / "labelsTr" / "brain_000.nii.gz"
    files = images_of(folder_of_images(dataset), "brain_000")
    # A coarser target, so that labels are resampled too.
    plans = {**dataset.plans, "configurations": dict(dataset.plans["configurations"])}
    fullres = {**plans["configurations"]["3d_fullres"], "spacing": [5.0, 5.0, 5.0]}
    plans["configurations"]["3d_fullres"] = fullres
    theirs, ours = both(dataset, plans, "3d_cascade_fullres", files, str(label))
    assert_same((theirs[0][:1], theirs[1]), (ours[0][:1], ours[1]))
    assert np.array_equal(theirs[0][1:], ours[0][1:])
    assert ours[0].shape[0] == 3


def assert_same_resampling(theirs: Any, ours: Any) -> None:
    """But for the last bits of the mean before it: that of many float32 is another in NumPy 2.2 than in 2.4."""
    assert np.abs(theirs - ours).max() <= 1e-6 * np.ptp(theirs)


def test_other_resampling_is_the_plans_own(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    fullres = dict(dataset.plans["configurations"]["3d_fullres"])
    fullres["resampling_fn_data"] = "resample_torch_fornnunet"
    fullres["resampling_fn_data_kwargs"] = {"is_seg": False, "force_separate_z": None}
    plans = {**dataset.plans, "configurations": {"3d_fullres": fullres}}
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    theirs, ours = both(dataset, plans, "3d_fullres", files)
    assert_same_resampling(theirs[0], ours[0])


@pytest.mark.parametrize("order", [2, 4, 5])
def test_other_order_is_nnunets_own_and_named(nnunet_dataset: Any, tmp_path: Path, order: int) -> None:
    dataset = nnunet_dataset("default")
    fullres = dict(dataset.plans["configurations"]["3d_fullres"])
    fullres["resampling_fn_data_kwargs"] = {**fullres["resampling_fn_data_kwargs"], "order": order}
    plans = {**dataset.plans, "configurations": {"3d_fullres": fullres}}
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    theirs, ours = both(dataset, plans, "3d_fullres", files)
    assert_same_resampling(theirs[0], ours[0])
    manager, said = PlansManager(plans), []
    Preprocessing(manager, manager.get_configuration("3d_fullres"), description(dataset), 1, said.append)
    assert said[0].startswith("images are resampled in Python: resample_data_or_seg_to_shape(")
    assert f"order={order}," in said[0]


def test_image_of_zeros_is_kept_whole(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    file = str(tmp_path / "zeros_0000.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 24, 28), np.float32), np.eye(4) * 4), file)
    assert_same(*both(dataset, dataset.plans, "3d_fullres", [file]))


def preprocess(
    dataset: Any, files: list[str], reader: str = "SimpleITKIO", say: Any = print, scheme: str = "ZScoreNormalization"
) -> Any:
    manager = PlansManager({**dataset.plans, "image_reader_writer": reader})
    configuration = manager.get_configuration("3d_fullres")
    configuration.configuration["normalization_schemes"] = [scheme]
    return Preprocessing(manager, configuration, description(dataset), 1, say).from_files("one", files)


@pytest.mark.parametrize(
    ("value", "scheme", "warned"),
    [(np.nan, "ZScoreNormalization", True), (np.nan, "CTNormalization", True), (np.inf, "CTNormalization", False)],
)
def test_voxels_that_are_not_numbers_are_named_and_taken(
    nnunet_dataset: Any, tmp_path: Path, value: float, scheme: str, warned: bool
) -> None:
    dataset = nnunet_dataset("default")
    voxels = np.ones((8, 9, 10), np.float32)
    voxels[1, 2, 3] = value
    file = str(tmp_path / "one_0000.nii.gz")
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) * 4), file)
    said: list[str] = []
    # ITK reads NaN in NIfTI as zero. A CT is clipped, so that infinity becomes a number.
    data, _ = preprocess(dataset, [file], "NibabelIO", said.append, scheme)
    wanted = f"warning: [one] {file}: 1 of 720 voxels in channel 0 are NaN or infinite"
    assert any(line.startswith(wanted) for line in said) == warned
    assert bool(np.isfinite(data.numpy()).all()) != warned


def test_unreadable_image_names_case_and_file(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    file = tmp_path / "one_0000.nii.gz"
    file.write_bytes(b"no image")
    with pytest.raises(PredictionError, match=r"\[one\].*one_0000.nii.gz: expected images that can be read"):
        preprocess(dataset, [str(file)])


def peak_of(work: Any) -> int:
    """Bytes that NumPy held at the most while it ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("labels", [3, 60])
@pytest.mark.parametrize("scale", [0.8, 1, 1.25])
def test_a_cascade_of_many_labels_keeps_to_its_estimate(nnunet_dataset: Any, labels: int, scale: float) -> None:
    dataset = nnunet_dataset("cascade")
    plans = PlansManager(dataset.plans)
    configuration = plans.get_configuration("3d_cascade_fullres")
    named = {**description(dataset), "labels": {"background": 0, **{f"label {n}": n for n in range(1, labels + 1)}}}
    spacing = [float(configuration.spacing[axis]) * scale for axis in np.argsort(plans.transpose_forward)]
    shape, generator = (48, 48, 48), np.random.default_rng(0)
    image = generator.normal(10, 1, (1, *shape)).astype(np.float32)
    before = generator.integers(0, labels + 1, (1, *shape)).astype(np.float32)
    preprocessing = Preprocessing(plans, configuration, named, 1, print)
    need = estimate(Header(1, shape, tuple(spacing), 4), 1, plans, configuration, plans.get_label_manager(named))
    made: list[Any] = []
    peak = peak_of(lambda: made.append(preprocessing.from_array("one", image, before, {"spacing": spacing})[0]))
    assert made[0].shape[0] == 1 + labels
    assert made[0].nelement() * 4 < peak <= need.preprocess


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_a_scaled_image_keeps_to_its_estimate(nnunet_dataset: Any, tmp_path: Path, dtype: type) -> None:
    dataset = nnunet_dataset("default")
    plans = PlansManager({**dataset.plans, "image_reader_writer": "NibabelIO"})
    configuration = plans.get_configuration("3d_fullres")
    image = nibabel.Nifti1Image(np.random.default_rng(0).integers(1, 100, (64, 64, 64)).astype(dtype), np.eye(4) * 4)
    image.header.set_slope_inter(0.5, 10)
    file = str(tmp_path / "one_0000.nii.gz")
    nibabel.save(image, file)
    header = read_header(plans.image_reader_writer_class, file)
    assert header is not None
    need = estimate(header, 1, plans, configuration, plans.get_label_manager(description(dataset)))
    preprocessing = Preprocessing(plans, configuration, description(dataset), 1, print)
    peak = peak_of(lambda: preprocessing.from_files("one", [file]))
    assert peak > 64**3 * 12, "of float64, and of float32"
    assert peak <= need.preprocess + 256 * 1024, "and gzip's buffers"


SPACING = [5.0, 4.4, 3.3]


def head_with_margins(channels: int, margins: bool) -> np.ndarray[Any, Any]:
    """Positive numbers, a closed hole and an open notch of zeros, and zeros around, of another width on each of six sides.

    Each channel has a part of its own.
    """
    generator = np.random.default_rng(0)
    image = generator.normal(100, 10, (channels, 14, 17, 20)).astype(np.float32)
    image[:, 6:8, 7:9, 9:12] = 0
    if margins:
        image[:, :2] = image[:, -3:] = image[:, :, :1] = image[:, :, -4:] = image[..., :5] = image[..., -2:] = 0
        image[:, 2:4, 1:3, 5:8] = 0
        if channels > 1:
            image[0, :, :, :8] = 0
            image[1, 9:] = 0
    return image


def both_of_an_array(
    dataset: Any, plans: Any, configuration: str, image: Any, previous: Any, spacing: Any = SPACING
) -> tuple[Any, Any]:
    """What nnU-Net and this package make of an array: (image, properties) each. The arrays stay as they were."""
    manager, about = PlansManager(plans), description(dataset)
    chosen = manager.get_configuration(configuration)
    properties: list[dict[str, Any]] = [{"spacing": list(spacing)} for _ in range(2)]
    theirs, segmentation, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        image.copy(), None if previous is None else previous.copy(), properties[0], manager, chosen, about
    )
    if previous is not None:
        labels = manager.get_label_manager(about).foreground_labels
        theirs = np.vstack((theirs, convert_labelmap_to_one_hot(segmentation[0], labels, theirs.dtype)))
    before = image.copy(), None if previous is None else previous.copy()
    preprocessing = Preprocessing(manager, chosen, about, 2, print)
    assert preprocessing.native
    ours, returned = preprocessing.from_array("case", image, previous, properties[1])
    assert returned is properties[1]
    assert np.array_equal(image, before[0], equal_nan=True), "the image is the caller's"
    assert previous is None or np.array_equal(previous, before[1]), "the previous stage is the caller's"
    return (theirs, properties[0]), (ours.numpy(), properties[1])


@pytest.mark.parametrize("margins", [False, True])
@pytest.mark.parametrize("forward", [[0, 1, 2], [2, 0, 1], [1, 0, 2]])
def test_image_and_previous_stage_are_turned_and_cropped_together(
    nnunet_dataset: Any, forward: list[int], margins: bool
) -> None:
    dataset = nnunet_dataset("cascade")
    plans = {**dataset.plans, "transpose_forward": forward, "transpose_backward": [int(n) for n in np.argsort(forward)]}
    blocks = np.random.default_rng(1).integers(0, 3, (1, 7, 6, 5))
    previous = blocks.repeat(2, 1).repeat(3, 2).repeat(4, 3)[:, :14, :17, :20].astype(np.int16)
    theirs, ours = both_of_an_array(dataset, plans, "3d_cascade_fullres", head_with_margins(1, margins), previous)
    assert_same((theirs[0][:1], theirs[1]), (ours[0][:1], ours[1]))
    assert np.array_equal(theirs[0][1:], ours[0][1:])
    box = theirs[1]["bbox_used_for_cropping"]
    assert (box == [[0, n] for n in theirs[1]["shape_before_cropping"]]) != margins


@pytest.mark.parametrize("masks", [[True, False], [False, True], [False, False]])
@pytest.mark.parametrize("forward", [[0, 1, 2], [1, 2, 0]])
def test_box_and_mask_are_of_all_channels_together(nnunet_dataset: Any, forward: list[int], masks: list[bool]) -> None:
    dataset = nnunet_dataset("two_channels")
    plans = copy.deepcopy(dataset.plans)
    plans.update(transpose_forward=forward, transpose_backward=[int(n) for n in np.argsort(forward)])
    plans["configurations"]["3d_fullres"]["use_mask_for_norm"] = masks
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["ZScoreNormalization"] * 2
    assert_same(*both_of_an_array(dataset, plans, "3d_fullres", head_with_margins(2, True), None))


def test_each_channel_is_normalised_with_its_own_figures(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("two_channels")
    plans = copy.deepcopy(dataset.plans)
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"] * 2
    for channel, low in (("0", 90.0), ("1", 105.0)):
        figures = plans["foreground_intensity_properties_per_channel"][channel]
        figures.update(mean=low + 5, std=low / 10, percentile_00_5=low, percentile_99_5=low + 10)
    theirs, ours = both_of_an_array(dataset, plans, "3d_fullres", head_with_margins(2, False), None)
    assert_same(theirs, ours)
    assert not np.allclose(ours[0][0].mean(), ours[0][1].mean())


RESAMPLING: list[dict[str, Any]] = [
    {"order": 3, "order_z": 0, "force_separate_z": None},
    {"order": 3, "order_z": 1, "force_separate_z": None},
    {"order": 1, "order_z": 3, "force_separate_z": None},
    {"order": 0, "order_z": 0, "force_separate_z": None},
    {"order": 3, "order_z": 0, "force_separate_z": False},
    {"order": 1, "order_z": 0, "force_separate_z": True},
    {"order": 3, "order_z": 0, "force_separate_z": None, "separate_z_anisotropy_threshold": 2.0},
    {"order_z": 1, "force_separate_z": None},
    {},
]


@pytest.mark.parametrize("settings", RESAMPLING, ids=str)
def test_every_setting_of_the_resampling_is_the_plans(nnunet_dataset: Any, settings: dict[str, Any]) -> None:
    """For thick slices along each axis, and for slices that are thick for some thresholds only."""
    dataset = nnunet_dataset("default")
    plans = copy.deepcopy(dataset.plans)
    plans["configurations"]["3d_fullres"]["resampling_fn_data_kwargs"] = {"is_seg": False, **settings}
    for spacing in ([13.0, 3.0, 3.5], [3.0, 13.0, 3.5], [3.0, 3.5, 13.0], [10.0, 4.2, 4.0]):
        assert_same(*both_of_an_array(dataset, plans, "3d_fullres", head_with_margins(1, False), None, spacing))


def test_the_channel_that_is_not_finite_is_named_with_its_file(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("two_channels")
    files = []
    for channel in range(2):
        voxels = np.random.default_rng(channel).normal(100, 10, (8, 9, 10)).astype(np.float32)
        if channel == 1:
            voxels[1, 2, 3:5] = np.nan
        files.append(str(tmp_path / f"one_{channel:04d}.nii.gz"))
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) * 4), files[-1])
    manager = PlansManager({**dataset.plans, "image_reader_writer": "NibabelIO"})
    said: list[str] = []
    plan = manager, manager.get_configuration("3d_fullres"), description(dataset)
    Preprocessing(*plan, 1, said.append).from_files("one", files)
    (line,) = said
    assert line.startswith(f"warning: [one] {files[1]}: 2 of 720 voxels in channel 1 are NaN or infinite; ")


def test_arrays_that_do_not_fit_are_refused(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("cascade")
    manager = PlansManager(dataset.plans)
    plan = manager, manager.get_configuration("3d_cascade_fullres"), description(dataset)
    preprocessing = Preprocessing(*plan, 1, print)
    image, properties = head_with_margins(1, False), {"spacing": SPACING}
    with pytest.raises(PredictionError, match=r"\[one\] .*the image's shape \(14, 17, 20\), got \(14, 17, 19\)"):
        preprocessing.from_array("one", image, np.zeros((1, 14, 17, 19), np.uint8), dict(properties))
    with pytest.raises(ValueError, match="expected 1 channels, as the plans have, got 2"):
        preprocessing.from_array("one", head_with_margins(2, False), np.zeros((1, 14, 17, 20), np.uint8), dict(properties))


@pytest.mark.parametrize("forward", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
def test_slices_of_turned_axes_are_kept_as_they_are(nnunet_dataset: Any, forward: list[int]) -> None:
    """A 2D network gets the slices of the axis that the plans put first."""
    dataset = nnunet_dataset("default")
    plans = {**dataset.plans, "transpose_forward": forward, "transpose_backward": [int(n) for n in np.argsort(forward)]}
    theirs, ours = both_of_an_array(dataset, plans, "2d", head_with_margins(1, True), None)
    assert_same(theirs, ours)
    assert ours[0].shape[1] == ours[1]["shape_after_cropping_and_before_resampling"][0]


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_spreads_as_far_as_in_nnunet(nnunet_dataset: Any, value: float, order: int) -> None:
    """A CT is clipped, so that infinity becomes a number and NaN stays."""
    dataset = nnunet_dataset("default")
    plans = copy.deepcopy(dataset.plans)
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"]
    plans["configurations"]["3d_fullres"]["resampling_fn_data_kwargs"]["order"] = order
    figures = {"mean": 100.0, "std": 10.0, "percentile_00_5": 50.0, "percentile_99_5": 150.0}
    plans["foreground_intensity_properties_per_channel"]["0"].update(figures)
    image = head_with_margins(1, False)
    image[0, 5:8, 6:9, 7:10] = value
    (theirs, _), (ours, _) = both_of_an_array(dataset, plans, "3d_fullres", image, None)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.isnan(ours).any() == np.isnan(value)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_every_channel_that_is_far_from_the_training_is_told(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("two_channels")
    plans = copy.deepcopy(dataset.plans)
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"] * 2
    files = []
    for channel in range(2):
        plans["foreground_intensity_properties_per_channel"][str(channel)].update(percentile_00_5=0.0, percentile_99_5=100.0)
        voxels = np.random.default_rng(channel).uniform(0, (100, 5)[channel], (8, 9, 10)).astype(np.float32)
        files.append(str(tmp_path / f"one_{channel:04d}.nii.gz"))
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) * 4), files[-1])
    manager = PlansManager(plans)
    said: list[str] = []
    plan = manager, manager.get_configuration("3d_fullres"), description(dataset)
    Preprocessing(*plan, 1, said.append).from_files("one", files)
    (line,) = said
    assert line.startswith("warning: [one] intensities from ")
    assert " in channel 1 are far from the training's (0 to 100)" in line
