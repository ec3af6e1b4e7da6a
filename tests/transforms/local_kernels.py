"""What the tests of the local transforms share: what batchgeneratorsv2 draws for its kernels and does not return."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import pytest
from batchgeneratorsv2.transforms.local import local_transform
from comparing import assert_images_agree
from images import brain
from recording import apply_recorded
from test_distributions import compare

import fastnnunet_loader as fl

SHAPES = [(29, 34, 31), (1, 40, 41), (37, 42)]
BORDERS = [(1, 1, 1), (1, 7), (5, 1, 6)]  # axes of one voxel


def note_kernels(monkeypatch: pytest.MonkeyPatch, transform: Any, values: str) -> None:
    """From now on get_parameters returns 'locations' and 'scales' of the kernels as well, and strengths that it hides."""
    drawn: list[dict[str, Any]] = []
    cls = type(transform)
    module: Any = importlib.import_module(cls.__module__)
    generate, get = local_transform.LocalTransform._generate_kernel, cls.get_parameters
    sample, sample_strength = local_transform.sample_scalar, module.sample_scalar

    def noting_scalar(*args: Any) -> Any:
        value = sample(*args)
        if drawn:  # else it is of another class
            drawn[-1]["numbers"].append(value)
        return value

    @functools.wraps(generate)
    def noting_kernel(self: Any, shape: Any) -> Any:
        drawn.append({"numbers": [], "strength": 0.0})
        return generate(self, shape)

    def noting_strength(*args: Any) -> Any:
        value = sample_strength(*args)
        if drawn and len(args) == 3:  # the strength of a brightness gradient: it is told image and kernel
            drawn[-1]["strength"] = value
        return value

    @functools.wraps(get)
    def noting_parameters(self: Any, **data: Any) -> dict[str, Any]:
        drawn.clear()
        parameters: dict[str, Any] = get(self, **data)
        kernels = list(drawn)
        if values == "hidden":
            kernels = [k for k, d in zip(kernels, drawn, strict=True) if d["strength"] != 0]
            each = [k["strength"] for k in kernels]
            present = [kernel is not None for kernel in parameters["kernels"]]
            if self.same_for_all_channels:
                each = each * sum(present)
            strengths = iter(each)
            parameters["strengths"] = [next(strengths) if there else None for there in present]
        parameters["locations"] = [k["numbers"][::2] for k in kernels]
        parameters["scales"] = [k["numbers"][1::2] for k in kernels]
        return parameters

    monkeypatch.setattr(local_transform, "sample_scalar", noting_scalar)
    monkeypatch.setattr(local_transform.LocalTransform, "_generate_kernel", noting_kernel)
    if values == "hidden":
        monkeypatch.setattr(module, "sample_scalar", noting_strength)
    monkeypatch.setattr(cls, "get_parameters", noting_parameters)


def check_both_ways(transform: Any, shape: tuple[int, ...], channels: int, values: str, *, seed: int = 0, **how: Any) -> bool:
    """Replays one application, with batchgeneratorsv2's kernels and with kernels made anew; whether it did anything."""
    image, _ = brain(channels, shape, seed=seed)
    spoil = how.pop("spoil", None)
    if spoil is not None:
        spoil(image)
    before = image.copy()
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native, pipeline.fallbacks
    expected, trace = apply_recorded(transform, image, None, seed)
    got = pipeline.replay(trace, image=image)
    assert_images_agree(got["image"], expected["image"], **how)
    with pytest.MonkeyPatch.context() as patch:
        note_kernels(patch, transform, values)
        again, trace = apply_recorded(transform, image, None, seed)
    assert_images_agree(again["image"], expected["image"], 0.0)
    assert "locations" in trace[0][1]
    got = pipeline.replay(trace, image=image)
    assert_images_agree(got["image"], expected["image"], **how)
    assert np.array_equal(image, before, equal_nan=True)
    return not np.array_equal(expected["image"].numpy(), before, equal_nan=True)


def check_everywhere(transform: Any, values: str = "returned") -> None:
    """Shapes, channels, a hole of NaN, and constant images."""
    acted = 0
    for shape in [*SHAPES, *BORDERS]:
        for channels in (1, 4) if shape == SHAPES[0] else (2,):
            for seed in range(3):
                acted += check_both_ways(transform, shape, channels, values, seed=seed)
    assert acted > 3

    def hole(image: np.ndarray) -> None:
        image[0, ..., 3, 4] = np.nan

    def flat(image: np.ndarray) -> None:
        image[:] = 3.5

    for spoil in (hole, flat):
        for seed in range(4):
            check_both_ways(transform, (9, 12, 13), 2, values, seed=seed, spoil=spoil)


def compare_draws(monkeypatch: pytest.MonkeyPatch, transform: Any, values: str = "returned") -> None:
    """That what is drawn natively is spread as what batchgeneratorsv2 draws."""
    # Kernels are computed for every draw: a cheap distribution function in place of SciPy's general one.
    from scipy.special import ndtr

    pipeline = fl.compile_transforms(transform)
    monkeypatch.setattr(local_transform.st.norm, "cdf", lambda x, loc, scale: ndtr((x.astype(np.float64) - loc) / scale))
    note_kernels(monkeypatch, transform, values)
    compare(transform, (2, 6, 7), least_parameters=3, pipeline=pipeline)


def check_refusals(transform: Any, values: str, **more: Any) -> None:
    """Replays with parameters that do not fit."""
    pipeline = fl.compile_transforms(transform)
    image = np.zeros((2, 4, 5, 6), np.float32)
    good = {"apply_to_channel": [0, 1], values: [0.5, 0.6], "locations": [[0.5] * 3] * 2, "scales": [[2.0] * 3] * 2} | more
    pipeline.replay([(transform, good)], image=image)
    bad: list[tuple[str, Any]] = [
        (values, [0.5]),
        ("locations", [[0.5] * 2] * 2),
        ("locations", [[0.5] * 3] * 3),
        ("scales", [[2.0] * 3]),
        ("scales", [[2.0] * 4] * 2),
        ("apply_to_channel", [0, 2]),
    ]
    name = type(transform).__name__
    for key, value in bad:
        with pytest.raises(fl.TransformError, match=rf"\[{name}\].*\[{name}\] expected .*'({key}|locations)'.*, got") as caught:
            pipeline.replay([(transform, good | {key: value})], image=image)
        assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(fl.TransformError, match=r"'kernels' of 120 numbers"):
        pipeline.replay([(transform, {"kernels": [np.zeros((4, 5), np.float32), None], values: [1, None]} | more)], image=image)
