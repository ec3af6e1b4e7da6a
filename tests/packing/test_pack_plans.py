"""With nnU-Net's plans, cases are those that this package's nnU-Net preprocessing makes."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from packed_inputs import labels_of, quietly, read, volume, write, write_cases

from datasets import KINDS_OF_DATA, Dataset
from fastnnunet_loader.blocks import blocks_and_chunks

IMAGE = 1e-4
"""Of the range of intensities."""

TIES = 1e-4
"""Voxels whose labels may differ."""

KINDS = [*KINDS_OF_DATA, ("cascade", "3d_lowres")]


def raw(dataset: Dataset) -> tuple[Path, Path, Path]:
    root = dataset.raw / dataset.name
    return root / "imagesTr", root / "labelsTr", dataset.preprocessed / dataset.name / "nnUNetPlans.json"


@pytest.mark.parametrize(("variant", "configuration"), KINDS)
def test_cases_are_those_of_nnunets_preprocessing(
    nnunet_dataset: Any, tmp_path: Path, variant: str, configuration: str
) -> None:
    """Voxels, storage, class locations, and all that nnU-Net reads of the properties."""
    dataset = nnunet_dataset(variant)
    images, labels, plans = raw(dataset)
    out = tmp_path / "out"
    names = quietly(images, out, labels=labels, plans=plans, configuration=configuration)
    assert names == dataset.cases()
    for name in names[:3]:
        theirs = dataset.folder(configuration)
        for ending in (".b2nd", "_seg.b2nd"):
            found, expected = (blosc2.open(urlpath=str(folder / f"{name}{ending}"), mode="r") for folder in (out, theirs))
            for attribute in ("shape", "chunks", "blocks", "dtype"):
                assert getattr(found, attribute) == getattr(expected, attribute), attribute
            mine, reference = found[:], expected[:]
            if ending == ".b2nd":
                assert np.abs(mine - reference).max() <= IMAGE * np.ptp(reference)
            else:
                assert np.mean(mine != reference) <= TIES
        ours, nnunets = (pickle.loads((folder / f"{name}.pkl").read_bytes()) for folder in (out, theirs))
        assert ours.keys() - {"packed"} == nnunets.keys()
        for key, value in nnunets.items():
            if key == "class_locations":
                assert list(ours[key]) == list(value)
                assert all(np.array_equal(ours[key][label], rows) for label, rows in value.items())
            elif key == "sitk_stuff":
                assert all(ours[key][what] == pytest.approx(one, abs=1e-6) for what, one in value.items())
            else:
                assert ours[key] == value, key


@pytest.mark.parametrize("reader", ["SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"])
@pytest.mark.parametrize("masked", [False, True])
def test_readers_and_axes_of_plans(nnunet_dataset: Any, tmp_path: Path, reader: str, masked: bool) -> None:
    """Of an image whose axes point elsewhere, for a network that has them in another order."""
    image = volume(4, shape=(12, 24, 20))
    for folder, array in (("images", image[0]), ("labels", labels_of(image))):
        write(tmp_path / folder / "case.nii.gz", array, direction=(0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    dataset = nnunet_dataset("default")
    plans = json.loads(raw(dataset)[2].read_text())
    plans.update(image_reader_writer=reader, transpose_forward=[2, 0, 1], transpose_backward=[1, 2, 0])
    plans["configurations"]["3d_fullres"].update(spacing=[2.0, 1.5, 1.25], use_mask_for_norm=[masked])
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager = PlansManager(plans)
        expected, labels, properties = DefaultPreprocessor(verbose=False).run_case(
            [str(tmp_path / "images" / "case.nii.gz")], str(tmp_path / "labels" / "case.nii.gz"), manager,
            manager.get_configuration("3d_fullres"), json.loads((raw(dataset)[2].parent / "dataset.json").read_text()),
        )  # fmt: skip
    out = tmp_path / "out"
    quietly(tmp_path / "images", out, labels=tmp_path / "labels", plans=tmp_path / "plans.json", configuration="3d_fullres")
    assert np.abs(read(out, "case") - expected).max() <= IMAGE * np.ptp(expected)
    assert np.mean(read(out, "case_seg") != labels) <= TIES
    told = pickle.loads((out / "case.pkl").read_bytes())
    assert told["spacing"] == pytest.approx(properties["spacing"])
    assert told["bbox_used_for_cropping"] == properties["bbox_used_for_cropping"]


def test_intensities_of_the_first_pass_agree_with_nnunets_fingerprint(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    images, labels, plans = raw(dataset)
    quietly(images, tmp_path / "out", labels=labels, normalize="ct")
    key = "foreground_intensity_properties_per_channel"
    found = json.loads((tmp_path / "out" / "pack.json").read_text())[key]["0"]
    expected = json.loads((plans.parent / "dataset_fingerprint.json").read_text())[key]["0"]
    assert found == pytest.approx(expected, rel=1e-3)  # from other draws of the same foreground


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"preprocessor_name": "MyPreprocessor"},
            "expected DefaultPreprocessor as preprocessor_name .*, got MyPre",
        ),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "as resampling_fn_data .*, got resample_torch_fornnunet"),
        ({"normalization_schemes": ["MyScheme"]}, "as normalization_schemes of .*, got MyScheme"),
        ({"resampling_fn_data_kwargs": {"order": 2}}, "expected native arguments as resampling_fn_data_kwargs"),
        ({"resampling_fn_seg_kwargs": {"sharpness": 2}}, "expected nnU-Net's plans in .*sharpness"),
        ({"patch_size": None}, "expected nnU-Net's plans in"),
    ],
)
def test_what_only_nnunets_code_does_is_refused(nnunet_dataset: Any, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    images, labels, plans = raw(nnunet_dataset("default"))
    content = json.loads(plans.read_text())
    content["configurations"]["3d_fullres"].update(change)
    (tmp_path / "plans.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        quietly(images, tmp_path / "out", labels=labels, plans=tmp_path / "plans.json", configuration="3d_fullres")
    assert not (tmp_path / "out").exists()


def test_plans_say_it_alone(nnunet_dataset: Any, tmp_path: Path) -> None:
    images, _, plans = raw(nnunet_dataset("default"))
    with pytest.raises(ValueError, match=r"\[spacing\] expected nothing beside plans, which say it, got \(1, 1, 1\)"):
        quietly(images, tmp_path / "out", plans=plans, configuration="3d_fullres", spacing=(1, 1, 1))
    with pytest.raises(ValueError, match=r"\[configuration\] expected a configuration .*, got '3d'; there is 2d, 3d_full"):
        quietly(images, tmp_path / "out", plans=plans, configuration="3d")
    two, _ = write_cases(tmp_path, 1, channels=2)
    with pytest.raises(RuntimeError, match="expected 1 channels, as the plans have, got 2"):
        quietly(two, tmp_path / "out", plans=plans, configuration="3d_fullres")


def test_chunks_and_blocks_are_nnunets() -> None:
    generator = np.random.default_rng(0)
    for number in range(3000):
        shape = (int(generator.integers(1, 5)), *(int(size) for size in generator.integers(1, 700, 3)))
        patch = tuple(int(size) for size in generator.integers(1, 300, 2 + number % 2))
        itemsize = int(generator.choice([1, 2, 4]))
        assert blocks_and_chunks(shape, patch, itemsize) == comp_blosc2_params(shape, patch, itemsize), (shape, patch)
