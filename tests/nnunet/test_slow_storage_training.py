"""Trainings of data sets that are not on a disk of the machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import assert_finished, batches, output_folder, train

import fastnnunet_loader as fl
from buckets import bucket
from fastnnunet_loader.cli.train import add_arguments, run
from fastnnunet_loader.errors import CommandError
from fastnnunet_loader.loading.storage.preprocessed import mirror_preprocessed
from fastnnunet_loader.nnunet.augmenter import batches_to_come
from fastnnunet_loader.nnunet.sources import open_source
from fastnnunet_loader.nnunet.validation_cases import naming_bad_cases
from nnunet.trainers.nnUNetTrainerRecording import digest_of
from serving import serving


@pytest.mark.slow
@pytest.mark.long
def test_a_training_at_an_address(nnunet_dataset: Any, tmp_path: Path) -> None:
    """Batches, final validation and metrics, with files copied once; nothing but JSON and references stays in the mirror."""
    dataset, cache = nnunet_dataset("default"), tmp_path / "cache"
    with serving(dataset.preprocessed) as served:
        at = {"nnUNet_preprocessed": served.address, "RECORD_EPOCHS": "1"}
        done = train(dataset, tmp_path / "results", "--cache-dir", str(cache), environment=at)
        assert_finished(done, output_folder(dataset, tmp_path / "results"))
        sent = {name: count for name, count in served.sent.items() if name.endswith((".b2nd", ".pkl"))}
    assert sent and set(sent.values()) == {1}
    mirror = next((cache / "fastnnunet_cache" / "mirrors").glob("*/Dataset*"))
    filled = {file.suffix for file in mirror.rglob("*") if file.is_file() and file.stat().st_size}
    assert filled == {".json", ".gz"}


def test_a_training_in_a_bucket_has_the_batches_of_the_folder(
    environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fastnnunet train` with nnUNet_preprocessed=s3://..., and the keys in the environment."""
    dataset, results = environment, tmp_path / "results"
    settings: dict[str, Any] = {"seed": 4, "threads": 2, "pin_memory": False}
    source = open_source(dataset.name, "3d_fullres", 0, "nnUNetTrainerRecording")
    with fl.DataLoader.from_nnunet(source.train, **settings) as loader:
        next(loader)  # nnU-Net takes one before the first epoch
        wanted = [f"train 0 {digest_of(next(loader))}" for _ in range(3)]
    with bucket() as cases:
        address = cases.put(dataset.preprocessed, "nnUNet_preprocessed")
        at = {**cases.environment, "nnUNet_preprocessed": address, "RECORD_STOP_AFTER": "1"}
        done = train(dataset, results, "--cache-dir", str(tmp_path / "cache"), "--seed", "4", environment=at)
    assert done.returncode == 130, done.stdout[-2000:] + done.stderr[-3000:]  # stopped after an epoch
    assert batches(results)[:3] == wanted


def test_loaders_and_validation_at_an_address(environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's trainer on the folder that stands for the address: the batches and the cases are those on disk."""
    dataset, cache = environment, (tmp_path / "cache", None)

    def opened() -> Any:
        source = open_source(dataset.name, "3d_fullres", 0, "nnUNetTrainerRecording")
        settings: dict[str, Any] = {"seed": 4, "threads": 2, "pin_memory": False, "cache_dir": cache[0]}
        with fl.DataLoader.from_nnunet(source.train, **settings) as loader:
            return source.trainer, [next(loader) for _ in range(3)]

    _, wanted = opened()
    with serving(dataset.preprocessed) as served:
        monkeypatch.setenv("nnUNet_preprocessed", served.address)
        assert mirror_preprocessed(str(dataset.id), tmp_path / "cache") == dataset.name
        trainer, batches = opened()
        for ours, theirs in zip(batches, wanted, strict=True):
            assert ours["keys"] == theirs["keys"] and torch.equal(ours["data"], theirs["data"])
        trainer.num_epochs, trainer.current_epoch = 10, 4
        assert batches_to_come(trainer, 0) == 6 * trainer.num_iterations_per_epoch
        assert batches_to_come(trainer, 1) == 6 * trainer.num_val_iterations_per_epoch
        assert batches_to_come(trainer, 2) is None
        assert batches_to_come(None, 0) is None
        case = trainer.do_split()[1][0]
        with naming_bad_cases(trainer, False, False, print, cache=cache):
            data, segmentation, _, properties = trainer.dataset_class(trainer.preprocessed_dataset_folder, [case]).load_case(
                case
            )
            assert data.shape[1:] == segmentation.shape[1:] and data.std() > 0 and "class_locations" in properties
    folder = Path(trainer.preprocessed_dataset_folder_base)
    filled = {file.suffix for file in folder.rglob("*") if file.is_file() and file.stat().st_size}
    assert filled == {".json", ".gz"}


def test_what_an_address_needs_is_said(nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = nnunet_dataset("default")
    monkeypatch.setenv("nnUNet_results", str(tmp_path))

    def refusal(address: str, name: str, *options: str) -> str:
        monkeypatch.setenv("nnUNet_preprocessed", address)
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        with pytest.raises(CommandError) as error:
            run(parser.parse_args([name, "3d_fullres", "0", *options]))
        return str(error.value)

    cached = ("--cache-dir", str(tmp_path / "cache"))
    assert refusal("s3://bucket/data", "1") == (
        "[--cache-dir] expected a folder on a disk of this machine, for nnUNet_preprocessed is s3://bucket/data, got none"
    )
    assert "[--cache-size] expected --cache-dir" in refusal("s3://bucket/data", "1", "--cache-size", "1GB")
    with serving(dataset.preprocessed) as served:
        assert f"there are: {dataset.name}" in refusal(served.address, "999", *cached)
        (tmp_path / "packed" / "Dataset001_x" / "nnUNetPlans_3d_fullres").mkdir(parents=True)
        (tmp_path / "packed" / "Dataset001_x" / "nnUNetPlans_3d_fullres" / "case.npz").touch()
        served.folder = tmp_path / "packed"
        assert "expected .b2nd files at" in refusal(served.address + "/", "1", *cached)
