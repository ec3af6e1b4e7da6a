"""A loader that is closed while its threads make samples keeps neither threads, memory nor files."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunet_loaders import nnunet_loader

import fastnnunet_loader as fl
from fastnnunet_loader.loading.opened import end


class Held(BasicTransform):
    """Keeps a sample until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free, self.reached = threading.Event(), threading.Event()
        self.free.set()

    def apply(self, data_dict: Any, **params: Any) -> Any:
        if not self.free.is_set():
            self.reached.set()
            self.free.wait(30)  # where the test fails before it lets go, the threads end all the same
        return data_dict


class TasksEndAfterClose:
    """A core whose tasks all end between a close that had to give up and whatever is asked next."""

    def __init__(self, core: Any, held: Held) -> None:
        self.core, self.held, self.given_up = core, held, 0

    def close(self, patience: timedelta) -> bool:
        if self.core.close(patience):
            return True
        self.given_up += 1
        self.held.free.set()
        while self.core.activity()[1]:
            time.sleep(0.001)
        return False

    def activity(self) -> Any:
        return self.core.activity()


@pytest.mark.parametrize("threads", [1, 3])
def test_tasks_that_end_just_after_a_wait_leave_nothing(nnunet_dataset: Any, threads: int) -> None:
    held = Held()
    source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([held]), batch_size=2)
    with fl.DataLoader.from_nnunet(source, threads=threads, seed=5) as loader:
        next(loader)
        held.free.clear()
        core: Any = loader._core
        while not held.reached.wait(0.2):
            if core.activity()[1] == 0:  # all batches are ready: make room for another
                next(loader)
        before = core.statistics()
        assert before.open_files > 0 and before.workspace_bytes > 0
        ending = TasksEndAfterClose(core, held)
        end(ending)  # type: ignore[arg-type]
        assert ending.given_up == 1
        after = core.statistics()
        assert (after.open_files, after.open_file_bytes, after.workspace_bytes) == (0, 0, 0)
