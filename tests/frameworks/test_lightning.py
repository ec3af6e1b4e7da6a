"""Trainings of PyTorch Lightning with the loader as it is: nothing is replaced, nothing is warned of, and they resume."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

# Lightning's own, with torch 2.14 and its defaults; none is about loaders.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numpy_folder(tmp_path_factory.mktemp("lightning") / "cases")


class Segmenter(pl.LightningModule):  # type: ignore[misc]
    """One convolution. It keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Conv3d(1, 4, 3, padding=1)
        self.seen: list[tuple[str, int, list[str], float]] = []

    def _loss(self, kind: str, batch: Any) -> torch.Tensor:
        self.seen.append((kind, self.current_epoch, batch["case"], float(batch["image"].mean())))
        scores = self.network(batch["image"] / 1e5)
        return torch.nn.functional.cross_entropy(scores, batch["label"][:, 0].clamp(min=0).long())

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        return self._loss("train", batch)

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("val_loss", self._loss("val", batch), batch_size=len(batch["case"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def trainer(folder: Path, **settings: Any) -> Any:
    return pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, num_sanity_val_steps=0, **settings,
    )  # fmt: skip


def loaders(root: Path, seed: int = 5) -> tuple[fl.DataLoader, fl.DataLoader]:
    val = {"cases": ["case_3"], "role": "val", "oversample_foreground": 0}
    return open_folder(root, batches_per_epoch=4, seed=seed), open_folder(root, batches_per_epoch=2, seed=seed, **val)


def test_a_training_gets_the_loaders_batches(root: Path, tmp_path: Path) -> None:
    train, val = loaders(root)
    with train, val, open_folder(root) as plain:
        model = Segmenter()
        fitted = trainer(tmp_path, max_epochs=3, enable_checkpointing=False)
        fitted.fit(model, train, val)  # every warning is an error here
        assert fitted.train_dataloader is train
        assert fitted.val_dataloaders is val
        assert fitted.num_training_batches == 4
        assert [(kind, epoch) for kind, epoch, *_ in model.seen] == [
            (kind, epoch) for epoch in range(3) for kind in ["train"] * 4 + ["val"] * 2
        ]
        expected = [next(plain) for _ in range(12)]
        got = [one[2:] for one in model.seen if one[0] == "train"]
        assert got == [(batch["case"], float(batch["image"].mean())) for batch in expected]
        assert all(cases == ["case_3"] * 3 for kind, _, cases, _ in model.seen if kind == "val")


def saving(folder: Path, steps: int) -> Any:
    return ModelCheckpoint(folder / "saved", every_n_train_steps=steps, filename="stopped")


@pytest.mark.parametrize("stop_at", [2, 4, 6])
def test_a_training_resumes_in_its_checkpoint(root: Path, tmp_path: Path, stop_at: int) -> None:
    """In the middle of an epoch, and at its end; the checkpoint is Lightning's own, which has the state of the loader."""
    train, val = loaders(root)
    with train, val:
        whole = Segmenter()
        trainer(tmp_path, max_epochs=3, enable_checkpointing=False).fit(whole, train, val)
    train, val = loaders(root)
    with train, val:
        first = Segmenter()
        trainer(tmp_path, max_steps=stop_at, callbacks=[saving(tmp_path, stop_at)]).fit(first, train, val)
    saved = tmp_path / "saved" / "stopped.ckpt"
    (state,) = torch.load(saved, weights_only=True)["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert state["step"] == stop_at
    train, val = loaders(root, seed=99)
    with train, val:
        second = Segmenter()
        trainer(tmp_path, max_epochs=3, callbacks=[saving(tmp_path, stop_at)]).fit(second, train, val, ckpt_path=saved)
        assert train.seed == 5
    batches = [[one[2:] for one in model.seen if one[0] == "train"] for model in (whole, first, second)]
    assert len(batches[1]) == stop_at
    assert batches[1] + batches[2] == batches[0]


def test_a_loader_without_a_length_needs_limits(root: Path, tmp_path: Path) -> None:
    with open_folder(root) as train:
        model = Segmenter()
        limits = {"limit_train_batches": 3, "limit_val_batches": 1}
        trainer(tmp_path, max_epochs=2, enable_checkpointing=False, **limits).fit(model, train, train)
        assert [kind for kind, *_ in model.seen] == ["train", "train", "train", "val"] * 2


def test_overfitting_to_a_few_batches_is_refused(root: Path, tmp_path: Path) -> None:
    """Lightning would take the first batches of every epoch for the same ones."""
    with (
        open_folder(root, batches_per_epoch=4) as train,
        pytest.warns(UserWarning, match="requested to overfit"),
        pytest.raises(ValueError, match="needs to subclass"),
    ):
        trainer(tmp_path, max_epochs=2, overfit_batches=2, enable_checkpointing=False).fit(Segmenter(), train, train)
