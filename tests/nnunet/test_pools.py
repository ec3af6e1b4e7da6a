"""What is replaced for threads in the place of processes: where it is needed, and put back as it was."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from tqdm import tqdm

from fastnnunet_loader.nnunet.replacing.patches import Patches
from fastnnunet_loader.nnunet.replacing.pools import patch_own_pool, patch_progress_bars
from fastnnunet_loader.prediction.replacements.pools import ThreadMultiprocessing


@pytest.fixture
def bars() -> Iterator[Any]:
    """tqdm, with its lock put back."""
    before = vars(tqdm).get("_lock")
    yield tqdm
    if before is not None:
        tqdm.set_lock(before)
    elif "_lock" in vars(tqdm):
        del tqdm._lock


@pytest.mark.parametrize("had_one", [False, True])
@pytest.mark.parametrize("set_since", [False, True])
def test_the_lock_of_progress_bars_is_put_back_unless_somebody_set_another(bars: Any, had_one: bool, set_since: bool) -> None:
    before, theirs = threading.RLock() if had_one else None, threading.RLock()
    if before is not None:
        bars.set_lock(before)
    elif "_lock" in vars(bars):
        del bars._lock
    patches = Patches()
    patch_progress_bars(patches)
    assert vars(bars)["_lock"] not in (None, before)
    if set_since:
        bars.set_lock(theirs)
    patches.undo()
    assert vars(bars).get("_lock") is (theirs if set_since else before)
    with bars.get_lock():
        pass


@pytest.mark.parametrize("name", ["perform_actual_validation", "on_train_end"])
@pytest.mark.parametrize("its_multiprocessing", [multiprocessing, None, "its own"])
def test_a_trainers_module_has_threads_only_where_it_validates_with_pools(
    monkeypatch: pytest.MonkeyPatch, name: str, its_multiprocessing: Any
) -> None:
    module = ModuleType("module_of_a_trainer")
    if its_multiprocessing is not None:
        vars(module)["multiprocessing"] = its_multiprocessing
    before = dict(vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cls = type("Trainer", (), {"__module__": module.__name__, name: lambda self: None})
    patches = Patches()
    patch_own_pool(cls, patches)
    replaced = vars(module).get("multiprocessing") is not its_multiprocessing
    assert replaced == (name == "perform_actual_validation" and its_multiprocessing is multiprocessing)
    if replaced:
        assert isinstance(vars(module)["multiprocessing"], ThreadMultiprocessing)
    patches.undo()
    assert vars(module) == before
