"""Which pools of nnU-Net are replaced, and how the threads in their place behave."""

from __future__ import annotations

import ast
import importlib
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nnunetv2
import numpy as np
import pytest
import SimpleITK as sitk

import fastnnunet_loader as fl
from fastnnunet_loader import system
from fastnnunet_loader.evaluation.pools import CasePool
from fastnnunet_loader.evaluation.tasks import bytes_of, files_of
from fastnnunet_loader.nnunet.replacing.pools import LATER, MODULES
from fastnnunet_loader.prediction.replacements.pools import ThreadMultiprocessing

ELSEWHERE = {
    "nnunetv2.inference.data_iterators": "replaced with the predictor",
    "nnunetv2.inference.predict_from_raw_data": "replaced with the predictor",
    "nnunetv2.run.run_training": "starts ranks, see nnunet.distributed",
    "nnunetv2.utilities.file_path_utilities": "imports Pool and does not use it",
}
MAKERS = {"multiprocessing", "concurrent", "joblib", "p_tqdm", "subprocess"}
USES = {"Pool", "Process", "ProcessPoolExecutor", "get_context", "Manager", "Popen", "spawn", "ptqdm", "Queue", "fork"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(system, "available_cores", lambda: 4)  # the machine of a test may have one
    fl.install()
    yield
    fl.uninstall()


def makes_processes(tree: ast.Module) -> bool:
    """Whether a module imports something that makes processes, and names it."""
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            imported |= set((node.module or "").split("."))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return bool(imported & MAKERS) and bool(names & USES)


def test_every_pool_of_nnunet_is_replaced_or_named() -> None:
    root = Path(nnunetv2.__file__).parent
    found = set()
    for file in root.rglob("*.py"):
        if makes_processes(ast.parse(file.read_text(encoding="utf-8"))):
            found.add(".".join(("nnunetv2", *file.relative_to(root).with_suffix("").parts)))
    assert "nnunetv2.ensembling.ensemble" in found
    assert found <= {*MODULES, *LATER, *ELSEWHERE}, "a new pool: see nnunet/replacing/pools.py"


@pytest.mark.usefixtures("installed")
def test_pools_of_all_modules_are_threads_and_are_put_back() -> None:
    modules = [importlib.import_module(name) for name in (*MODULES, *LATER)]
    for module in modules:
        multi, pool = vars(module).get("multiprocessing"), vars(module).get("Pool")
        assert multi is None or isinstance(multi, ThreadMultiprocessing), module
        assert multi is not None or pool is not None, module
        for make in [multi.Pool, multi.get_context("spawn").Pool] if multi else [pool]:
            assert isinstance(make(2), CasePool), module
    fl.uninstall()
    for module in modules:
        assert vars(module).get("multiprocessing", multiprocessing) is multiprocessing
        assert vars(module).get("Pool", multiprocessing.Pool) == multiprocessing.Pool
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("fastnnunet_loader")]


def test_a_module_that_is_imported_after_install(monkeypatch: pytest.MonkeyPatch, installed: None) -> None:
    name = "nnunetv2.dataset_conversion.convert_MSD_dataset"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    assert isinstance(module.multiprocessing, ThreadMultiprocessing)
    assert "exec_module" not in vars(module.__spec__.loader)


@pytest.mark.usefixtures("installed")
def test_pools_of_others_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebody_elses.py").write_text("import multiprocessing\nfrom multiprocessing import Pool\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("somebody_elses")
    assert module.multiprocessing is multiprocessing
    assert module.Pool == multiprocessing.Pool
    assert type(multiprocessing.Pool.__self__).__module__ == "multiprocessing.context"


def test_a_module_of_nnunet_that_runs_as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__spec__ = importlib.util.find_spec("nnunetv2.dataset_conversion.Dataset137_BraTS21")
    vars(main)["multiprocessing"] = multiprocessing
    monkeypatch.setitem(sys.modules, "__main__", main)
    fl.install()
    try:
        assert isinstance(vars(main)["multiprocessing"], ThreadMultiprocessing)
    finally:
        fl.uninstall()
    assert vars(main)["multiprocessing"] is multiprocessing


# Cases


def write(file: Path, shape: tuple[int, int, int] = (10, 20, 30), value: int = 1) -> str:
    sitk.WriteImage(sitk.GetImageFromArray(np.full(shape, value, np.uint8)), str(file))
    return str(file)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("fault", ["truncated", "another shape", "missing"])
def test_a_case_that_fails_is_named(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    for folder in ("gt", "predictions"):
        (tmp_path / folder).mkdir()
        for case in "abc":
            write(tmp_path / folder / f"{case}.nii.gz")
    bad = tmp_path / "predictions" / "b.nii.gz"
    if fault == "truncated":
        bad.write_bytes(bad.read_bytes()[:60])
    elif fault == "another shape":
        write(bad, (9, 20, 30))
    else:
        (tmp_path / "gt" / "b.nii.gz").unlink()
    with pytest.raises((RuntimeError, ValueError)):
        compute_metrics_on_folder(
            str(tmp_path / "gt"), str(tmp_path / "predictions"), None, SimpleITKIO(), ".nii.gz", [1], num_processes=2
        )
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert str(bad) in said
    assert "a.nii.gz" not in said


class Counted:
    """How many tasks run at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


@pytest.mark.parametrize(("cases_that_fit", "most"), [(0.5, 1), (1.5, 1), (2.5, 2), (100, 4)])
def test_cases_run_together_as_far_as_the_budget_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases_that_fit: float, most: int
) -> None:
    from nnunetv2.evaluation import evaluate_predictions
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    monkeypatch.setattr(system, "available_cores", lambda: 4)
    reader, counted = SimpleITKIO(), Counted()
    file = write(tmp_path / "case.nii.gz")
    read = reader.read_seg

    def slow(file: str) -> Any:
        with counted:
            time.sleep(0.15)
            return read(file)

    vars(reader)["read_seg"] = slow
    arguments = (file, file, reader, [1], None)
    need = bytes_of(evaluate_predictions.compute_metrics, arguments, {})
    assert need == 6000 * (2 * (4 + 2) + 8)
    assert files_of(evaluate_predictions.compute_metrics, arguments, {}) == [file, file]
    fl.install(memory_budget=int(need * cases_that_fit))
    try:
        with evaluate_predictions.multiprocessing.get_context("spawn").Pool(8) as pool:
            results = pool.starmap(evaluate_predictions.compute_metrics, [arguments] * 6)
    finally:
        fl.uninstall()
    assert [result["metrics"][1]["Dice"] for result in results] == [1.0] * 6
    assert counted.most == most


def test_the_memory_of_an_ensemble(tmp_path: Path) -> None:
    from nnunetv2.ensembling.ensemble import merge_files

    files = [str(tmp_path / f"{n}.npz") for n in range(3)]
    for file in files:
        np.savez_compressed(file, probabilities=np.zeros((10, 4, 5, 6), np.float32))
    channel = 4 * 4 * 5 * 6
    some, whole = (bytes_of(merge_files, (files, "", "", None, None, save), {}) for save in (False, True))
    assert 5 * channel < some < 12 * channel
    assert 20 * channel < whole < 25 * channel
    assert bytes_of(merge_files, ([str(tmp_path / "missing.npz")], "", "", None, None, False), {}) == 0


@pytest.mark.usefixtures("installed")
def test_ctrl_c_ends_a_pool_after_the_cases_at_work() -> None:
    begun: list[int] = []

    def case(number: int) -> None:
        begun.append(number)
        time.sleep(0.2)

    threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), CasePool(2) as pool:
        pool.starmap(case, [(number,) for number in range(50)])
    assert time.monotonic() - begin < 2
    time.sleep(0.5)
    seen = len(begun)
    time.sleep(0.3)
    assert len(begun) == seen < 10
