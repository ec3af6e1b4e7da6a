"""The example of a transform that is written in C++ in a package of its own: built, registered and compiled."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform

import fastnnunet_loader as fl

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp_transform"


# The core is built with the default compiler. A plug-in may be built with another one, and another layout of std::string.
COMPILERS = {"c++": [], "clang++": ["CMAKE_CXX_FLAGS=-D_GLIBCXX_USE_CXX11_ABI=0"]}


@pytest.fixture(scope="module", params=COMPILERS)
def vignette(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The example's package, installed into a folder of this test."""
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}")
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--target", str(folder)]
    settings = [f"FASTNNUNET_INCLUDE={fl.get_include()}", f"CMAKE_CXX_COMPILER={request.param}", *COMPILERS[request.param]]
    for setting in settings:
        command += ["--config-settings", f"cmake.define.{setting}"]
    done = subprocess.run([*command, str(EXAMPLE)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    try:
        for name in [name for name in sys.modules if name.split(".")[0] == "vignette_transform"]:
            del sys.modules[name]
        import vignette_transform
    finally:
        sys.path.remove(str(folder))
    assert Path(vignette_transform.__file__).is_relative_to(folder)
    return vignette_transform.VignetteTransform


def image_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(10, 1, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 17, 20, 23), (1, 30, 33)])
def test_the_same_in_cpp_and_in_python(vignette: Any, shape: tuple[int, ...]) -> None:
    transform = vignette((0.2, 0.9))
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native
    image = image_of(shape)
    parameters = transform.get_parameters(image=torch.from_numpy(image))
    expected = transform._apply_to_image(torch.from_numpy(image.copy()), **parameters)
    got = pipeline.replay([(transform, parameters)], image=image)["image"]
    assert not np.array_equal(got.numpy(), image)
    assert torch.allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_it_is_a_leaf_like_any_other(vignette: Any) -> None:
    tree = ComposeTransforms([RandomTransform(vignette((0.2, 0.9)), 0.5), MirrorTransform((0, 1, 2))])
    pipeline = fl.compile_transforms(tree)
    assert "VignetteTransform  [native]" in pipeline.describe()
    traces = [pipeline.draw((1, 9, 9, 9), seed=1, step=step) for step in range(400)]
    strengths = [p["parameters"][0] for trace in traces for t, p in trace if type(t) is vignette]
    assert 150 < len(strengths) < 250
    assert 0.2 <= min(strengths) < 0.25 and 0.85 < max(strengths) < 0.9
    image = image_of((1, 9, 9, 9))
    a, b = (pipeline(image=image, seed=1, step=3)["image"] for _ in range(2))
    assert torch.equal(a, b)


def test_what_it_throws_is_named(vignette: Any) -> None:
    with pytest.raises(ValueError, match=r"\[VignetteTransform\] expected 0 <= strength <= 1"):
        fl.compile_transforms(vignette((0.5, 2)))


def test_an_object_that_is_no_capsule_is_refused() -> None:
    class Mine:
        pass

    fl.register_transform(Mine, lambda _: 7)
    with pytest.raises(TypeError, match=r"\[Mine\] expected a capsule named"):
        fl.compile_transforms(Mine())
    with pytest.raises(TypeError, match=r"\[register_transform\] expected a class, got 7"):
        fl.register_transform(7, lambda _: 7)  # type: ignore[arg-type]
