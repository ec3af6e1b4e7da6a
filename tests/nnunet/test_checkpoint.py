"""The loaders' state in checkpoints: whenever they are saved, whatever else is loaded, and whoever is killed."""

from __future__ import annotations

import hashlib
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from own_trainers import Short, prepared
from training_runs import log_of

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.checkpoint import KEY as CHECKPOINT_KEY


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    fl.install(threads=2, seed=1)
    yield
    fl.uninstall()


class Recording(Short):
    """Keeps the digests of its training batches, and is interrupted where the test wants it."""

    interrupt_at = -1
    save_to: Path | None = None

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        digests = self.__dict__.setdefault("digests", [])
        digests.append(hashlib.sha256(batch["data"].numpy().tobytes()).hexdigest())
        if len(digests) == self.interrupt_at:
            raise KeyboardInterrupt
        result: dict[str, Any] = super().train_step(batch)
        return result


def trained(trainer: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnU-Net's own
        trainer.run_training()
    return trainer


def states(file: Path) -> list[dict[str, Any]]:
    content = torch.load(file, map_location="cpu", weights_only=False)
    loaders: list[dict[str, Any]] = content[CHECKPOINT_KEY]["loaders"]
    return loaders


def file_of(trainer: Any, name: str = "checkpoint_latest.pth") -> Path:
    return Path(trainer.output_folder) / name


def continued(environment: Any, kind: type, file: Path) -> Any:
    trainer = prepared(environment, kind, start=False)
    trainer.load_checkpoint(str(file))
    return trainer


# Whenever


def test_saved_in_an_exception_handler(environment: Any) -> None:
    """What a job does that is preempted. The training then goes on with the batches that would have come."""
    whole = trained(prepared(environment, Recording, start=False))
    assert len(set(whole.digests)) == 4

    stopped = prepared(environment, Recording, start=False)
    stopped.interrupt_at = 3  # in the second epoch
    try:
        trained(stopped)
    except KeyboardInterrupt:
        stopped.save_checkpoint(str(file_of(stopped)))
    saved = states(file_of(stopped))
    assert [state["role"] for state in saved] == [0, 1]
    assert [state["step"] for state in saved] == [4, 2], "nnU-Net draws one batch of each before the training"

    again = continued(environment, Recording, file_of(stopped))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.on_train_start()
    assert "continuing with seed 1 at batch 4, 2" in log_of(Path(again.output_folder))
    again.train_step(next(again.dataloader_train))
    assert again.digests == whole.digests[3:]
    again.dataloader_train._finish()
    again.dataloader_val._finish()


def test_saved_when_the_training_fails_to_start(environment: Any) -> None:
    trainer = prepared(environment, Recording, start=False)
    trainer.plot_network_architecture = lambda: 1 / 0  # in the middle of on_train_start, when the loaders are there
    with pytest.raises(ZeroDivisionError):
        trained(trainer)
    trainer.save_checkpoint(str(file_of(trainer)))
    assert [state["step"] for state in states(file_of(trainer))] == [1, 1]


def test_saved_before_the_first_batch_and_after_the_last(environment: Any) -> None:
    trainer = prepared(environment, Recording, start=False)
    trainer.save_checkpoint(str(file_of(trainer, "early.pth")))
    assert states(file_of(trainer, "early.pth")) == []
    trained(trainer)
    trainer.save_checkpoint(str(file_of(trainer, "late.pth")))
    assert states(file_of(trainer, "late.pth")) == states(file_of(trainer, "checkpoint_final.pth"))
    assert [state["step"] for state in states(file_of(trainer, "late.pth"))] == [5, 3]

    again = continued(environment, Recording, file_of(trainer, "late.pth"))
    again.save_checkpoint(str(file_of(trainer, "again.pth")))
    assert states(file_of(trainer, "again.pth")) == states(file_of(trainer, "late.pth")), "loaded, and saved before a batch"


def test_saved_by_the_trainer_itself(environment: Any) -> None:
    class Saves(Recording):
        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            torch.save({"network_weights": self.network.state_dict()}, file_of(self, "mine.pth"))
            torch.save({"weights": 1}, file_of(self, "other.pth"))

    trainer = trained(prepared(environment, Saves, start=False))
    assert [state["step"] for state in states(file_of(trainer, "mine.pth"))] == [5, 3]
    assert torch.load(file_of(trainer, "other.pth"), weights_only=False) == {"weights": 1}


def test_what_other_threads_save_is_theirs(environment: Any) -> None:
    trainer = prepared(environment, Recording)
    theirs = file_of(trainer, "theirs.pth")

    class Slow(torch.nn.Linear):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            thread = threading.Thread(target=lambda: torch.save({"network_weights": {}}, theirs))
            thread.start()
            thread.join()
            return super().state_dict(*args, **kwargs)

    trainer.network = Slow(1, 1)
    trainer.save_checkpoint(str(file_of(trainer)))
    assert len(states(file_of(trainer))) == 2
    assert torch.load(theirs, weights_only=False) == {"network_weights": {}}
    for augmenter in (trainer.dataloader_train, trainer.dataloader_val):
        augmenter._finish()


# Whatever else is loaded


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("teacher", ["plain", "weights", "trained with this package"])
def test_other_files_that_are_loaded_do_not_count(environment: Any, first: bool, teacher: str) -> None:
    of_teacher: dict[str, Any] = {
        "plain": {"a": 1},
        "weights": {"network_weights": {}},
        "trained with this package": {
            "network_weights": {},
            CHECKPOINT_KEY: {"loaders": [{"version": 1, "seed": 99, "role": 0, "rank": 0, "step": 50}]},
        },
    }[teacher]

    class Student(Recording):
        def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
            if first:
                torch.load(file_of(self, "teacher.pth"), weights_only=False)
            super().load_checkpoint(filename_or_checkpoint)
            torch.load(file_of(self, "teacher.pth"), weights_only=False)

    trainer = trained(prepared(environment, Student, start=False))
    torch.save(of_teacher, file_of(trainer, "teacher.pth"))
    again = continued(environment, Student, file_of(trainer, "checkpoint_final.pth"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.on_train_start()
    assert [augmenter.loader.step for augmenter in (again.dataloader_train, again.dataloader_val)] == [5, 3]
    again.dataloader_train._finish()
    again.dataloader_val._finish()


def test_a_checkpoint_that_was_read_before(environment: Any) -> None:
    class TakesContent(Recording):
        def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
            self.network.load_state_dict(filename_or_checkpoint["network_weights"])

    trainer = trained(prepared(environment, TakesContent, start=False))
    again = prepared(environment, TakesContent, start=False)
    again.load_checkpoint(torch.load(file_of(trainer, "checkpoint_final.pth"), weights_only=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.on_train_start()
    assert again.dataloader_train.loader.step == 5
    again.dataloader_train._finish()
    again.dataloader_val._finish()


def test_fewer_states_than_loaders_is_no_state(environment: Any) -> None:
    trainer = trained(prepared(environment, Recording, start=False))
    file = file_of(trainer, "checkpoint_final.pth")
    content = torch.load(file, weights_only=False)
    content[CHECKPOINT_KEY]["loaders"].pop()
    torch.save(content, file)
    again = continued(environment, Recording, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.on_train_start()
    log = log_of(Path(again.output_folder))
    assert "the state of 1 loaders, this training has 2; batches start anew" in log
    assert "continuing with" not in log
    assert again.dataloader_train.loader.step == 1
    again.dataloader_train._finish()
    again.dataloader_val._finish()


def test_a_validation_says_nothing_of_batches(environment: Any) -> None:
    fl.uninstall()
    plain = trained_by_nnunet(environment)
    fl.install(threads=2, seed=1)
    again = continued(environment, Short, file_of(plain, "checkpoint_final.pth"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.perform_actual_validation()
    assert "batches start anew" not in log_of(Path(again.output_folder))


def trained_by_nnunet(environment: Any) -> Any:
    trainer = prepared(environment, Short, start=False)
    trainer.current_epoch = 1
    trainer.logger.log("mean_fg_dice", 0.5, 0)
    trainer.save_checkpoint(str(file_of(trainer, "checkpoint_final.pth")))
    return trainer


# Whole or not at all

SAVING = """
import sys, torch
from pathlib import Path
from fastnnunet_loader.nnunet.checkpoint import patch_torch, writing
from fastnnunet_loader.nnunet.patches import Patches
patch_torch(Patches())
content = {"network_weights": {"w": torch.arange(3_000_000)}}
with writing(lambda: {"loaders": []}):
    for number in range(10_000):
        torch.save({**content, "number": number}, sys.argv[1])
        print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_checkpoint_that_loads(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint_latest.pth"
    for attempt in range(6):
        with subprocess.Popen([sys.executable, "-c", SAVING, str(file)], stdout=subprocess.PIPE, encoding="utf-8") as saving:
            assert saving.stdout is not None
            saving.stdout.readline()  # there is a first one
            time.sleep(0.013 * attempt)
            saving.send_signal(signal.SIGKILL)
        content = torch.load(file, weights_only=False)
        assert torch.equal(content["network_weights"]["w"], torch.arange(3_000_000))
    assert len(list(tmp_path.iterdir())) <= 2, "what a killed process leaves does not pile up"


def test_a_full_disk_leaves_the_last_checkpoint(environment: Any) -> None:
    trainer = prepared(environment, Short, start=False)
    file = file_of(trainer)
    trainer.logger.log("mean_fg_dice", 0.5, 0)
    trainer.save_checkpoint(str(file))
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises((OSError, RuntimeError)):
            trainer.save_checkpoint(str(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    assert {found.name for found in file.parent.glob("*checkpoint*")} | {found.name for found in file.parent.glob(".*")} == {
        file.name
    }


def test_links_and_rights_stay(environment: Any, tmp_path: Path) -> None:
    trainer = prepared(environment, Short, start=False)
    elsewhere = tmp_path / "elsewhere.pth"
    elsewhere.write_bytes(b"old")
    elsewhere.chmod(0o640)
    file = file_of(trainer)
    file.symlink_to(elsewhere)
    trainer.save_checkpoint(str(file))
    assert file.is_symlink()
    assert states(elsewhere) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o640
