"""What the commands that plan and preprocess install: the rest of nnU-Net comes only with whoever imports it."""

from __future__ import annotations

import subprocess
import sys

PLANNING = """
import multiprocessing, sys
from fastnnunet_loader import nnunet
from fastnnunet_loader.nnunet.installing.planning import THE_REST, installed_for_planning
from fastnnunet_loader.prediction.replacements.pools import ThreadMultiprocessing
from fastnnunet_loader.settings import Settings

def threads(module):
    return isinstance(module.multiprocessing, ThreadMultiprocessing)

with installed_for_planning(Settings(threads=2)):
    from nnunetv2.experiment_planning import plan_and_preprocess_api
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.preprocessing.resampling import default_resampling
    heavy = {"torch._dynamo", "seaborn", "matplotlib", *THE_REST} & sys.modules.keys()
    assert not heavy, heavy
    assert not nnunet.installed()
    assert DefaultPreprocessor.run.__module__.startswith("fastnnunet_loader"), DefaultPreprocessor.run
    assert default_resampling.resample_data_or_seg.__module__.startswith("fastnnunet_loader")
    assert threads(fingerprint_extractor)
    # A planner with more of its own imports more.
    from nnunetv2.evaluation import evaluate_predictions
    assert threads(evaluate_predictions) and not nnunet.installed()
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    assert nnunet.installed() and hasattr(nnUNetTrainer.run_training, "__wrapped__")
    assert threads(fingerprint_extractor) and DefaultPreprocessor.run.__module__.startswith("fastnnunet_loader")
assert not nnunet.installed()
assert fingerprint_extractor.multiprocessing is multiprocessing
assert DefaultPreprocessor.run.__module__.startswith("nnunetv2"), DefaultPreprocessor.run
assert not hasattr(nnUNetTrainer.run_training, "__wrapped__")
assert default_resampling.resample_data_or_seg.__module__.startswith("nnunetv2")
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("fastnnunet_loader")]
print("as before")
"""

UNTOUCHED = """
import sys
from fastnnunet_loader.nnunet.installing.planning import THE_REST, installed_for_planning
from fastnnunet_loader.settings import Settings

with installed_for_planning(Settings(threads=2)):
    from nnunetv2.experiment_planning import plan_and_preprocess_api
heavy = {"torch._dynamo", "seaborn", "matplotlib", *THE_REST} & sys.modules.keys()
assert not heavy, heavy
print("none")
"""

INSTALLED = """
import fastnnunet_loader as fl
from fastnnunet_loader import nnunet
from fastnnunet_loader.nnunet import runs
from fastnnunet_loader.nnunet.installing.planning import installed_for_planning
from fastnnunet_loader.settings import Settings

fl.install(threads=3)
with installed_for_planning(Settings(threads=2)):
    assert runs.installation().settings.threads == 2
assert runs.installation().settings.threads == 3
fl.uninstall()
with installed_for_planning(Settings(threads=2)):  # trainers have been imported
    assert nnunet.installed()
assert not nnunet.installed()
print("as before")
"""


def said_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_trainers_are_left_until_somebody_imports_them() -> None:
    assert said_by(PLANNING).endswith("as before\n")


def test_nothing_is_imported_to_undo_what_was_not_installed() -> None:
    assert said_by(UNTOUCHED).endswith("none\n")


def test_an_install_before_is_used_and_kept() -> None:
    assert said_by(INSTALLED).endswith("as before\n")
