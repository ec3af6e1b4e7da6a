"""The package for C++ programs: installed into a folder, it builds the example, whose batches are those of Python."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest

import fastnnunet_loader as fl
from datasets import Dataset

ROOT = Path(__file__).parents[2]
HEADERS = ROOT / "cpp" / "include"
PATCH, CUT = (24, 28, 20), (32, 38, 28)
BATCHES, BATCH_SIZE, SEED = 6, 2, 7
MOST_LOCATIONS = 10_000  # of a class in the example


def run(*command: str | Path, fails: bool = False) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if shutil.which("ccache"):  # what other steps compiled is not compiled again
        environment.update(CMAKE_C_COMPILER_LAUNCHER="ccache", CMAKE_CXX_COMPILER_LAUNCHER="ccache")
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is installed, as README.md says."""
    prefix = tmp_path_factory.mktemp("prefix")
    run("cmake", "--preset", "package", f"-DPython_EXECUTABLE={sys.executable}")
    run("cmake", "--build", "--preset", "package")
    run("cmake", "--install", "build/package", "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def example(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of examples/cpp_loader, which saw nothing but the installed package."""
    build = tmp_path_factory.mktemp("cpp_loader")
    run("cmake", "-S", ROOT / "examples" / "cpp_loader", "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    commands = run("cmake", "--build", build, "--verbose")
    assert f"{prefix}/include" in commands
    assert str(HEADERS) not in commands
    return build / "cpp_loader"


def test_the_public_headers_are_installed_and_no_others(prefix: Path) -> None:
    def headers(folder: Path) -> set[Path]:
        return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}

    assert headers(prefix / "include") == headers(HEADERS)


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF library")
def test_the_library_shows_the_interface_alone(prefix: Path) -> None:
    """Not c-blosc2's functions, of which a process may have another copy, and no internal class."""
    (library,) = (path for path in prefix.rglob("libfastnnunet.so*") if not path.is_symlink())
    symbols = run("nm", "--dynamic", "--defined-only", "--demangle", "--format=just-symbols", library).splitlines()
    assert "fastnnunet::Loader::Loader" in "\n".join(symbols)
    # Instances of the standard library's templates are every library's own.
    others = [name for name in symbols if not re.search(r"fastnnunet::|std::|__gnu_cxx::", name)]
    assert not others
    internal = re.compile(r"^(?:\w+ for )?fastnnunet::(Arena|BatchQueue|BatchRing|SampleMaker|Pipeline|Workspace)\b")
    assert not [name for name in symbols if internal.match(name)]


def test_another_minor_version_is_refused(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.24)\nproject(other LANGUAGES CXX)\nfind_package(fastnnunet 0.99 REQUIRED)\n",
        encoding="utf-8",
    )
    told = run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}", fails=True)
    assert 'compatible with requested version "0.99"' in " ".join(told.split())


def with_locations_of_the_example(dataset: Dataset) -> None:
    """Write class locations as examples/cpp_loader finds them; nnU-Net's are random ones."""
    for file in dataset.folder().glob("*.pkl"):
        labels = blosc2.open(urlpath=str(file.with_name(f"{file.stem}_seg.b2nd")), mode="r")[:]
        properties = pickle.loads(file.read_bytes())
        properties["class_locations"] = {}
        for label in (1, 2):
            voxels = np.argwhere(labels == label)
            properties["class_locations"][label] = voxels[:: max(1, -(-len(voxels) // MOST_LOCATIONS))]
        file.write_bytes(pickle.dumps(properties))


def checksum_of_python(dataset: Dataset) -> int:
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    transforms = nnUNetTrainer.get_training_transforms(
        PATCH, (-np.pi / 6, np.pi / 6), [[1, 1, 1], [0.5, 0.5, 0.5]], (0, 1, 2), False
    )
    cases = str(dataset.folder())
    labels: Any = PlansManager(dataset.plans).get_label_manager({"labels": {"background": 0, "grey": 1, "white": 2}})
    theirs = nnUNetDataLoader(
        infer_dataset_class(cases)(cases), BATCH_SIZE, CUT, PATCH, labels,
        oversample_foreground_percent=0.33, transforms=transforms,
    )  # fmt: skip
    checksum = 0
    with fl.DataLoader.from_nnunet(theirs, threads=1, seed=SEED, memory_budget="64MB", pin_memory=False) as loader:
        assert loader.pipeline.all_native
        for _ in range(BATCHES):
            batch = next(loader)
            for tensor in (batch["data"], *batch["target"]):
                checksum = zlib.crc32(tensor.contiguous().numpy().tobytes(), checksum)
    return checksum


def test_the_example_makes_the_batches_of_python(
    example: Path, nnunet_dataset: Callable[[str], Dataset], tmp_path: Path
) -> None:
    dataset = nnunet_dataset("default").copy(tmp_path)
    with_locations_of_the_example(dataset)
    arguments = ["--patch", *map(str, PATCH), "--cut", *map(str, CUT), "--labels", "1", "2"]
    arguments += ["--batches", str(BATCHES), "--batch-size", str(BATCH_SIZE), "--seed", str(SEED)]
    told = run(example, dataset.folder(), *arguments, "--threads", "2")
    lines = told.splitlines()
    assert lines[0] == f"{len(dataset.cases())} cases in {dataset.folder()}"
    assert lines[1:4] == [
        f"data ({BATCH_SIZE}, 1, 24, 28, 20) float32",
        f"target ({BATCH_SIZE}, 1, 24, 28, 20) int16",
        f"target ({BATCH_SIZE}, 1, 12, 14, 10) int16",
    ]
    assert re.fullmatch(rf"{BATCHES} batches, [\d.e+]+ samples/s", lines[4])
    assert lines[5] == f"checksum {checksum_of_python(dataset):08x}"
    # Another number of threads, the same batches; another seed, others.
    assert run(example, dataset.folder(), *arguments, "--threads", "3").splitlines()[5] == lines[5]
    assert run(example, dataset.folder(), *arguments, "--seed", "8").splitlines()[5] != lines[5]


def test_the_example_says_what_is_wrong(example: Path, tmp_path: Path) -> None:
    needed = ("--patch", "8", "8", "8", "--labels", "1")
    assert "expected a folder that can be read" in run(example, tmp_path / "none", *needed, fails=True)
    (tmp_path / "case.npy").write_bytes(b"no array")
    (tmp_path / "case_seg.npy").write_bytes(b"no array")
    assert f"[case case, file {tmp_path / 'case.npy'}] " in run(example, tmp_path, *needed, fails=True)
    assert "usage: cpp_loader FOLDER" in run(example, tmp_path, fails=True)
    wrong = run(example, tmp_path, "--patch", "8", "x", fails=True)
    assert "expected a whole number after 8, got x" in wrong
