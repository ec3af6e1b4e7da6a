"""Programs of all kinds with this package under them, unchanged: `fastnnunet run`, or its environment variable alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from processes import Trace
from programs import RUN, SCRIPTS, call, needs_the_installed_package, printed
from training_runs import TRAINERS, assert_finished, batches, output_folder, train


@pytest.fixture(autouse=True)
def installed() -> None:
    needs_the_installed_package()


# Programs without nnU-Net


@pytest.mark.parametrize(
    ("environment", "ours"),
    [({}, []), ({"FASTNNUNET_RUN": ""}, []), ({"FASTNNUNET_RUN": "0"}, []), ({"FASTNNUNET_RUN": "1"}, ["fastnnunet_autoload"])],
)
def test_a_program_without_nnunet_imports_nothing_more(environment: dict[str, str], ours: list[str]) -> None:
    code = "import sys; print(*sys.modules)"
    before = printed(call(sys.executable, "-c", code))[0].split()
    loaded = printed(call(sys.executable, "-c", code, environment=environment))[0].split()
    assert set(loaded) - set(before) == set(ours)
    assert not [name for name in before if name.startswith("fastnnunet")]


def test_nnunets_folders_alone_are_no_reason() -> None:
    """Programs that only look for nnU-Net, or for its folders, get none of its other modules."""
    code = """
import importlib, importlib.util, sys
import nnunetv2, nnunetv2.paths
importlib.reload(nnunetv2.paths)
assert importlib.util.find_spec("nnunetv2.run.run_training") is not None
print(*("torch" in sys.modules, "fastnnunet_loader" in sys.modules, type(sys.meta_path[0]).__module__))
"""
    shown = printed(call(sys.executable, "-c", code, environment={"FASTNNUNET_RUN": "1"}))
    assert shown == ["False False fastnnunet_autoload"]


# Ways to import nnU-Net

# Each is a program. `ours(function)` tells whether a function is this package's, `threads()` what it was installed with.
WAYS = {
    "a name of a module": """
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor, preprocessing_iterator_fromfiles
check(ours(nnUNetPredictor.predict_from_data_iterator) and ours(preprocessing_iterator_fromfiles) and threads() == 2)
""",
    "a module": """
import nnunetv2.training.nnUNetTrainer.nnUNetTrainer as module
check(hasattr(module.nnUNetTrainer.run_training, "__wrapped__") and threads() == 2)
""",
    "importlib": """
import importlib
module = importlib.import_module("nnunetv2.evaluation.evaluate_predictions")
check("fastnnunet" in type(module.multiprocessing).__module__ and threads() == 2)
""",
    "the loader alone": """
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
check(threads() == 2)
""",
    "after a module that is missing": """
try:
    import nnunetv2.training.nnUNetTrainer.variants.nowhere
except ImportError:
    pass
from nnunetv2.run.run_training import get_trainer_from_args
check(threads() == 2)
""",
    "the environment set before": """
import os
os.environ["nnUNet_preprocessed"] = "/from/the/program"
from nnunetv2.run.run_training import nnUNet_preprocessed
check(os.fspath(nnUNet_preprocessed) == "/from/the/program" and threads() == 2)
""",
    "found by its spec": """
import importlib.util, inspect
spec = importlib.util.find_spec("nnunetv2.inference.export_prediction")
check("def export" in spec.loader.get_source(spec.name))
import nnunetv2.inference.export_prediction as module
check(type(module.__loader__).__module__ == "_frozen_importlib_external" and "exec_module" not in vars(module.__loader__))
check("def export" in inspect.getsource(module) and threads() == 2)
""",
    "threads at once": """
import importlib, threading
names = ["inference.predict_from_raw_data", "run.run_training", "training.dataloading.data_loader",
         "evaluation.evaluate_predictions", "training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5"]
errors, start = [], threading.Barrier(len(names))
def load(name):
    start.wait()
    try:
        importlib.import_module(f"nnunetv2.{name}")
    except BaseException as error:
        errors.append(error)
threads_ = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads_: thread.start()
for thread in threads_: thread.join()
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run import run_training
check(not errors, errors)
check(ours(nnUNetPredictor.predict_from_data_iterator) and ours(run_training.mp.spawn) and threads() == 2)
""",
    "in a thread while another forks": """
import os, threading
thread = threading.Thread(target=lambda: __import__("nnunetv2.run.run_training"))
thread.start()
child = os.fork()
if child == 0:
    import fastnnunet_autoload
    os._exit(0 if not fastnnunet_autoload._watcher._depth else 1)
check(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
thread.join()
check(threads() == 2)
""",
    "its own install() before": """
import fastnnunet_loader as fl
fl.install(threads=7)
import nnunetv2.inference.data_iterators
check(threads() == 7)
""",
    "its own install() after": """
import nnunetv2.run.run_training
import fastnnunet_loader as fl
fl.install(threads=7)
import nnunetv2.inference.data_iterators
check(threads() == 7)
""",
    "its own uninstall()": """
import fastnnunet_loader as fl
fl.install()
fl.uninstall()
import nnunetv2.inference.data_iterators
check(threads() is None)
""",
    "the variable changed by the program, for what it starts": """
import os
os.environ["FASTNNUNET_RUN"] = "0"
import nnunetv2.run.run_training
check(threads() == 2)
""",
    "no watch is left": """
import sys
import nnunetv2.run.run_training
check(not any(type(finder).__module__ == "fastnnunet_autoload" for finder in sys.meta_path))
""",
}
# Each way in a fork of its own, so that torch, and what else is not nnU-Net's, is imported once.
EACH = """
import json, os, sys, traceback
import batchgenerators.dataloading.multi_threaded_augmenter, matplotlib.pyplot, nibabel, pandas, scipy.ndimage, seaborn
import SimpleITK, skimage.measure, torch, torch._dynamo

def check(fine, said=""):
    assert fine, said

def ours(function):
    return function.__module__.startswith("fastnnunet_loader")

def threads():
    module = sys.modules.get("fastnnunet_loader.nnunet.runs")
    return module.installation().settings.threads if module and module.installation() else None

assert not [name for name in sys.modules if name.startswith(("nnunetv2", "fastnnunet_loader"))]
failed = []
for way, code in json.load(sys.stdin).items():
    child = os.fork()
    if child == 0:
        code_of_exit = 1
        try:
            exec(code, {"check": check, "ours": ours, "threads": threads})
            code_of_exit = 0
        except BaseException:
            print(way, file=sys.stderr)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code_of_exit)
    if os.waitpid(child, 0)[1] != 0:
        failed.append(way)
print(json.dumps(failed))
"""


@pytest.mark.slow
def test_nnunet_is_ours_however_it_is_imported() -> None:
    done = call(*RUN, "--threads", "2", sys.executable, "-W", "ignore", "-c", EACH, stdin=json.dumps(WAYS))
    assert json.loads(printed(done)[-1]) == [], done.stderr[-5000:]
    assert not done.stderr, done.stderr


CHILDREN = """
import multiprocessing, os, subprocess, sys

def child(_=None):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from fastnnunet_loader.nnunet import runs
    threads = runs.installation().settings.threads
    return f"{nnUNetPredictor.predict_from_data_iterator.__module__} {threads} {os.environ['FASTNNUNET_RUN']}"

if __name__ == "__main__":
    for method in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(child, [0])[0])
    program = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import program; print(program.child())"
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, encoding="utf-8", check=True)
    print(run.stdout.strip())
"""


@pytest.mark.slow
def test_processes_that_a_program_starts_have_it_too(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(CHILDREN, encoding="utf-8")
    (tmp_path / "job.sh").write_text('python "$1"\n', encoding="utf-8")
    shown = printed(call(*RUN, "--threads", "3", "bash", tmp_path / "job.sh", tmp_path / "program.py"))
    assert shown == ["fastnnunet_loader.prediction.replacements.install 3 --threads 3"] * 4


RANK = """
import os
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from fastnnunet_loader.nnunet import runs
threads = runs.installation().settings.threads
print(f"rank {os.environ['RANK']}: {threads} {hasattr(nnUNetTrainer.run_training, '__wrapped__')}", flush=True)
"""


@pytest.mark.slow
def test_ranks_of_torchrun_have_it_too(tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK, encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    shown = printed(call(*RUN, "--threads", "1", *torchrun, tmp_path / "rank.py"))
    assert sorted(shown) == ["rank 0: 1 True", "rank 1: 1 True"]


# What it says when it cannot


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTNNUNET_RUN": "--threads none"}, "expected a number from 1 on, got 'none'"),
        ({"FASTNNUNET_RUN": "yes"}, "expected 1, 0 or options"),
        ({"FASTNNUNET_RUN": "'"}, "No closing quotation"),
        ({"FASTNNUNET_RUN": "1", "nnUNet_n_proc_DA": "-2"}, "[nnUNet_n_proc_DA] expected a number, got '-2'"),
    ],
)
def test_one_sentence_and_the_program_goes_on(environment: Mapping[str, str], expected: str) -> None:
    code = "from nnunetv2.inference.data_iterators import preprocessing_iterator_fromfiles as f; print(f.__module__)"
    done = call(sys.executable, "-c", code, environment=environment)
    assert printed(done) == ["nnunetv2.inference.data_iterators"]
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("fastnnunet"))
    assert expected in said
    assert said.endswith("; this program goes on with nnU-Net as it is")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_module_of_nnunet_that_runs_as_a_script_is_named() -> None:
    done = call(sys.executable, "-m", "nnunetv2.inference.data_iterators", environment={"FASTNNUNET_RUN": "1"})
    assert "expected a program that imports nnunetv2.inference.data_iterators, got it run as a script" in done.stderr


# What install() replaces is what is waited for

REPLACED = """
import sys, types
import nnunetv2.run.run_training, nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5
import fastnnunet_loader as fl, fastnnunet_autoload

def names():
    found = {}
    for module in [m for name, m in list(sys.modules.items()) if name.startswith("nnunetv2.")]:
        for name, value in vars(module).items():
            # A package has nothing but these.
            if not isinstance(value, types.ModuleType) and not name.startswith("__"):
                found[module.__name__, name] = value
            if isinstance(value, type) and value.__module__.startswith("nnunetv2."):
                found.update({(value.__module__, value.__name__, inner): own for inner, own in list(vars(value).items())})
    return found

fastnnunet_autoload.stop()
before = names()
fl.install()
after = names()
changed = {key[0] for key in after if after[key] is not before.get(key) and key[-1] != "__abstractmethods__"}
print(*sorted(changed))
# All programs have these helpers of nnU-Net: whoever takes nothing else of it is left alone.
waited = (*fastnnunet_autoload.REPLACED, "nnunetv2.utilities.utils")
assert changed and all(name.startswith(waited) for name in changed), changed
"""


@pytest.mark.slow
def test_modules_that_are_waited_for_are_those_in_which_something_is_replaced() -> None:
    changed = printed(call(sys.executable, "-W", "ignore", "-c", REPLACED))[-1].split()
    assert {"nnunetv2.inference.predict_from_raw_data", "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"} <= set(changed)


# Whole trainings

OPTIONS = ("3d_fullres", "0", "-tr", "nnUNetTrainerRecording", "-device", "cpu")
OWN_SCRIPT = """
import os
import sys

import torch
from nnunetv2.run.run_training import get_trainer_from_args

sys.path.insert(0, os.environ["nnUNet_extTrainer"])
trainer = get_trainer_from_args(sys.argv[1], "3d_fullres", 0, "nnUNetTrainerRecording", device=torch.device("cpu"))
trainer.run_training()
trainer.perform_actual_validation(False)
"""


@pytest.fixture(scope="module")
def expected() -> dict[str, list[str]]:
    """The batches of `fastnnunet train`, once they are there."""
    return {}


@pytest.fixture
def environment(nnunet_dataset: Any, tmp_path: Path) -> tuple[Any, dict[str, str]]:
    dataset, results = nnunet_dataset("default"), tmp_path / "results"
    results.mkdir()
    own = {"nnUNet_results": str(results), "nnUNet_extTrainer": str(TRAINERS), "RECORD_FILE": str(results / "batches.txt")}
    # torch's threads else wait for each other at full speed, which takes minutes beside other busy processes.
    own["OMP_WAIT_POLICY"] = "PASSIVE"
    return dataset, {**dataset.env, **own}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["console script", pytest.param("bash", marks=pytest.mark.long), "variable", "python -m", "own script", "fastnnunet train"],
)
def test_trainings_see_the_batches_of_fastnnunet_train(
    environment: tuple[Any, dict[str, str]], expected: dict[str, list[str]], tmp_path: Path, kind: str
) -> None:
    dataset, variables = environment
    if not expected:
        first = tmp_path / "first"
        assert_finished(train(dataset, first, "--seed", "5"), output_folder(dataset, first))
        expected["batches"] = batches(first)
    trace, settings = Trace(tmp_path / "trace.txt"), ("--threads", "2", "--seed", "5")
    (tmp_path / "job.sh").write_text('set -e\nexec nnUNetv2_train "$@"\n', encoding="utf-8")
    (tmp_path / "my_training.py").write_text(OWN_SCRIPT, encoding="utf-8")
    command = {
        "console script": [*RUN, *settings, *trace.command, SCRIPTS / "nnUNetv2_train", dataset.name, *OPTIONS],
        "bash": [*trace.command, *RUN, *settings, "bash", tmp_path / "job.sh", dataset.name, *OPTIONS],
        "variable": [*trace.command, SCRIPTS / "nnUNetv2_train", dataset.name, *OPTIONS],
        "python -m": [*trace.command, sys.executable, "-m", "nnunetv2.run.run_training", dataset.name, *OPTIONS],
        "own script": [*RUN, *settings, *trace.command, sys.executable, tmp_path / "my_training.py", dataset.name],
        # Its own settings count, not the variable's.
        "fastnnunet train": [*trace.command, *RUN[:-1], "train", dataset.name, *OPTIONS, "--seed", "5"],
    }[kind]
    if kind in ("variable", "python -m"):
        variables["FASTNNUNET_RUN"] = " ".join(settings)
    elif kind == "fastnnunet train":
        variables["FASTNNUNET_RUN"] = "--seed 6"
    done = call(*command, environment=variables)
    assert_finished(done, output_folder(dataset, tmp_path / "results"))
    trace.assert_no_worker()
    assert batches(tmp_path / "results") == expected["batches"]
    assert "goes on with nnU-Net" not in done.stderr
