"""What users have to install: with the extra 'transforms', or without any, scripts need no other package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_no_line_to_run_takes_the_package_from_an_index_that_does_not_have_it() -> None:
    # Until there is a release, somebody else may own the name there.
    by_name = re.compile(r"pip install[^\n`#]*(?<![\w/.-])fastnnunet[-_]loader(?![\w.-]*\.whl|-\*|[^\s]*\s*@)")
    files = [file for folder in ("docs", "python", "examples", "scripts") for file in (ROOT / folder).rglob("*")]
    told = {}
    for file in [ROOT / "README.md", *files]:
        if file.suffix in (".md", ".py", ".sh", ".ipynb", ".html", ".txt", "") and file.is_file():
            found = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if by_name.search(line)]
            told.update({str(file.relative_to(ROOT)): line for line in found if "does not work" not in line})
    assert not told
    for line in ("pip install fastnnunet-loader", 'pip install "fastnnunet-loader[ray]"', "pip install -U fastnnunet_loader"):
        assert by_name.search(line), line


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def all_required(lines: list[str]) -> set[str]:
    """The distributions that these requirements bring, with those that they bring themselves."""
    found: set[str] = set()
    waiting = [(Requirement(line), "") for line in lines]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = plain(requirement.name)
        if name == plain(PROJECT["name"]):
            waiting += [(Requirement(line), "") for one in requirement.extras for line in PROJECT["optional-dependencies"][one]]
            continue
        new = name not in found
        found.add(name)
        try:
            inner = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        waiting += [(one, chosen) for chosen in requirement.extras for one in inner]
        waiting += [(one, "") for one in inner] if new else []
    return found


# Modules of distributions that were not asked for are as if they were not installed.
ONLY = """
import json, sys
from importlib.machinery import PathFinder
OTHERS = set(json.loads(sys.argv[1]))
class Required(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in OTHERS else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Required
import numpy as np
import torch
import fastnnunet_loader as fl

rng = np.random.default_rng(0)
images = [rng.random((1, 20, 22, 24), np.float32) for _ in range(2)]
labels = [(image[0] > 0.5).astype(np.int16) for image in images]

def brighter(**data):
    return {**data, "image": data["image"] * float(np.random.uniform(1, 2))}

def batches(transforms):
    with fl.DataLoader.from_arrays(images, labels, patch_size=(8, 8, 8), batch_size=2, transforms=transforms, threads=1, seed=0,
                                   batches_per_epoch=2) as loader:
        return [batch["image"].shape for batch in loader]

assert batches(None) == batches([brighter]) == [(2, 1, 8, 8, 8)] * 2
network = torch.nn.Conv3d(1, 3, 1)
assert fl.predict_volume(network, images[0], (8, 8, 8), output="labels", shape=(30, 30, 30)).shape == (30, 30, 30)
assert len(fl.grid(images[0], (8, 8, 8))) == 100
assert fl.resample(images[0], (10, 10, 10)).shape == (1, 10, 10, 10)
"""

TRANSFORMS = """
assert batches(fl.augmentation.nnunet((8, 8, 8), trainer="nnUNetTrainerDA5")) == [(2, 1, 8, 8, 8)] * 2
assert batches(fl.augmentation.none((8, 8, 8))) == [(2, 1, 8, 8, 8)] * 2
"""

NO_TRANSFORMS = """
try:
    fl.augmentation.nnunet((8, 8, 8))
except ModuleNotFoundError as error:
    print(error)
"""


def run(code: str, extras: list[str]) -> str:
    lines = [*PROJECT["dependencies"], *(line for one in extras for line in PROJECT["optional-dependencies"][one])]
    wanted = all_required(lines)
    here = plain(PROJECT["name"])
    others = sorted(
        module
        for module, distributions in packages_distributions().items()
        if module not in sys.stdlib_module_names and not {plain(name) for name in distributions} & (wanted | {here})
    )
    assert "nnunetv2" in others

    done = subprocess.run(
        [sys.executable, "-c", ONLY + code, json.dumps(others)],
        capture_output=True, encoding="utf-8", check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_transforms_need_no_nnunet() -> None:
    run(TRANSFORMS, ["transforms"])


def test_without_extras_loaders_and_predictions_work() -> None:
    assert "pip install batchgeneratorsv2" in run(NO_TRANSFORMS, [])


def test_the_extra_of_nnunet_has_what_transforms_need() -> None:
    small, large = (all_required(PROJECT["optional-dependencies"][extra]) for extra in ("transforms", "nnunet"))
    assert small < large and "nnunetv2" in large - small
