"""A 2D classification: does a slice of a brain show more white than grey matter?

python examples/scripts/classify_slices.py [--iterations 300] [--folder brains]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from segment_brains import read_brains

import fastnnunet_loader as fl

PATCH = (48, 48)


def slices_of(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Axial slices (1, 1, Y, Z) that show a brain, and the class of each."""
    images, labels = read_brains(folder)
    slices, classes = {}, {}
    for name, image in images.items():
        for z in range(image.shape[-1]):
            grey, white = ((labels[name][0, ..., z] == label).sum() for label in (1, 2))
            if grey + white > 50:
                slices[f"{name}_{z:03d}"] = np.ascontiguousarray(image[:, None, ..., z])
                classes[f"{name}_{z:03d}"] = int(white > grey)
    return slices, classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("brains"))
    args = parser.parse_args()
    slices, classes = slices_of(args.folder)
    held_out = [name for name in slices if name.startswith("brain_005")]
    training = {name: image for name, image in slices.items() if name not in held_out}
    layers = [torch.nn.Conv2d(1, 16, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    settings = {"patch_size": PATCH, "batch_size": 16, "transforms": fl.augmentation.nnunet(PATCH), "seed": 0}
    per_case = {"class": {name: classes[name] for name in training}}
    with fl.DataLoader.from_arrays(training, per_case=per_case, batches_per_epoch=args.iterations, **settings) as loader:
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(network(batch["image"]), batch["class"].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        right = [int(network(torch.from_numpy(slices[name][:, 0][None])).argmax()) == classes[name] for name in held_out]
    print(f"{np.mean(right):.3f} of {len(right)} slices of a brain that was not seen are right")


if __name__ == "__main__":
    main()
