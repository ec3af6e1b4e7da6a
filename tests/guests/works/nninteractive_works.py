"""What a user writes for nnInteractive. It runs in its environment."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

_CHANNELS = 1 + 7  # the image, what was predicted before, and pairs for three kinds of interactions


def _model(trained: Path, folder: Path) -> Path:
    """A network of nnInteractive's, not trained: nobody publishes one that small."""
    (folder / "fold_0").mkdir()
    for name in ("plans.json", "dataset.json"):
        (folder / name).write_bytes((trained / name).read_bytes())
    (folder / "inference_info.json").write_text(
        json.dumps({"inference_class": "nnInteractiveInferenceSession"}), encoding="utf-8"
    )
    plans = PlansManager(str(folder / "plans.json"))
    torch.manual_seed(0)
    configuration = plans.get_configuration("3d_fullres")
    network = nnInteractiveTrainer_stub.build_network_architecture(plans, configuration, _CHANNELS, 2, False)
    checkpoint = {
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": "3d_fullres"},
        "network_weights": network.state_dict(),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def session() -> None:
    trained, image, results = map(Path, sys.argv[1:])
    voxels = np.asarray(nibabel.load(image).dataobj).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=2, do_autozoom=False)
        session.initialize_from_trained_model_folder(str(_model(trained, Path(folder))), 0, "checkpoint_final.pth")
    session.set_image(voxels[None])
    target = np.zeros(voxels.shape, dtype=np.uint8)
    session.set_target_buffer(target)
    session.add_point_interaction(tuple(size // 2 for size in voxels.shape), include_interaction=True)
    session.add_point_interaction(tuple(size // 3 for size in voxels.shape), include_interaction=False)
    nibabel.save(nibabel.Nifti1Image(target, np.eye(4)), results / "object.nii.gz")
