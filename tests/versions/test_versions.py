"""Other versions of nnU-Net and of batchgeneratorsv2 than the installed ones, each in a folder of its own before the others."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trainers import nnunet_trainers

import fastnnunet_loader as fl
from datasets import KINDS_OF_DATA
from fastnnunet_loader.known.versions import TESTED

TESTS = Path(__file__).parent.parent


@functools.cache
def folder_of(package: str, version: str, cache: Path) -> Path:
    """Where pip has put this version, without what it needs: that is installed already."""
    folder = cache / f"{package}-{version}"
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={folder}.part"]
        done = subprocess.run([*command, f"{package}=={version}"], capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr
        Path(f"{folder}.part").rename(folder)
    return folder


def with_folder(folder: Path) -> dict[str, str]:
    """The variable that makes a new process find this version first."""
    # This package's own sources, where the tests run on them.
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def run(code: str, environment: dict[str, str], *, stderr: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(TESTS), str(TESTS / "transforms")],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stderr if stderr else done.stdout


TREES = """
import importlib.metadata, os, sys
from types import SimpleNamespace
sys.path[:0] = sys.argv[1:]
assert importlib.metadata.version("nnunetv2") == "2.6.4"
import warnings
warnings.simplefilter("ignore")
import pytest
from test_trainer_distributions import add_trees, assert_spread_alike
from test_trainers import assert_trees_agree
from trainers import distinct_trees
dataset, variant = SimpleNamespace(name=os.environ["DATASET"], add_previous_stage=lambda trainer: None), os.environ["VARIANT"]
for configuration in os.environ["CONFIGURATIONS"].split():
    drawn_from = {}
    add_trees(drawn_from, dataset, variant, configuration)
    with pytest.MonkeyPatch.context() as patch:
        assert_spread_alike(drawn_from, patch, least_parameters=50)
    replayed = distinct_trees(dataset, variant, configuration)
    assert_trees_agree(replayed, variant)
    print(configuration, len(replayed))
"""


@pytest.mark.slow
@pytest.mark.parametrize("variant", sorted({variant for variant, _ in KINDS_OF_DATA}))
def test_trees_of_nnunet_2_6(nnunet_dataset: Callable[[str], Any], dataset_cache: Path, variant: str) -> None:
    """Replays, and how parameters are spread, as for the installed version."""
    configurations = [configuration for of, configuration in KINDS_OF_DATA if of == variant]
    dataset = nnunet_dataset(variant)
    if variant == "cascade":
        for trainer in nnunet_trainers():
            dataset.add_previous_stage(trainer.__name__)
    folder = folder_of("nnunetv2", "2.6.4", dataset_cache)
    names = {"DATASET": dataset.name, "VARIANT": variant, "CONFIGURATIONS": " ".join(configurations)}
    printed = run(TREES, dataset.env | names | with_folder(folder))
    assert [line.split()[0] for line in printed.splitlines()[-len(configurations) :]] == configurations


def test_the_demo_asks_for_a_newer_nnunet(dataset_cache: Path, tmp_path: Path) -> None:
    environment = os.environ | with_folder(folder_of("nnunetv2", "2.6.4", dataset_cache))
    command = [sys.executable, "-m", "fastnnunet_loader.cli", "demo", "-o", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert "finds trainers outside of its own folder, got 2.6.4" in " ".join(done.stderr.split())


# nnU-Net 2.6 finds trainers in its own folders only, so this one is made here.
TRAINING = """
import json, os, sys
from pathlib import Path
import torch
import fastnnunet_loader as fl
fl.install(threads=2, seed=1)
sys.path.insert(0, os.environ["TRAINERS"])
from nnUNetTrainerRecording import nnUNetTrainerRecording
folder = Path(os.environ["nnUNet_preprocessed"], os.environ["DATASET"])
plans, dataset = (json.loads((folder / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
trainer = nnUNetTrainerRecording(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
trainer.run_training()
trainer.perform_actual_validation(False)
"""


@pytest.mark.slow
def test_training_with_nnunet_2_6(nnunet_dataset: Callable[[str], Any], dataset_cache: Path, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    record = tmp_path / "batches.txt"
    names = {"DATASET": dataset.name, "TRAINERS": str(TESTS / "nnunet" / "trainers"), "RECORD_FILE": str(record)}
    run(TRAINING, dataset.env | names | with_folder(folder_of("nnunetv2", "2.6.4", dataset_cache)))
    (output,) = (dataset.results / dataset.name).glob("*/fold_0")
    assert (output / "validation" / "summary.json").is_file()
    assert [line.split()[0] for line in record.read_text(encoding="utf-8").splitlines()] == (["train"] * 3 + ["val"] * 2) * 2
    log = "".join(file.read_text(encoding="utf-8") for file in output.glob("training_log_*.txt"))
    assert "fastnnunet_loader, training:" in log
    assert "runs in Python" not in log


OLD_TRANSFORMS = """
import numpy as np, torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
import fastnnunet_loader as fl
pipeline = fl.compile_transforms(GaussianNoiseTransform((1, 1), 1, True))
print(pipeline.describe())
# This version adds the same noise to all channels.
image = pipeline(image=np.zeros((2, 8, 8, 8), np.float32), seed=1)["image"]
assert torch.equal(image[0], image[1]) and image.std() > 0.5
"""


def test_transforms_of_an_old_version_run_in_python(dataset_cache: Path) -> None:
    folder = folder_of("batchgeneratorsv2", "0.3.0", dataset_cache)
    printed = run(OLD_TRANSFORMS, with_folder(folder))
    said = "[Python: its code has changed: GaussianNoiseTransform.get_parameters, not as in the tested versions"
    assert said in " ".join(printed.split())


UNTESTED = """
import fastnnunet_loader as fl
fl.install()
"""


@pytest.mark.parametrize(
    ("package", "version", "tested"),
    [("nnunetv2", "2.7.0", TESTED["nnunetv2"]), ("batchgeneratorsv2", "0.3.5", TESTED["batchgeneratorsv2"])],
)
def test_an_untested_version_gets_a_warning(dataset_cache: Path, package: str, version: str, tested: tuple[str, ...]) -> None:
    said = run(UNTESTED, with_folder(folder_of(package, version, dataset_cache)), stderr=True)
    (line,) = [line for line in said.splitlines() if "has not been tested with this loader" in line]
    assert all(number in line for number in (version, *tested))


def test_tested_versions_get_none(caplog: pytest.LogCaptureFixture) -> None:
    assert importlib.metadata.version("nnunetv2") in TESTED["nnunetv2"]
    fl.install()
    fl.uninstall()
    assert not caplog.records
