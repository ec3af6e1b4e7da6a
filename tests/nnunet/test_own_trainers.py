"""Trainers of users: hooks with arguments and return values, loaders and augmenters of their own."""

from __future__ import annotations

import json
import multiprocessing
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from own_trainers import Short, prepared
from training_runs import log_of

import fastnnunet_loader as fl


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    fl.install(threads=2, seed=1)
    yield
    fl.uninstall()


def run(trainer: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnU-Net's own
        return trainer.run_training(*args, **kwargs)


HOOKS = (
    "on_train_start",
    "on_epoch_end",
    "on_train_end",
    "run_training",
    "perform_actual_validation",
    "save_checkpoint",
    "load_checkpoint",
)


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("way", ["positional", "keyword", "none"])
def test_hooks_get_their_arguments_and_return_their_values(environment: Any, name: str, way: str) -> None:
    seen: list[Any] = []

    def hook(self: Any, first: Any = None, *, second: Any = None) -> str:
        seen.append((first, second))
        return "mine"

    trainer = prepared(environment, type("Own", (Short,), {name: hook}), start=False)
    arguments = {"positional": (("a",), {}), "keyword": ((), {"first": "a", "second": "b"}), "none": ((), {})}
    args, kwargs = arguments[way]
    assert getattr(trainer, name)(*args, **kwargs) == "mine"
    assert seen == [{"positional": ("a", None), "keyword": ("a", "b"), "none": (None, None)}[way]]


def test_loaders_get_their_arguments(environment: Any) -> None:
    class Own(Short):
        def get_dataloaders(self, extra: Any = None) -> Any:
            self.seen = extra
            return super().get_dataloaders()

    trainer = prepared(environment, Own, start=False)
    made = trainer.get_dataloaders(extra=3)
    assert trainer.seen == 3
    assert len(made) == 2
    for augmenter in made:
        augmenter._finish()


def test_early_stopping(environment: Any) -> None:
    class Stops(Short):
        def on_epoch_end(self) -> bool:
            super().on_epoch_end()
            return self.current_epoch == 2

        def run_training(self, most: int = 5) -> str:
            self.on_train_start()
            for _ in range(most):
                self.on_epoch_start()
                self.on_train_epoch_start()
                self.on_train_epoch_end([self.train_step(next(self.dataloader_train))])
                with torch.no_grad():
                    self.on_validation_epoch_start()
                    self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val))])
                if self.on_epoch_end():
                    break
            self.on_train_end()
            return "stopped"

    trainer = prepared(environment, Stops, start=False)
    assert run(trainer, most=4) == "stopped"
    assert trainer.current_epoch == 2


def test_validation_returns_what_the_trainer_returns(environment: Any) -> None:
    class Metrics(Short):
        def perform_actual_validation(self, save_probabilities: bool = False) -> float:
            super().perform_actual_validation(save_probabilities)
            summary = json.loads((Path(self.output_folder) / "validation" / "summary.json").read_text(encoding="utf-8"))
            return float(summary["foreground_mean"]["Dice"])

    trainer = prepared(environment, Metrics, start=False)
    run(trainer)
    assert 0 <= trainer.perform_actual_validation() <= 1


def test_augmenters_have_nnunets_attributes(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for processes in ("2", "0"):
        monkeypatch.setenv("nnUNet_n_proc_DA", processes)
        trainer = prepared(environment, Short)
        for augmenter, processes_of in ((trainer.dataloader_train, 2), (trainer.dataloader_val, 1)):
            assert augmenter.generator is augmenter.data_loader
            assert augmenter.generator.transforms is not None
            assert augmenter.transform is None
            assert augmenter._processes == []
            if processes == "2":
                assert augmenter.num_processes == processes_of
                assert augmenter.num_cached >= 3
                assert augmenter.pin_memory is False
                assert augmenter.wait_time == 0.002
            augmenter._finish()
        debug = json.loads((Path(trainer.output_folder) / "debug.json").read_text(encoding="utf-8"))
        assert "SpatialTransform" in debug["dataloader_train.generator.transforms"]
        assert "dataloader_val.transform" in debug


def test_debug_json_has_all_that_nnunet_writes(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")
    trainer = prepared(environment, Short)
    ours = json.loads((Path(trainer.output_folder) / "debug.json").read_text(encoding="utf-8"))
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        augmenter._finish()
    fl.uninstall()
    plain = prepared(environment, Short)
    theirs = json.loads((Path(plain.output_folder) / "debug.json").read_text(encoding="utf-8"))
    for augmenter in (plain.dataloader_train, plain.dataloader_val):
        augmenter._finish()
    assert ours.keys() == theirs.keys()
    for key in (
        "dataloader_train.generator.transforms",
        "dataloader_val.generator.transforms",
        "dataloader_train.num_processes",
    ):
        assert ours[key] == theirs[key]


class Three(Short):
    """A training with a third loader, of cases without labels, say."""

    def get_dataloaders(self) -> Any:
        made = super().get_dataloaders()
        self.third, self.fourth = super().get_dataloaders()
        return made


def test_several_loaders_have_batches_of_their_own_and_one_budget(environment: Any) -> None:
    fl.install(threads=2, seed=1, memory_budget="600MB")
    trainer = prepared(environment, Three)
    augmenters = [trainer.dataloader_train, trainer.dataloader_val, trainer.third, trainer.fourth]
    assert [augmenter.loader.role for augmenter in augmenters] == [0, 1, 2, 3]
    assert sum(augmenter.loader.memory_budget for augmenter in augmenters) <= 600 * 2**20
    batches = [next(augmenter)["data"] for augmenter in (augmenters[0], augmenters[2])]
    assert not torch.equal(*batches)
    assert not multiprocessing.active_children()
    loaders = [augmenter.loader for augmenter in augmenters]
    trainer.num_epochs = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.on_train_end()
    assert all(loader.closed for loader in loaders)


def test_every_loader_is_closed_when_a_training_fails(environment: Any) -> None:
    class Fails(Three):
        def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
            raise ArithmeticError("diverged")

    trainer = prepared(environment, Fails, start=False)
    with pytest.raises(ArithmeticError):
        run(trainer)
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val, trainer.third, trainer.fourth):
        assert augmenter.loader.closed


def test_a_loader_that_others_took_the_place_of_has_batches_of_its_own(environment: Any) -> None:
    trainer = prepared(environment, Short)
    old = trainer.dataloader_train
    first = next(old)["data"].clone()
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    assert old.loader.closed, "two caches would exceed the budget"
    seen = [first, next(trainer.dataloader_train)["data"].clone(), next(old)["data"].clone(), next(old)["data"].clone()]
    for number, batch in enumerate(seen):
        assert not any(torch.equal(batch, other) for other in seen[:number])
    budgets = [a.loader.memory_budget for a in (old, trainer.dataloader_train, trainer.dataloader_val)]
    assert max(budgets) == min(budgets)
    with pytest.raises(ArithmeticError):
        run_and_fail(trainer)
    assert old.loader.closed


def run_and_fail(trainer: Any) -> None:
    def fail() -> None:
        raise ArithmeticError

    trainer.on_train_start = fail
    trainer.run_training()


# Augmenters of users


class WithLength(NonDetMultiThreadedAugmenter):
    """As nnU-Net v1's LimitedLenWrapper: the data loader is not its first argument."""

    def __init__(self, length: int, *args: Any, **kwargs: Any) -> None:
        self.before = "kept"
        super().__init__(*args, **kwargs)
        self.length = length

    def __len__(self) -> int:
        return self.length


class Scaling(MultiThreadedAugmenter):
    def __next__(self) -> Any:
        batch = super().__next__()
        return {**batch, "scaled": batch["data"] * 2}


class OfOneThread(SingleThreadedAugmenter):
    def name(self) -> str:
        return "mine"


class OwnStart(NonDetMultiThreadedAugmenter):
    def _start(self) -> None:
        super()._start()


class WithoutBase(NonDetMultiThreadedAugmenter):
    def __init__(self, data_loader: Any) -> None:
        self.generator = data_loader
        self._processes: list[Any] = []
        self.initialized = False

    def __next__(self) -> Any:
        return next(self.generator)


def of_augmenter(make: Any) -> type:
    class Own(Short):
        def get_dataloaders(self) -> Any:
            training, validation = super().get_dataloaders()
            training._finish()
            return make(training.data_loader), validation

    return Own


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (WithLength, lambda data: WithLength(7, data, None, 2, seeds=None)),
        (Scaling, lambda data: Scaling(data, None, num_processes=2)),
        (OfOneThread, lambda data: OfOneThread(data, transform=None)),
    ],
)
def test_subclassed_augmenters_are_replaced(environment: Any, kind: type, make: Any) -> None:
    trainer = prepared(environment, of_augmenter(make))
    augmenter = trainer.dataloader_train
    batch = next(augmenter)
    assert isinstance(augmenter, kind)
    assert isinstance(augmenter, NonDetMultiThreadedAugmenter), "on_train_end asks this"
    assert not multiprocessing.active_children()
    if kind is WithLength:
        assert len(augmenter) == 7
        assert augmenter.before == "kept"
        assert augmenter.num_processes == 2
    elif kind is Scaling:
        assert torch.equal(batch["scaled"], batch["data"] * 2)
    else:
        assert augmenter.name() == "mine"
    assert "keeps its worker processes" not in log_of(Path(trainer.output_folder))
    for made in (augmenter, trainer.dataloader_val):
        made._finish()
    assert augmenter.loader.closed


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda data: OwnStart(data, None, 1), "OwnStart"),
        (WithoutBase, "WithoutBase"),
        (lambda data: NonDetMultiThreadedAugmenter(data, lambda **batch: batch, 1), "transforms in the data loader"),
    ],
)
def test_other_augmenters_are_nnunets_and_named(environment: Any, make: Any, name: str) -> None:
    trainer = prepared(environment, of_augmenter(make))
    said = [line for line in log_of(Path(trainer.output_folder)).splitlines() if "worker processes" in line]
    assert len(said) == 1
    assert name in said[0]
    assert next(trainer.dataloader_train)["data"].ndim == 5
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        augmenter._finish()


@pytest.mark.parametrize("left", ["training", "validation"])
def test_a_loader_can_be_left_to_nnunet(environment: Any, monkeypatch: pytest.MonkeyPatch, left: Any) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    fl.install(threads=2, seed=1, leave_to_nnunet=[left])
    trainer = prepared(environment, Short)
    kinds = [type(augmenter) is SingleThreadedAugmenter for augmenter in (trainer.dataloader_train, trainer.dataloader_val)]
    assert kinds == [left == "training", left == "validation"]
    assert f"the {left} loader is left to nnU-Net" in log_of(Path(trainer.output_folder))
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        getattr(augmenter, "_finish", lambda: None)()


class HoldsTheLock(BasicTransform):  # type: ignore[misc]
    """Python code that does not let other threads run."""

    def apply(self, data_dict: Any, **_: Any) -> Any:
        until = time.process_time() + 0.15
        while time.process_time() < until:
            pass
        return data_dict


@pytest.mark.parametrize("slow", [True, False])
def test_the_log_tells_what_transforms_in_python_cost(environment: Any, slow: bool) -> None:
    class Own(Short):
        @staticmethod
        def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
            tree = nnUNetTrainer.get_training_transforms(*args, **kwargs)
            tree.transforms.insert(1, HoldsTheLock() if slow else RemoveLabelTansform(-1, 0))
            return tree

        def train_step(self, batch: Any) -> Any:
            return {"loss": torch.zeros(1).numpy()}

        def validation_step(self, batch: Any) -> Any:
            one = torch.ones(2).numpy()
            return {"loss": torch.zeros(1).numpy(), "tp_hard": one, "fp_hard": one, "fn_hard": one}

    trainer = prepared(environment, Own, start=False)
    trainer.num_iterations_per_epoch = 8
    run(trainer)
    said = [line for line in log_of(Path(trainer.output_folder)).splitlines() if "the first epoch waited" in line]
    assert len(said) == int(slow)
    if slow:
        assert "HoldsTheLock" in said[0]
        assert "--leave-to-nnunet training" in said[0]


def test_what_others_replaced_since_stays() -> None:
    ours = nnUNetTrainer.on_epoch_end

    def theirs(self: Any) -> Any:
        return ours(self)

    nnUNetTrainer.on_epoch_end = theirs
    try:
        fl.uninstall()
        assert nnUNetTrainer.on_epoch_end is theirs
    finally:
        nnUNetTrainer.on_epoch_end = ours.__wrapped__  # type: ignore[attr-defined]


def test_what_was_captured_does_nothing_after_uninstall(environment: Any) -> None:
    save = torch.save
    fl.uninstall()
    trainer = prepared(environment, "nnUNetTrainer", start=False)
    file = Path(trainer.output_folder) / "saved.pth"
    save({"network_weights": {}}, file)
    assert torch.load(file, weights_only=False) == {"network_weights": {}}
