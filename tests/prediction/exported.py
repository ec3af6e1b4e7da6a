"""A case with logits that its network might have predicted, and a comparison of what is written for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from raw_images import copy_images, description, images_of

from fastnnunet_loader.prediction.export.export import Exporting
from fastnnunet_loader.prediction.preprocessing.preprocess import Preprocessing


class Case:
    """A preprocessed case of a data set, with logits that its network might have predicted."""

    def __init__(self, dataset: Any, folder: Path, plans: Any = None, configuration: str = "3d_fullres") -> None:
        self.plans = PlansManager(plans or dataset.plans)
        self.configuration = self.plans.get_configuration(configuration)
        self.about = description(dataset)
        files = images_of(copy_images(dataset, folder / "images", 1), "brain_000")
        preprocessing = Preprocessing(self.plans, self.configuration, self.about, 2, print)
        image, self.properties = preprocessing.from_files("brain_000", files)
        heads = self.plans.get_label_manager(self.about).num_segmentation_heads
        noise = torch.randn((heads, *image.shape[1:]), generator=torch.Generator().manual_seed(0))
        self.logits = (noise + torch.linspace(-1, 1, heads)[:, None, None, None] * image[:1]).half()

    def exporting(self) -> Exporting:
        return Exporting(self.plans, self.configuration, self.about, 2, print)

    def nnunet(self, target: Path, probabilities: bool) -> None:
        export_prediction_from_logits(
            self.logits, dict(self.properties), self.configuration, self.plans, self.about, str(target), probabilities, 2
        )


def assert_same_files(theirs: Path, ours: Path) -> None:
    names = sorted(file.name for file in theirs.iterdir())
    assert names == sorted(file.name for file in ours.iterdir())
    for name in names:
        if name.endswith(".nii.gz"):
            expected, got = nibabel.load(theirs / name), nibabel.load(ours / name)
            assert np.array_equal(np.asarray(expected.dataobj), np.asarray(got.dataobj))
            assert np.array_equal(expected.affine, got.affine)
            assert expected.get_data_dtype() == got.get_data_dtype()
        elif name.endswith(".npz"):
            with np.load(theirs / name) as expected, np.load(ours / name) as got:
                assert expected["probabilities"].dtype == got["probabilities"].dtype
                # nnU-Net's softmax is of logits that were rounded to float16 after they were resized.
                np.testing.assert_allclose(got["probabilities"], expected["probabilities"], atol=2e-3)
        else:
            expected, got = load_pickle(str(theirs / name)), load_pickle(str(ours / name))
            assert expected.keys() == got.keys()
