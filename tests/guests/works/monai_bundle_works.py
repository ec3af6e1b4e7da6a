"""What a user writes for MONAI's bundle of nnU-Net. It runs in MONAI's environment."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.apps.nnunet.nnunet_bundle import convert_nnunet_to_monai_bundle, get_nnunet_monai_predictor, get_nnunet_trainer
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.transforms import LoadImage


def _batch(batch: dict[str, Any], device: torch.device, *_: Any, **__: Any) -> tuple[Any, Any]:
    return batch["data"].to(device), [target.to(device) for target in batch["target"]]


def train() -> None:
    (dataset,) = sys.argv[1:]
    nnunet = get_nnunet_trainer(dataset, "3d_fullres", 0, trainer_class_name="nnUNetTrainer", device="cpu")
    losses: list[float] = []

    class Noting(SupervisedTrainer):
        def _iteration(self, engine: Any, batch: Any) -> Any:
            output = super()._iteration(engine, batch)
            losses.append(float(output["loss"]))
            return output

    Noting(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=nnunet.dataloader_train,
        network=nnunet.network,
        optimizer=nnunet.optimizer,
        loss_function=nnunet.loss,
        epoch_length=3,
        prepare_batch=_batch,
        decollate=False,
    ).run()
    assert len(losses) == 6, losses
    assert all(math.isfinite(loss) for loss in losses), losses


def predict() -> None:
    dataset, results, image = sys.argv[1:]
    bundle = Path(results)
    (bundle / "models").mkdir()
    convert_nnunet_to_monai_bundle({"dataset_name_or_id": dataset}, str(bundle))
    wrapper = get_nnunet_monai_predictor(bundle / "models" / "fold_0")
    wrapper.predictor.device = torch.device("cpu")  # it is for CUDA, and nothing says otherwise
    wrapper.predictor.perform_everything_on_device = False
    (batch,) = DataLoader(Dataset([image], LoadImage(ensure_channel_first=True)), batch_size=1)
    predicted = wrapper(batch)
    labels = np.asarray(predicted[0, 0]).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), bundle / "segmentation.nii.gz")
