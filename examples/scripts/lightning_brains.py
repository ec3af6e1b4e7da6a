"""A Lightning module that segments brains: batches from a packed folder, whole volumes predicted in the validation.

python examples/scripts/lightning_brains.py [--epochs 5] [--folder brains]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

import fastnnunet_loader as fl
from fastnnunet_loader import demo

PATCH = (32, 32, 32)


class Segmenter(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        for channels, dilation in ((1, 1), (16, 2), (16, 4)):
            layers += [torch.nn.Conv3d(channels, 16, 3, padding=dilation, dilation=dilation), torch.nn.LeakyReLU()]
        self.network = torch.nn.Sequential(*layers, torch.nn.Conv3d(16, 3, 1))

    def training_step(self, batch: fl.Batch, _: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.network(batch["image"]), batch["label"][:, 0].long())
        self.log("loss", loss, prog_bar=True, batch_size=len(batch["case"]))
        return loss

    def validation_step(self, case: dict[str, Any], _: int) -> None:
        """Of a whole case."""
        predicted = fl.predict_volume(self.network, case["image"], PATCH, output="labels")
        for label, name in ((1, "grey"), (2, "white")):
            a, b = predicted == label, case["label"][0].to(predicted.device) == label
            dice = 2 * (a & b).sum() / (a.sum() + b.sum()).clamp(min=1)
            self.log(f"Dice of {name} matter", dice.float(), prog_bar=True, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("brains"))
    parser.add_argument("--accelerator", default="auto")
    args = parser.parse_args()
    if not args.folder.exists():
        demo.build_dataset(args.folder, 1, "brains", cases=6, resolution=4)
    raw, packed = args.folder / "Dataset001_brains", args.folder / "packed"
    *training, last = fl.pack(raw / "imagesTr", packed, labels=raw / "labelsTr", normalize="zscore", patch_size=PATCH)
    settings = {"patch_size": PATCH, "batch_size": 2, "seed": 0}
    augmentation = fl.augmentation.nnunet(PATCH)
    trainer = pl.Trainer(max_epochs=args.epochs, accelerator=args.accelerator, devices=1, logger=False)
    with (
        fl.DataLoader.from_folder(packed, cases=training, transforms=augmentation, batches_per_epoch=20, **settings) as train,
        fl.DataLoader.from_folder(packed, cases=[last], role="val", **settings) as val,
    ):
        whole_cases = torch.utils.data.DataLoader(val.dataset, batch_size=None)
        trainer.fit(Segmenter(), train, whole_cases)
    print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})


if __name__ == "__main__":
    main()
