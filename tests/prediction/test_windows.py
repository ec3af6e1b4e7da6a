"""The sliding window that drops planes as they are complete, against nnU-Net's own, with trained networks on a real head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from raw_images import copy_images, images_of

from fastnnunet_loader.prediction.preprocess import Preprocessing
from fastnnunet_loader.prediction.windows import Passage, plan_passage, predict_planes


def predictor_of(model: Path, folds: tuple[int, ...] = (0,), *, step: float = 0.5, **options: Any) -> nnUNetPredictor:
    options = {"use_mirroring": False, **options}
    made = nnUNetPredictor(tile_step_size=step, device=torch.device("cpu"), allow_tqdm=False, **options)
    made.initialize_from_trained_model_folder(str(model), folds)
    return made


def head(dataset: Any, predictor: Any, folder: Path, scale: tuple[float, float, float] = (1, 1, 1)) -> torch.Tensor:
    """A preprocessed image (C, X, Y, Z), `scale` times longer than the data set's."""
    files = images_of(copy_images(dataset, folder / "images", 1), "brain_000")
    plan = (predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json)
    image = Preprocessing(*plan, 2, print).from_files("brain_000", files)[0]
    size = [round(n * s) for n, s in zip(image.shape[1:], scale, strict=True)]
    return torch.nn.functional.interpolate(image[None], size, mode="trilinear")[0]


class Collected:
    """Keeps the planes that are handed over, and asks for two of them again, as resizing does."""

    def __init__(self, shape: tuple[int, ...], heads: int, along: int) -> None:
        self.logits = torch.full((heads, *shape), torch.nan, dtype=torch.half)
        self._along = along + 1
        self._end = 0
        self.most = 0

    def add(self, logits: torch.Tensor, first: int) -> int:
        end = first + logits.shape[self._along]
        assert first <= max(0, self._end - 2)
        self.logits.narrow(self._along, first, end - first).copy_(logits)
        self._end = end
        self.most = max(self.most, end - first)
        return end - 2


def planes_of(predictor: Any, image: torch.Tensor, passage: Passage) -> Collected:
    collected = Collected(tuple(image.shape[1:]), predictor.label_manager.num_segmentation_heads, passage.along)
    predict_planes(predictor, image, passage, lambda: collected)
    return collected


@pytest.mark.parametrize(
    ("variant", "configuration", "folds", "scale", "options"),
    [
        ("default", "3d_fullres", (0,), (1.7, 1, 1), {}),
        ("default", "3d_fullres", (0,), (1.2, 0.4, 0.4), {"use_mirroring": True}),
        ("default", "3d_fullres", (0, 1), (1.5, 0.6, 0.6), {"step": 0.3, "use_gaussian": False}),
        ("default", "3d_fullres", (0, 1), (0.4, 0.6, 0.6), {}),
        ("default", "2d", (0,), (1, 1, 1), {}),
        ("anisotropic", "3d_fullres", (0,), (2, 1, 1), {"step": 1}),
    ],
)
def test_planes_are_nnunets_bit_for_bit(
    trained: Any,
    tmp_path: Path,
    variant: str,
    configuration: str,
    folds: tuple[int, ...],
    scale: tuple[float, float, float],
    options: dict[str, Any],
) -> None:
    dataset, model = trained(variant, configuration, folds)
    predictor = predictor_of(model, folds, **options)
    image = head(dataset, predictor, tmp_path, scale)
    expected = predictor.predict_logits_from_preprocessed_data(image)
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, predictor.tile_step_size)
    assert passage.along == 0
    assert torch.equal(planes_of(predictor, image, passage).logits, expected)


@pytest.mark.parametrize("along", [1, 2])
def test_other_order_of_windows_changes_ties_alone(trained: Any, tmp_path: Path, along: int) -> None:
    dataset, model = trained()
    predictor = predictor_of(model)
    scale = [1.0, 1.0, 1.0]
    scale[along] = 2.0
    image = head(dataset, predictor, tmp_path, (scale[0], scale[1], scale[2]))
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, predictor.tile_step_size)
    assert passage.along == along
    ours = planes_of(predictor, image, passage).logits
    theirs = predictor.predict_logits_from_preprocessed_data(image)
    best = theirs.float().topk(2, dim=0).values
    differ = ours.argmax(0) != theirs.argmax(0)
    print(f"{int(differ.sum())} of {differ.numel()} voxels differ")
    # Numbers of half precision, added in another order: their last two bits.
    assert float((ours.float() - theirs.float()).abs().max()) <= 4 * 2**-10 * float(theirs.abs().max())
    assert bool(((best[0] - best[1])[differ] <= 4 * 2**-10 * best[0][differ].abs().clamp_min(1)).all())
    assert int(differ.sum()) < 1e-4 * differ.numel()
