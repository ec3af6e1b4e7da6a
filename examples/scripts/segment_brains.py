"""From NIfTI to a picture of predictions with MONAI's networks and transforms: grey and white matter of brains.

python examples/scripts/segment_brains.py [--network segresnet|unet] [--iterations 200] [--folder brains]
"""

import argparse
from pathlib import Path

import monai.transforms as mt
import nibabel
import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import SegResNet, UNet
from PIL import Image

import fastnnunet_loader as fl
from fastnnunet_loader import demo

PATCH, BOTH, MODES = (32, 32, 32), ["image", "label"], ("bilinear", "nearest")
NETWORKS = {
    "segresnet": lambda: SegResNet(in_channels=1, out_channels=3, init_filters=8),
    "unet": lambda: UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(8, 16, 32), strides=(2, 2)),
}


def random_transforms() -> mt.Compose:
    return mt.Compose(
        [
            mt.RandCropByPosNegLabeld(BOTH, label_key="label", spatial_size=PATCH, pos=1, neg=1),
            mt.RandFlipd(BOTH, prob=0.5, spatial_axis=0),
            mt.RandAffined(BOTH, prob=0.3, rotate_range=(0.3,) * 3, scale_range=(0.2,) * 3, mode=MODES, padding_mode="border"),
            mt.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
        ]
    )


def read_brains(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Images (1, X, Y, Z) float32, normalised, and labels (1, X, Y, Z), by the names of cases."""
    if not folder.exists():
        demo.build_dataset(folder, 1, "brains", cases=6, resolution=4)
    images, labels = {}, {}
    for file in sorted(folder.glob("*/imagesTr/*.nii.gz")):
        name = file.name.removesuffix("_0000.nii.gz")
        image = np.asarray(nibabel.load(file).dataobj, np.float32)
        images[name] = ((image - image.mean()) / image.std())[None]
        labels[name] = np.asarray(nibabel.load(file.parents[1] / "labelsTr" / f"{name}.nii.gz").dataobj, np.uint8)[None]
    return images, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="segresnet")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("brains"))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    images, labels = read_brains(args.folder)
    (last, shown), (_, reference) = images.popitem(), labels.popitem()  # for validation
    network, loss_of = NETWORKS[args.network]().to(args.device), DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    settings = {"patch_size": PATCH, "batch_size": 2, "oversample_foreground": 0.5, "batches_per_epoch": args.iterations}
    settings["transforms"] = fl.augmentation.from_monai(random_transforms())  # prints what differs from MONAI
    with fl.DataLoader.from_arrays(images, labels, seed=0, **settings) as loader:
        for batch in loader:
            loss = loss_of(network(batch["image"].to(args.device)), batch["label"].to(args.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    predicted = fl.predict_volume(network, shown, PATCH, output="labels", mirror_axes=(0,))
    for label, name in ((1, "grey"), (2, "white")):
        a, b = predicted == label, reference[0] == label
        print(f"{name} matter of {last}: Dice {2 * (a & b).sum() / max(1, a.sum() + b.sum()):.3f}")
    volumes = np.hstack([np.clip(shown[0] * 60 + 90, 0, 255), reference[0] * 120, predicted * 120])
    Image.fromarray(volumes[..., shown.shape[-1] // 2].astype(np.uint8)).save("prediction.png")


if __name__ == "__main__":
    main()
