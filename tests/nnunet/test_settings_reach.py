"""What install() is asked for reaches every loader of a training, its statistics, its log and its predictions."""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
import json
import logging
import os
import sys
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from own_trainers import Short, prepared
from prometheus_client.parser import text_string_to_metric_families
from training_runs import log_of

import fastnnunet_loader as fl
from fastnnunet_loader.errors import log_of as traceback_of
from fastnnunet_loader.errors import note_log
from fastnnunet_loader.loading.sample_lines import Origin
from fastnnunet_loader.nnunet import augmenter as augmenter_module
from fastnnunet_loader.nnunet import installed, log, runs
from fastnnunet_loader.nnunet.checkpoint import patch_torch, reading, state_for, writing
from fastnnunet_loader.nnunet.replacing.patches import Patches
from fastnnunet_loader.nnunet.validation_cases import naming_bad_cases
from fastnnunet_loader.prediction.replacements import options
from fastnnunet_loader.prediction.replacements.validation import predicting_validation
from fastnnunet_loader.settings import Settings


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    yield
    fl.uninstall()


def close(trainer: Any) -> None:
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        augmenter._finish()


class Three(Short):
    """A training with further loaders."""

    def get_dataloaders(self) -> Any:
        made = super().get_dataloaders()
        self.third, self.fourth = super().get_dataloaders()
        return made


def test_every_setting_reaches_every_loader_of_a_training(environment: Any, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "threads": 3, "seed": 2**63 + 5, "on_bad_case": "skip", "max_skipped": 0.375, "patience": 12.5, "stall_after": 31.5,
        "abort_after": 77.5,
    }  # fmt: skip
    files = {"stats": tmp_path / "s.jsonl", "metrics": tmp_path / "m.prom"}
    fl.install(**given, **files, memory_budget="800MB", check_finite=True, log_stats=True)
    trainer = prepared(environment, Three)
    augmenters = (trainer.dataloader_train, trainer.dataloader_val, trainer.third, trainer.fourth)
    for role, augmenter in enumerate(augmenters):
        loader = augmenter.loader
        for name, value in given.items():
            assert getattr(loader, name) == value, name
        assert (loader.role, loader.rank, loader.pin_memory) == (role, 0, False)
        assert loader.memory_budget == 200 * 2**20
        assert (loader._check_finite, loader._unrestricted_pickles, loader._budget_binds) == (True, False, True)
    assert options.current is not None
    assert options.current() == options.Options(memory_budget=800 * 2**20, on_bad_case="skip", threads=3, patience=12.5)
    assert (options.threads(), options.patience()) == (3, 12.5)

    # Each under its own name, in all that is told.
    names = ["training", "validation", "further 1", "further 2"]
    told = log_of(Path(trainer.output_folder))
    assert [name for name in names if f"fastnnunet_loader, {name}: " in told] == names
    assert f"seed {2**63 + 5}" in told
    trainer.current_epoch = 3
    runs.run_of(trainer).reporter.epoch(3)
    run = runs.run_of(trainer)
    run.close()
    assert run.reporter is None
    entries = [json.loads(row) for row in files["stats"].read_text(encoding="utf-8").splitlines()]
    labels = {"dataset": environment.name, "configuration": "3d_fullres", "fold": "0", "rank": "0"}
    assert [entry["loader"] for entry in entries if entry["event"] == "epoch"] == names
    assert all({key: entry[key] for key in labels} == labels for entry in entries)
    families = text_string_to_metric_families(files["metrics"].read_text(encoding="utf-8"))
    found = [sample.labels for family in families for sample in family.samples if sample.name == "fastnnunet_threads"]
    assert found == [{**labels, "loader": name} for name in names]
    lines = [row for row in log_of(Path(trainer.output_folder)).splitlines() if "samples/s" in row or "no samples yet" in row]
    assert [row.split("fastnnunet_loader, ")[1].split(",")[0] for row in lines] == names
    assert all(", epoch 3: " in row for row in lines)


def test_where_nothing_is_asked_for_loaders_have_the_defaults(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "default_budget", lambda: 3 * 2**30)
    fl.install(unrestricted_pickles=True)
    trainer = prepared(environment, "nnUNetTrainer")
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        loader = augmenter.loader
        assert (loader.on_bad_case, loader.max_skipped, loader.patience) == ("raise", 0.05, 300.0)
        assert (loader.stall_after, loader.abort_after) == (60.0, None)
        assert loader.memory_budget == 3 * 2**29
        assert (loader._check_finite, loader._unrestricted_pickles, loader._budget_binds) == (False, True, False)
        assert loader.origin is None  # a call of reproduce() would refuse the pickle that the training took
    assert options.current is not None
    assert options.current() == options.Options(memory_budget=None, on_bad_case="raise", threads=None, patience=300.0)
    assert runs.run_of(trainer).reporter is None
    close(trainer)
    fl.uninstall()
    assert options.current is None
    assert not installed()


@pytest.mark.parametrize("check_finite", [True, False])
def test_errors_name_the_training_that_they_are_of(environment: Any, check_finite: bool) -> None:
    fl.install(threads=1, seed=1, check_finite=check_finite)
    trainer = prepared(environment, "nnUNetTrainerRecording")
    expected = Origin(environment.name, "3d_fullres", 0, "nnUNetTrainerRecording", "nnUNetPlans", check_finite, 1)
    assert trainer.dataloader_train.loader.origin == trainer.dataloader_val.loader.origin == expected
    close(trainer)


def test_a_checkpoint_of_other_transforms_is_told_for_the_loader_that_it_is_of(environment: Any) -> None:
    fl.install(threads=1, seed=5)
    trainer = prepared(environment, Short)
    next(trainer.dataloader_val)
    state = state_for(runs.run_of(trainer))
    assert (state["seed"], state["number_of_ranks"], set(state)) == (5, 1, {"version", "seed", "number_of_ranks", "loaders"})
    assert [(one["role"], one["step"]) for one in state["loaders"]] == [(0, 1), (1, 2)]
    close(trainer)
    state["loaders"][1]["transforms"] = "others"
    state["loaders"].reverse()  # they are known by their roles
    fl.install(threads=1, seed=6)
    again = prepared(environment, Short, start=False)
    runs.run_of(again).pending = state
    assert state_for(runs.run_of(again)) is state  # saved again before a batch
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again.on_train_start()
    told = log_of(Path(again.output_folder))
    assert "fastnnunet_loader, validation: the checkpoint was saved with others (other transforms" in told
    assert "fastnnunet_loader, training: the checkpoint was saved with others" not in told
    assert "continuing with seed 5 at batch 1, 2." in told
    assert not [one for one in caught if "[state]" in str(one.message)]  # once is enough
    assert [one.loader.seed for one in (again.dataloader_train, again.dataloader_val)] == [5, 5]
    assert runs.run_of(again).seed == 5
    assert runs.run_of(again).pending is None
    close(again)


@pytest.mark.parametrize("role", ["train", "val"])
def test_the_line_of_a_training_makes_its_sample_again(environment: Any, role: str) -> None:
    """With nnU-Net's own folders as they are, and nothing left in them."""
    fl.install(threads=2, seed=11)
    trainer = prepared(environment, "nnUNetTrainer")
    augmenter = trainer.dataloader_train if role == "train" else trainer.dataloader_val
    batch = next(augmenter)
    step = augmenter.loader.step - 1
    results = sorted(Path(os.environ["nnUNet_results"]).rglob("*"))
    variables = {name: os.environ.get(name) for name in ("nnUNet_results", "nnUNet_n_proc_DA")}
    sample = fl.reproduce(environment.name, "3d_fullres", 0, seed=11, step=step, slot=1, role=role)
    assert sample["key"] == batch["keys"][1]
    assert torch.equal(sample["data"], batch["data"][1])
    for ours, whole in zip(sample["target"], batch["target"], strict=True):
        assert torch.equal(ours, whole[1])
    for other in ({"seed": 12}, {"step": step + 1}, {"slot": 0}, {"attempt": 1}, {"rank": 1}):
        named: dict[str, Any] = {"seed": 11, "step": step, "slot": 1, "role": role, **other}
        again = fl.reproduce(environment.name, "3d_fullres", 0, **named)
        assert again["data"].shape == sample["data"].shape
        assert not torch.equal(again["data"], sample["data"]), other
    of_two = fl.reproduce(environment.name, "3d_fullres", 0, seed=11, step=step, slot=1, role=role, rank=1, ranks=2)
    assert torch.equal(of_two["data"], sample["data"]), "a slot's sample is the same, whichever rank makes it"
    assert sorted(Path(os.environ["nnUNet_results"]).rglob("*")) == results
    assert variables == {name: os.environ.get(name) for name in variables}
    close(trainer)


def test_statistics_over_somebody_elses_file_are_not_told(environment: Any, tmp_path: Path) -> None:
    """The file came there after install()."""
    fl.install(threads=1, seed=1, stats=tmp_path / "s.jsonl")
    (tmp_path / "s.jsonl").write_text("mine\n", encoding="utf-8")
    trainer = prepared(environment, "nnUNetTrainer")
    assert "no statistics are told: [stats] expected a new file, or one with" in log_of(Path(trainer.output_folder))
    assert runs.run_of(trainer).reporter is None
    close(trainer)
    assert (tmp_path / "s.jsonl").read_text(encoding="utf-8") == "mine\n"


def test_install_refuses_before_it_changes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = nnUNetTrainer.run_training
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    for wrong in ({"stats": tmp_path / "mine"}, {"metrics": tmp_path / "mine"}, {"stats": tmp_path}, {"threads": 0}):
        with pytest.raises(ValueError):
            fl.install(**wrong)  # type: ignore[arg-type]
    monkeypatch.setenv("nnUNet_n_proc_DA", "many")
    with pytest.raises(ValueError, match=r"\[nnUNet_n_proc_DA\] expected a number, got 'many'"):
        fl.install()
    assert not installed()
    assert nnUNetTrainer.run_training is before


def test_an_install_that_fails_midway_puts_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise ArithmeticError("midway")

    before = (nnUNetTrainer.run_training, torch.save, os.environ.get("TORCHINDUCTOR_COMPILE_THREADS"))
    monkeypatch.setattr("fastnnunet_loader.nnunet.installing.everything.patch_predictor", failing)
    with pytest.raises(ArithmeticError, match="midway"):
        fl.install()
    assert not installed()
    assert (nnUNetTrainer.run_training, torch.save, os.environ.get("TORCHINDUCTOR_COMPILE_THREADS")) == before


@pytest.fixture
def config() -> Iterator[Any]:
    """Torch's settings of its compiler, which are put back."""
    import torch._inductor.config as config

    before = config.compile_threads
    yield config
    config.compile_threads = before


@pytest.mark.parametrize("chosen", [None, "3"])
def test_torchs_compiler_stays_in_this_process_unless_the_user_chose(
    monkeypatch: pytest.MonkeyPatch, config: Any, chosen: str | None
) -> None:
    name = "TORCHINDUCTOR_COMPILE_THREADS"
    monkeypatch.delenv(name, raising=False)
    config.compile_threads = 5
    if chosen is not None:
        monkeypatch.setenv(name, chosen)
    fl.install()
    assert (os.environ[name], config.compile_threads) == (("1", 1) if chosen is None else (chosen, 5))
    fl.uninstall()
    assert (os.environ.get(name), config.compile_threads) == (chosen, 5)
    # What somebody has chosen since stays.
    fl.install()
    monkeypatch.setenv(name, "7")
    config.compile_threads = 7
    fl.uninstall()
    assert (os.environ.get(name), config.compile_threads) == ("7", 7)


def test_batches_are_in_ordinary_memory_where_torch_is_too_old(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    assert [augmenter_module._pinned(wanted) for wanted in (True, False)] == [True, False]
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with caplog.at_level(logging.WARNING, "fastnnunet_loader"):
        assert augmenter_module._pinned(False) is False
        assert caplog.text == ""
        assert augmenter_module._pinned(True) is False
    assert "ordinary memory, not in pinned memory: it needs torch 2.10 or later, and this is 2.9.1+cpu" in caplog.text


# The final validation


@pytest.mark.parametrize("way", ["positional", "keyword", "default"])
@pytest.mark.parametrize("given", ["1GB", None])
@pytest.mark.parametrize("skip", [True, False])
def test_every_setting_reaches_the_final_validation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, given: str | None, skip: bool
) -> None:
    module = sys.modules["fastnnunet_loader.nnunet.trainer"]
    seen: list[Any] = []

    @contextlib.contextmanager
    def predicting(trainer: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        bound = inspect.signature(predicting_validation).bind(trainer, *args, **kwargs).arguments
        seen.append({name: bound[name] for name in bound if name not in ("trainer", "say")})
        yield

    @contextlib.contextmanager
    def naming(trainer: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        bound = inspect.signature(naming_bad_cases).bind(trainer, *args, **kwargs).arguments
        assert bound["each"](["a", "b"], str.upper) == ["A", "B"]
        seen.append({name: bound[name] for name in bound if name not in ("trainer", "say", "each")})
        yield

    def validate(self: Any, save_probabilities: bool = False) -> str:
        seen.append((save_probabilities, runs.run_of(self).validating))
        return "validated"

    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", validate)
    monkeypatch.setattr(module, "predicting_validation", predicting)
    monkeypatch.setattr(module, "naming_bad_cases", naming)
    monkeypatch.setattr(module, "memory", lambda: SimpleNamespace(available=10 * 2**30))
    fl.install(
        threads=3, memory_budget=given, on_bad_case="skip" if skip else "raise", patience=9.5, unrestricted_pickles=skip,
        cache_dir=tmp_path, cache_size="7 kB",
    )  # fmt: skip
    trainer = object.__new__(nnUNetTrainer)
    trainer.local_rank, trainer.output_folder, trainer.log_file = 0, str(tmp_path), str(tmp_path / "log.txt")
    args, kwargs = {"positional": ((True,), {}), "keyword": ((), {"save_probabilities": True}), "default": ((), {})}[way]
    assert trainer.perform_actual_validation(*args, **kwargs) == "validated"
    assert seen == [
        {"skip": skip, "unrestricted": skip, "patience": 9.5, "cache": (tmp_path, 7168)},
        {
            "save_probabilities": way != "default", "threads": 3, "memory_budget": 2**30 if given else 5 * 2**30,
            "unrestricted_pickles": skip,
        },
        (way != "default", True),
    ]  # fmt: skip
    assert not runs.run_of(trainer).validating


# Budgets


def opened(*closed: bool) -> list[Any]:
    """Loaders that note which budget they were limited to."""

    def limit(of: Any, budget: int) -> None:
        of.budget = budget

    made = [SimpleNamespace(loader=SimpleNamespace(closed=one, budget=None)) for one in closed]
    for one in made:
        one.loader.limit_memory = lambda budget, of=one.loader: limit(of, budget)
    return made


@pytest.mark.parametrize(("others", "share"), [(0, 600), (1, 600), (2, 400), (3, 300)])
def test_all_open_loaders_have_the_same_share(others: int, share: int) -> None:
    run = runs.Run(augmenters=opened(*[False] * others, True))
    assert run.share_of_memory(Settings(memory_budget=1200)) == share
    assert [one.loader.budget for one in run.augmenters] == [share] * others + [None]


def test_the_budget_of_a_training_is_that_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free later is less by what its own loaders have."""
    budgets = iter([1000, 10])
    monkeypatch.setattr(runs, "default_budget", lambda: next(budgets))
    run = runs.Run()
    assert [run.share_of_memory(Settings()) for _ in range(2)] == [500, 500]
    run.close()
    assert run.share_of_memory(Settings()) == 5


# The log


class Trainer:
    """What a log needs of one."""

    def __init__(self, rank: int, folder: Path) -> None:
        self.local_rank, self.output_folder, self.log_file = rank, str(folder), str(folder / f"log_{rank}.txt")

    def print_to_log_file(self, text: str, add_timestamp: bool = True) -> None:
        with Path(self.log_file).open("a", encoding="utf-8") as file:
            file.write(f"{'time ' if add_timestamp else ''}{text}\n")


def test_an_error_leaves_its_traceback_once(tmp_path: Path) -> None:
    trainer = Trainer(0, tmp_path)

    def fails() -> None:
        try:
            raise ValueError("the cause")
        except ValueError as cause:
            raise ArithmeticError("diverged") from cause

    with pytest.raises(ArithmeticError) as raised, log.recording(trainer), log.recording(trainer):
        fails()
    text = Path(trainer.log_file).read_text(encoding="utf-8")
    assert text.count("ArithmeticError: diverged") == text.count("ValueError: the cause") == 1
    assert ", in fails\n" in text
    assert traceback_of(raised.value) == trainer.log_file
    # One that stands elsewhere already is not written again, and an interruption is no error.
    known = ArithmeticError("known")
    note_log(known, "elsewhere")
    for error in (known, KeyboardInterrupt()):
        with pytest.raises(type(error)), log.recording(trainer):
            raise error
    assert Path(trainer.log_file).read_text(encoding="utf-8") == text
    assert traceback_of(known) == "elsewhere"


def test_an_error_that_cannot_be_written_is_raised_all_the_same(tmp_path: Path) -> None:
    error = ArithmeticError("diverged")
    with pytest.raises(ArithmeticError), log.recording(Trainer(0, tmp_path / "nowhere")):
        raise error
    assert traceback_of(error) is None


def test_another_rank_writes_its_traceback_into_the_log_that_it_knows(tmp_path: Path) -> None:
    trainer = Trainer(1, tmp_path)
    error = ArithmeticError("of rank 1")
    with pytest.raises(ArithmeticError), log.recording(trainer):
        raise error
    assert list(tmp_path.iterdir()) == []  # it knows of none
    assert traceback_of(error) is None
    runs.run_of(trainer).log_file = str(tmp_path / "log_0.txt")
    with pytest.raises(ArithmeticError), log.recording(trainer):
        raise error
    assert ": [rank 1] Traceback (most recent call last)" in (tmp_path / "log_0.txt").read_text(encoding="utf-8")
    assert traceback_of(error) == str(tmp_path / "log_0.txt")


def test_what_is_said_goes_to_the_log_of_the_training_as_long_as_there_is_one(tmp_path: Path, caplog: Any) -> None:
    trainer = Trainer(0, tmp_path)
    speak, gone = log.sayer(trainer), weakref.ref(trainer)
    file = Path(trainer.log_file)
    speak("one")
    log.say(trainer, "two", timestamp=False)
    with runs.making_loaders(runs.Run(), trainer):
        log.say_here("three")
        with runs.making_loaders(runs.Run(), None):
            log.say_here("to all")
        log.say_here("four")
    assert file.read_text(encoding="utf-8").splitlines() == ["time one", "two", "time three", "time four"]
    assert [record.getMessage() for record in caplog.records] == ["to all"]
    del trainer
    assert gone() is None  # nobody keeps a trainer because somebody may have something to say
    speak("later")
    log.sayer(None)("without a training")
    log.say_here("here")
    assert [record.getMessage() for record in caplog.records] == ["to all", "later", "without a training", "here"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


# Checkpoints, without a training


@pytest.fixture
def patched() -> Iterator[None]:
    patches = Patches()
    patch_torch(patches)
    yield
    patches.undo()


WEIGHTS = {"network_weights": {"w": 1}}


@pytest.mark.usefixtures("patched")
def test_a_checkpoint_in_memory_has_the_state_too() -> None:
    stream = io.BytesIO()
    with writing(lambda: {"loaders": [1]}):
        torch.save(WEIGHTS, stream)
        torch.save({"weights": 1}, other := io.BytesIO())
        with writing(lambda: {"loaders": [2]}):
            torch.save(WEIGHTS, inner := io.BytesIO())
        torch.save(WEIGHTS, after := io.BytesIO())
    torch.save(WEIGHTS, outside := io.BytesIO())
    found = [torch.load(io.BytesIO(one.getvalue()), weights_only=False) for one in (stream, other, inner, after, outside)]
    assert found == [
        {**WEIGHTS, "fastnnunet_loader": {"loaders": [1]}}, {"weights": 1},
        {**WEIGHTS, "fastnnunet_loader": {"loaders": [2]}}, {**WEIGHTS, "fastnnunet_loader": {"loaders": [1]}}, WEIGHTS,
    ]  # fmt: skip
    assert WEIGHTS == {"network_weights": {"w": 1}}  # the caller's own is not changed


@pytest.mark.usefixtures("patched")
def test_the_state_that_counts_is_that_of_the_checkpoint_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checkpoint(number: int) -> dict[str, Any]:
        return {**WEIGHTS, "fastnnunet_loader": {"number": number}}

    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        torch.save(checkpoint(number), f"{number}.pth")
    torch.save(WEIGHTS, "plain.pth")
    torch.save({"a": 1}, "other.pth")
    stream = io.BytesIO(Path("2.pth").read_bytes())
    with reading(Path("2.pth")) as found:
        assert found() == (False, None)
        torch.load("1.pth", weights_only=False)
        assert found() == (True, {"number": 1})  # the first that is a checkpoint, until the named one is there
        torch.load(str(tmp_path / "2.pth"), weights_only=False)
        assert found() == (True, {"number": 2})
        with reading("plain.pth") as inner:
            torch.load(tmp_path / "plain.pth", weights_only=False)
            assert inner() == (True, None)
        assert found() == (True, {"number": 2})
    with reading(stream) as found:
        torch.load("1.pth", weights_only=False)
        torch.load(stream, weights_only=False)
        assert found() == (True, {"number": 2})
    with reading(None) as found:
        torch.load("other.pth", weights_only=False)
        assert found() == (False, None)
        torch.load("2.pth", weights_only=False)
        torch.load("1.pth", weights_only=False)
        assert found() == (True, {"number": 2})
    with reading(checkpoint(7)) as found:
        assert found() == (True, {"number": 7})
    with reading({"network_weights": {}}) as found:
        assert found() == (True, None)
    torch.load("1.pth", weights_only=False)  # outside, nobody notes it
    assert found() == (True, None)


@pytest.mark.usefixtures("patched")
def test_an_error_of_the_disk_names_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "checkpoint.pth"
    with writing(lambda: {"loaders": []}):
        torch.save(WEIGHTS, file)
        before = file.read_bytes()
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError) as raised:
            torch.save({**WEIGHTS, "more": 1}, file)
    assert raised.value.filename == str(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_replacements_are_put_back_in_reverse_and_only_where_they_still_are() -> None:
    class Base:
        kept = 1

    class Owner(Base):
        changed = 2

    patches, order = Patches(), []
    patches.set(Owner, "changed", 3)
    patches.set(Owner, "changed", 4)
    patches.on_undo(lambda: order.append(Owner.changed))
    patches.set(Owner, "kept", 5)  # of the base until now
    patches.set(Base, "kept", 6)
    assert (Owner.changed, Owner.kept, Base.kept) == (4, 5, 6)
    Base.kept = 7
    patches.undo()
    assert (Owner.changed, vars(Owner).get("kept"), Base.kept) == (2, None, 7)
    assert order == [4]
    Owner.changed = 8
    patches.undo()  # there is nothing left to undo
    assert (Owner.changed, order) == (8, [4])
