"""A plug-in in C, against the installed headers: what its functions do and report reaches Python, whoever compiled it."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import fastnnunet_loader as fl

SOURCE = Path(__file__).with_name("plugin.c")


@pytest.fixture(scope="module", params=["cc", "clang"])
def plugin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    compiler = shutil.which(request.param)
    if compiler is None:
        pytest.skip(f"no {request.param}")
    library = tmp_path_factory.mktemp(request.param) / f"c_plugin{sysconfig.get_config_var('EXT_SUFFIX')}"
    command = [compiler, "-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC"]
    command += ["-I", fl.get_include(), "-isystem", sysconfig.get_paths()["include"], str(SOURCE), "-o", str(library)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout
    spec = importlib.util.spec_from_file_location("c_plugin", library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Scale:
    """Stands for the transform in C."""

    def __init__(self, *settings: Any) -> None:
        self.settings = settings


@pytest.fixture(autouse=True)
def registered(plugin: ModuleType) -> Iterator[None]:
    fl.register_transform(Scale, lambda scale: plugin.make(*scale.settings), lambda _, parameters: parameters["factors"])
    yield
    gc.collect()
    assert plugin.living() == 0  # every table was let go of


IMAGE = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
LABELS = np.zeros((1, 5, 6, 7), np.int16)


def test_it_draws_and_changes_image_and_labels() -> None:
    pipeline = fl.compile_transforms(Scale())
    assert pipeline.all_native
    acted = 0
    for step in range(20):
        out = pipeline(image=IMAGE, segmentation=LABELS, seed=3, step=step)
        ((_, parameters),) = pipeline.draw(IMAGE.shape, seed=3, step=step)
        factors = np.float32(parameters["parameters"])
        if factors[0] >= 2.5:  # of which acts() says that they change nothing
            assert torch.equal(out["image"], torch.from_numpy(IMAGE))
            assert not out["segmentation"].any()
            continue
        acted += 1
        assert factors[0] >= 2 and 2 <= factors[1] < 3
        assert np.array_equal(out["image"].numpy(), IMAGE * factors[:, None, None, None])
        assert (out["segmentation"] == 1).all()
    assert 4 < acted < 16


def test_replay_gives_it_the_parameters() -> None:
    scale = Scale()
    out = fl.compile_transforms(scale).replay([(scale, {"factors": [2.0, 8.0]})], image=IMAGE)
    assert np.array_equal(out["image"].numpy(), IMAGE * np.float32([2, 8])[:, None, None, None])


@pytest.mark.parametrize("function", ["count", "draw", "acts", "apply"])
def test_a_function_that_fails_ends_the_sample(function: str) -> None:
    pipeline = fl.compile_transforms(Scale(function))
    with pytest.raises(fl.TransformError, match=rf"^\[Scale\] no {function} ä$"):
        for step in range(20):  # apply() is not called in each
            pipeline(image=IMAGE, seed=3, step=step)


def test_another_version_of_the_interface_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^\[Scale\] expected a plug-in of interface version 1, got one of version 2: build"):
        fl.compile_transforms(Scale("", 2))


def test_a_plugin_of_version_0_1_is_refused() -> None:
    """It has a C++ object where the table is now."""
    reason = (
        r"^\[Scale\] expected a capsule named 'fastnnunet_loader.plugin.transform', got '.*' of fastnnunet-loader 0.1: build"
    )
    with pytest.raises(TypeError, match=reason):
        fl.compile_transforms(Scale("", 1, True))
