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


def test_other_resampling_is_the_plans_own(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    fullres = dict(dataset.plans["configurations"]["3d_fullres"])
    fullres["resampling_fn_data"] = "resample_torch_fornnunet"
    fullres["resampling_fn_data_kwargs"] = {"is_seg": False, "force_separate_z": None}
    plans = {**dataset.plans, "configurations": {"3d_fullres": fullres}}
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    theirs, ours = both(dataset, plans, "3d_fullres", files)
    assert np.array_equal(theirs[0], ours[0])


@pytest.mark.parametrize("order", [2, 4, 5])
def test_other_order_is_nnunets_own_and_named(nnunet_dataset: Any, tmp_path: Path, order: int) -> None:
    dataset = nnunet_dataset("default")
    fullres = dict(dataset.plans["configurations"]["3d_fullres"])
    fullres["resampling_fn_data_kwargs"] = {**fullres["resampling_fn_data_kwargs"], "order": order}
    plans = {**dataset.plans, "configurations": {"3d_fullres": fullres}}
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    theirs, ours = both(dataset, plans, "3d_fullres", files)
    assert np.array_equal(theirs[0], ours[0])
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
    assert peak <= need.preprocess
