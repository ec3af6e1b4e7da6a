"""What install() reaches, and what uninstall() puts back."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.evaluation import evaluate_predictions
from nnunetv2.run import run_training
from nnunetv2.training.dataloading import utils as unpacking
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from own_trainers import prepared
from training_runs import log_of

import fastnnunet_loader as fl

AUGMENTERS = (NonDetMultiThreadedAugmenter, MultiThreadedAugmenter, SingleThreadedAugmenter)


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    fl.install(threads=2, seed=1)
    yield
    fl.uninstall()


def close(trainer: Any) -> None:
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        getattr(augmenter, "_finish", lambda: None)()


def batch_shape(trainer: Any) -> tuple[int, ...]:
    configuration = trainer.configuration_manager
    return (configuration.batch_size, 1, *configuration.patch_size)


@pytest.mark.parametrize(
    "name",
    [
        "nnUNetTrainer",
        "nnUNetTrainerDA5",
        "nnUNetTrainerDA5ord0",
        "nnUNetTrainerDA5Segord0",
        "nnUNetTrainer_DASegOrd0",
        "nnUNetTrainerNoDA",
        "nnUNetTrainerNoMirroring",
        "nnUNetTrainer_onlyMirror01",
        "nnUNetTrainer_noDummy2DDA",
        "nnUNetTrainer_probabilisticOversampling_033",
        "nnUNetTrainerNoDeepSupervision",
        "nnUNetTrainerRecording",  # in a folder of nnUNet_extTrainer
    ],
)
def test_trainers_found_by_name(environment: Any, name: str) -> None:
    trainer = prepared(environment, name)
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        assert isinstance(augmenter, NonDetMultiThreadedAugmenter), "on_train_end asks this"
        batch = next(augmenter)
        assert tuple(batch["data"].shape) == batch_shape(trainer)
        assert len(batch["keys"]) == batch_shape(trainer)[0]
    assert not multiprocessing.active_children()
    close(trainer)


class OwnLoaders(nnUNetTrainer):
    """A trainer of a script, made before install(), that builds nnU-Net's loaders itself and calls nothing of nnU-Net's."""

    def get_dataloaders(self) -> tuple[Any, Any]:
        dataset, validation = self.get_tr_and_val_datasets()
        patch = self.configuration_manager.patch_size
        transforms = self.get_validation_transforms(self._get_deep_supervision_scales())
        loaders = [
            nnUNetDataLoader(
                data, self.batch_size, patch, patch, self.label_manager, oversample_foreground_percent=1.0,
                transforms=transforms,
            )
            for data in (dataset, validation)
        ]  # fmt: skip
        return (
            NonDetMultiThreadedAugmenter(loaders[0], None, 4, pin_memory=False),
            MultiThreadedAugmenter(loaders[1], None, num_processes=2),
        )


def test_trainer_of_a_script_with_loaders_of_its_own(environment: Any) -> None:
    trainer = prepared(environment, OwnLoaders)
    assert isinstance(trainer.dataloader_train, NonDetMultiThreadedAugmenter)
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        assert tuple(next(augmenter)["data"].shape) == batch_shape(trainer)
    assert not multiprocessing.active_children()
    close(trainer)


def test_same_seed_same_batches_and_other_streams_for_each_loader(environment: Any) -> None:
    def first() -> tuple[torch.Tensor, torch.Tensor]:
        trainer = prepared(environment, "nnUNetTrainer")
        batches = next(trainer.dataloader_train)["data"].clone(), next(trainer.dataloader_val)["data"].clone()
        close(trainer)
        return batches

    one, other = first(), first()
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    trainer = prepared(environment, "nnUNetTrainer")
    roles = [
        augmenter.loader.sampled(step, 0)
        for augmenter in (trainer.dataloader_train, trainer.dataloader_val)
        for step in range(8)
    ]
    assert [window for _, _, window in roles[:8]] != [window for _, _, window in roles[8:]]
    close(trainer)


def test_loaders_built_directly_take_nothing_from_a_training(environment: Any) -> None:
    """`get_dataloaders()` may be called to look at batches: each call gives others, and the training that follows its own."""
    trainer = prepared(environment, "nnUNetTrainer", start=False)
    looked = [trainer.get_dataloaders() for _ in range(2)]
    assert [[augmenter.loader.role for augmenter in pair] for pair in looked] == [[0, 1], [2, 3]]
    first = next(looked[0][0])["data"]
    assert not torch.equal(first, next(looked[1][0])["data"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.on_train_start()
    assert all(augmenter.loader.closed for pair in looked for augmenter in pair)
    assert torch.equal(first, next(trainer.dataloader_train)["data"])
    close(trainer)


def test_loaders_made_anew_in_a_training_go_on(environment: Any) -> None:
    whole = prepared(environment, "nnUNetTrainer")
    expected = [next(whole.dataloader_train)["data"].clone() for _ in range(4)]
    close(whole)
    trainer = prepared(environment, "nnUNetTrainer")
    got = [next(trainer.dataloader_train)["data"].clone() for _ in range(2)]
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    got.append(next(trainer.dataloader_train)["data"].clone())
    close(trainer)  # as some trainers do before they make others
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    got.append(next(trainer.dataloader_train)["data"].clone())
    close(trainer)
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


def test_loaders_of_a_script_end_with_their_last_reference(environment: Any) -> None:
    trainer = prepared(environment, "nnUNetTrainer", start=False)
    source = trainer.get_dataloaders()[0].data_loader
    made = NonDetMultiThreadedAugmenter(source, None, 1)
    next(made)
    gone = weakref.ref(made.loader)
    del made
    gc.collect()
    assert gone() is None


def test_only_trainers_that_are_found_by_name_have_a_line_that_finds_them(environment: Any) -> None:
    class OfThisScript(nnUNetTrainer):  # type: ignore[misc]
        pass

    for kind, found in (("nnUNetTrainerRecording", True), (OfThisScript, False)):
        trainer = prepared(environment, kind)
        assert (trainer.dataloader_train.loader.origin is not None) is found
        close(trainer)


def test_the_validation_leaves_a_trainers_own_split(environment: Any) -> None:
    from fastnnunet_loader.nnunet.validation_cases import naming_bad_cases

    trainer = prepared(environment, "nnUNetTrainer", start=False)
    kind, cases = trainer.dataset_class, trainer.do_split()[1]
    for own in (None, lambda: ([], cases[:1])):
        if own is not None:
            trainer.do_split = own
        for skip in (True, False):
            with naming_bad_cases(trainer, skip, False, print):
                assert trainer.do_split()[1] == (cases if own is None else cases[:1])
                assert trainer.dataset_class is not kind
            assert trainer.dataset_class is kind
            assert vars(trainer).get("do_split") is own


def test_drawn_seed_is_logged_and_new_each_time(environment: Any) -> None:
    fl.install(threads=2)
    seeds = set()
    for _ in range(2):
        trainer = prepared(environment, "nnUNetTrainer")
        seed = trainer.dataloader_train.loader.seed
        assert trainer.dataloader_val.loader.seed == seed
        assert f"seed {seed}" in log_of(Path(trainer.output_folder))
        seeds.add(seed)
        close(trainer)
    assert len(seeds) == 2


@pytest.mark.parametrize(("given", "threads"), [("0", 1), ("1", 1), ("1000", fl.available_cores())])
def test_number_of_processes_is_number_of_threads(
    environment: Any, monkeypatch: pytest.MonkeyPatch, given: str, threads: int
) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", given)  # with 0 nnU-Net builds SingleThreadedAugmenter
    fl.install(seed=1)
    trainer = prepared(environment, "nnUNetTrainer")
    assert trainer.dataloader_train.loader.threads == threads
    log = Path(trainer.log_file).read_text(encoding="utf-8")
    assert ("nnUNet_n_proc_DA asks for 1000 threads, but this process has" in log) == (given == "1000")
    next(trainer.dataloader_train)
    close(trainer)


def test_loaders_are_closed_when_a_training_fails(environment: Any) -> None:
    class Failing(OwnLoaders):
        def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
            self.seen = self.dataloader_train.loader
            raise ArithmeticError("diverged")

    trainer = prepared(environment, Failing, start=False)
    with pytest.raises(ArithmeticError, match="diverged"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.run_training()
    with pytest.raises(fl.LoaderClosedError):
        next(trainer.seen)


def test_sampling_of_ones_own_stays_nnunets(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnPatches(nnUNetDataLoader):
        def get_bbox(self, *args: Any, **kwargs: Any) -> Any:
            return super().get_bbox(*args, **kwargs)

    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setattr(trainer_module, "nnUNetDataLoader", OwnPatches)
    trainer = prepared(environment, "nnUNetTrainer")
    assert type(trainer.dataloader_train) is SingleThreadedAugmenter
    assert tuple(next(trainer.dataloader_train)["data"].shape) == batch_shape(trainer)
    assert "OwnPatches" in log_of(Path(trainer.output_folder)), "the log must say that nnU-Net's own loader is used, and why"


def test_loaders_of_others_are_left_alone() -> None:
    batches = SingleThreadedAugmenter(iter([{"data": 1}, {"data": 2}]), None)
    assert type(batches) is SingleThreadedAugmenter
    assert [next(batches)["data"], next(batches)["data"]] == [1, 2]


def test_checkpoint_has_the_state_and_nnunets_own_keys(environment: Any) -> None:
    trainer = prepared(environment, "nnUNetTrainer")
    next(trainer.dataloader_train)
    file = Path(trainer.output_folder) / "saved.pth"
    trainer.logger.log("mean_fg_dice", 0.5, 0)
    trainer.save_checkpoint(str(file))
    content = torch.load(file, map_location="cpu", weights_only=False)
    assert [state["step"] for state in content["fastnnunet_loader"]["loaders"]] == [2, 1]
    close(trainer)

    fl.uninstall()
    plain = prepared(environment, "nnUNetTrainer", start=False)
    plain.load_checkpoint(str(file))
    assert plain.current_epoch == 1
    plain.save_checkpoint(str(file))
    assert "fastnnunet_loader" not in torch.load(file, map_location="cpu", weights_only=False)


def test_trainer_that_saves_and_loads_by_itself(environment: Any) -> None:
    """nnUNetTrainer_warmup has a load_checkpoint of its own that calls no base; users' trainers have such too."""

    class OwnCheckpoint(OwnLoaders):
        def save_checkpoint(self, filename: str) -> None:
            torch.save({"network_weights": self.network.state_dict(), "epoch": 3}, filename)

        def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
            read = torch.load(filename_or_checkpoint, map_location="cpu", weights_only=False)
            self.network.load_state_dict(read["network_weights"])
            self.current_epoch = read["epoch"]

    trainer = prepared(environment, OwnCheckpoint)
    for _ in range(4):
        next(trainer.dataloader_train)
    file = Path(trainer.output_folder) / "saved.pth"
    trainer.save_checkpoint(str(file))
    expected = next(trainer.dataloader_train)["data"].clone()
    close(trainer)

    continued = prepared(environment, OwnCheckpoint, start=False)
    continued.load_checkpoint(str(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        continued.on_train_start()
    assert torch.equal(next(continued.dataloader_train)["data"], expected)
    close(continued)


def test_unpacking_and_metrics_run_on_threads_of_this_process(tmp_path: Path) -> None:
    import numpy as np

    for name in ("a", "b", "c"):
        np.savez(tmp_path / f"{name}.npz", data=np.zeros((1, 2, 2, 2)), seg=np.ones((1, 2, 2, 2), np.int8))
    before = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").is_dir() else set()
    unpacking.unpack_dataset(str(tmp_path), num_processes=2)
    assert sorted(p.name for p in tmp_path.glob("*.npy")) == [f"{n}{s}.npy" for n in "abc" for s in ("", "_seg")]
    with evaluate_predictions.multiprocessing.get_context("spawn").Pool(3) as pool:
        assert all(worker.is_alive() for worker in pool._pool)
        started = [pool.starmap_async(here, ((i,),)) for i in range(5)]
        assert [s.get()[0][0] for s in started] == [0, 1, 2, 3, 4]
        assert {s.get()[0][1] for s in started} == {os.getpid()}
        assert threading.get_ident() not in {s.get()[0][2] for s in started}
    assert not multiprocessing.active_children()
    if Path("/dev/shm").is_dir():
        assert set(Path("/dev/shm").iterdir()) <= before


def here(number: int) -> tuple[int, int, int]:
    return number, os.getpid(), threading.get_ident()


def test_error_in_a_pool_reaches_the_caller() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        evaluate_predictions.multiprocessing.get_context("spawn").Pool(2) as pool,
    ):
        pool.starmap(divmod, [(1, 1), (1, 0)])


def test_what_only_calls_itself_a_module_is_left_alone() -> None:
    """A library of cffi's among the modules has no names. cryptography, which clients of S3 import, brings one."""
    importlib.import_module("cryptography.hazmat.bindings._rust")
    there = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    assert not all(issubclass(type(module), ModuleType) for module in there)
    fl.uninstall()
    fl.install()
    fl.uninstall()


def test_uninstall_puts_everything_back(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = importlib.import_module("tqdm").tqdm

    def observed() -> list[Any]:
        return [
            *(vars(nnUNetTrainer)[name] for name in ("run_training", "on_train_start", "on_train_end", "on_epoch_end")),
            *(vars(nnUNetTrainer)[name] for name in ("save_checkpoint", "load_checkpoint")),
            *(getattr(module, "multiprocessing", None) for module in (trainer_module, evaluate_predictions, unpacking)),
            *(augmenter.__init__ for augmenter in AUGMENTERS),
            run_training.run_ddp, run_training.mp, torch.save, torch.load, vars(tqdm).get("_lock"),
            os.environ.get("TORCHINDUCTOR_COMPILE_THREADS"),
        ]  # fmt: skip

    fl.uninstall()
    fl.uninstall()
    before = observed()
    fl.install()
    fl.install(threads=1)
    assert observed() != before
    fl.uninstall()
    assert observed() == before

    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    trainer = prepared(environment, "nnUNetTrainer")
    assert type(trainer.dataloader_train) is SingleThreadedAugmenter
    assert type(NonDetMultiThreadedAugmenter(iter([]), None, 1)) is NonDetMultiThreadedAugmenter


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"threads": 0}, "threads"), ({"seed": -1}, "seed"), ({"on_bad_case": "hide"}, "on_bad_case"),
     ({"memory_budget": "much"}, "memory_budget")],
)  # fmt: skip
def test_arguments_out_of_range(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        fl.install(**wrong)
