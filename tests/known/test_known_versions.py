"""Other versions of nnU-Net than the installed one: too old, as known, newer; installed, in a source tree, in a fork."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastnnunet_loader import known
from fastnnunet_loader.known import versions


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


def run(code: str, *folders: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, folders), *sys.path])},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


COMPARED = """
import importlib, json
from fastnnunet_loader import known
from fastnnunet_loader.known.roots import ROOTS
said = {}
for part, entries in ROOTS.items():
    for where, names in entries:
        module, _, name = where.partition(":")
        try:
            root = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        root = getattr(root, name) if name else root
        here = [n for n in names.split() if hasattr(root, n)]
        if names and not here:
            continue
        changes = known.changed(root, *here)
        if changes:
            said[where] = list(map(str, changes))
print(json.dumps(said))
"""


# What does not mean there what native code does.
OTHERWISE = {
    # Labels that tie, and what lies outside (docs/parity.md).
    ("batchgeneratorsv2", "0.3.5"): {"SpatialTransform._apply_to_image", "SpatialTransform._apply_to_segmentation"},
    # Preprocessed files with other codecs, filters and blocks.
    **{("nnunetv2", version): {"DefaultPreprocessor.run_case_save"} for version in ("2.6.4", "2.7.0")},
    ("batchgenerators", "0.25.1"): {"nnunetv2.preprocessing.resampling.default_resampling.resize_segmentation"},
}


def differing(said: dict[str, list[str]]) -> set[str]:
    return {change.split(",")[0] for changes in said.values() for change in changes}


@pytest.mark.parametrize(
    ("package", "version"),
    [
        *(("nnunetv2", version) for version in ("2.6.4", "2.7.0", "2.8.0", "2.8.1")),
        *(("batchgeneratorsv2", version) for version in ("0.3.5", "0.3.6")),
        *(("batchgenerators", version) for version in ("0.25.1", "0.25.5")),
        *(("acvl_utils", version) for version in ("0.2.3", "0.2.6")),
    ],
)
def test_what_the_tested_versions_have_is_known(dataset_cache: Path, package: str, version: str) -> None:
    said = json.loads(run(COMPARED, folder_of(package, version, dataset_cache)).splitlines()[-1])
    assert differing(said) == OTHERWISE.get((package, version), set())
    assert all("not as in the tested versions" in change for changes in said.values() for change in changes)


REFUSED = """
import os, sys
import fastnnunet_loader as fl
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer
from tqdm import tqdm
touched = [MultiThreadedAugmenter, NonDetMultiThreadedAugmenter, SingleThreadedAugmenter, nnUNetTrainer.nnUNetTrainer,
    predict_from_raw_data.nnUNetPredictor, predict_from_raw_data, nnUNetTrainer, run_training, tqdm]
before = [dict(vars(one)) for one in touched], dict(os.environ)
try:
    fl.install()
except fl.NotSupportedError as error:
    print(error)
assert before == ([dict(vars(one)) for one in touched], dict(os.environ))
fl.uninstall()
"""


@pytest.mark.parametrize("tree", ["installed", "in a fork", "without a version"])
def test_nnunet_below_2_6_is_refused_and_nothing_is_changed(dataset_cache: Path, tmp_path: Path, tree: str) -> None:
    folder = folder_of("nnunetv2", "2.5.1", dataset_cache)
    number = "2.5.1"
    if tree != "installed":
        shutil.copytree(folder / "nnunetv2", tmp_path / "fork" / "nnunetv2")
        folder, number = tmp_path / "fork", "a version that nothing tells"
    if tree == "in a fork":
        (folder / "pyproject.toml").write_text('[project]\nname = "umamba"\nversion = "2.1.1"\n', encoding="utf-8")
        number = "2.1.1"
    said = run(REFUSED, folder).splitlines()
    assert said[-1] == f"[nnunetv2] expected version 2.6 or later, got {number} in {folder / 'nnunetv2'}"


VERSION = """
from fastnnunet_loader.known import versions
versions.require()
print(versions.found("nnunetv2"))
print(versions.note())
"""


def test_a_source_tree_without_metadata_is_taken_for_what_it_is(dataset_cache: Path, tmp_path: Path) -> None:
    """Not for the version that another copy has, which is installed but not imported."""
    shutil.copytree(folder_of("nnunetv2", "2.6.4", dataset_cache) / "nnunetv2", tmp_path / "nnunetv2")
    version, note = run(VERSION, tmp_path).splitlines()[-2:]
    assert version == f"a version that nothing tells in {tmp_path / 'nnunetv2'}"
    assert f"nnU-Net {version} has not been tested with this loader (tested: 2.6.4, 2.8.1)" in note
    assert differing(json.loads(run(COMPARED, tmp_path).splitlines()[-1])) == OTHERWISE["nnunetv2", "2.6.4"]


def test_an_installation_to_be_edited_has_its_version(tmp_path: Path) -> None:
    tree, site = tmp_path / "tree", tmp_path / "site"
    (tree / "nnunetv2").mkdir(parents=True)
    (tree / "nnunetv2" / "__init__.py").touch()
    information = site / "nnunetv2-9.9.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nnunetv2\nVersion: 9.9\n", encoding="utf-8")
    direct = {"url": tree.as_uri(), "dir_info": {"editable": True}}
    (information / "direct_url.json").write_text(json.dumps(direct), encoding="utf-8")
    code = 'from fastnnunet_loader.known import versions; print(versions.found("nnunetv2"))'
    assert run(code, tree, site).splitlines()[-1] == f"9.9 in {tree / 'nnunetv2'}"
    # Of another tree than the one that is imported it says nothing.
    direct["url"] = (tmp_path / "another").as_uri()
    (information / "direct_url.json").write_text(json.dumps(direct), encoding="utf-8")
    assert run(code, tree, site).splitlines()[-1] == f"a version that nothing tells in {tree / 'nnunetv2'}"


def test_an_untested_version_is_told_in_one_line(dataset_cache: Path) -> None:
    folder = folder_of("nnunetv2", "2.7.0", dataset_cache)
    _, note = run(VERSION, folder).splitlines()[-2:]
    assert note.startswith(
        f"nnU-Net 2.7.0 in {folder / 'nnunetv2'} has not been tested with this loader (tested: 2.6.4, 2.8.1)."
    )


def test_the_installed_versions_are_tested() -> None:
    versions.require()
    assert versions.note() is None
    assert versions.found("no_such_package") is None
    assert known.changed(versions.require) == []  # of this package: nothing of nnU-Net's
