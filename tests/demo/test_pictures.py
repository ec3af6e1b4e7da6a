"""Pictures of patches, and the command that draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from fastnnunet_loader.cli import main
from fastnnunet_loader.pictures import Patch, draw_patches, patches_of


def colours_in(file: Path) -> Any:
    pixels = imread(file)[..., :3]
    return pixels[(pixels.max(-1) - pixels.min(-1)) > 0.3]


@pytest.mark.parametrize(
    ("variant", "configuration"),
    [("default", "3d_fullres"), ("default", "2d"), ("two_channels", "3d_fullres"), ("regions", "3d_fullres")],
)
def test_preview_draws_patches_with_outlines(nnunet_dataset: Any, tmp_path: Path, variant: str, configuration: str) -> None:
    dataset = nnunet_dataset(variant)
    file = tmp_path / "patches.png"
    assert main(["preview", dataset.name, configuration, "0", "-o", str(file), "--patches", "3"]) == 0
    picture = imread(file)
    assert picture.shape[1] == 1600
    assert picture.std() > 0.1
    # Two labels or regions: outlines of two colours.
    outlines = colours_in(file)
    assert (outlines[:, 0] > 0.8).any()
    assert ((outlines[:, 1] > 0.7) & (outlines[:, 0] < 0.4)).any()
    assert not any(dataset.results.iterdir())


def test_the_same_seed_draws_the_same_picture(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, seed in zip(files, ("1", "1", "2"), strict=True):
        assert main(["preview", dataset.name, "2d", "0", "-o", str(file), "--seed", seed]) == 0
    one, two, three = (imread(file) for file in files)
    assert np.array_equal(one, two)
    assert one.shape != three.shape or not np.array_equal(one, three)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["99", "2d", "0"], "DATASET"), (["1", "4d", "0"], "CONFIG"), (["1", "2d", "x"], "FOLD")],
)
def test_wrong_arguments_are_named(nnunet_dataset: Any, tmp_path: Path, capsys: Any, arguments: list[str], said: str) -> None:
    nnunet_dataset("default")
    assert main(["preview", *arguments, "-o", str(tmp_path / "x.png")]) == 2
    assert f"[{said}] expected" in capsys.readouterr().err


def test_masks_are_those_of_the_full_resolution() -> None:
    target = np.zeros((2, 1, 4, 5, 6), np.int16)
    target[1, 0, 2:, 1, 3] = 2
    batch = {"data": np.ones((2, 1, 4, 5, 6), np.float32), "target": [target, target[..., ::2]], "keys": ["a", "b"]}
    a, b = patches_of(batch, [1, 2])
    assert (a.case, b.case) == ("a", "b")
    assert not a.masks[2].any()
    assert b.masks[2].shape == (4, 5, 6)
    assert b.masks[2].sum() == 2


def test_patches_without_labels_or_with_nan_are_drawn(tmp_path: Path) -> None:
    image = np.full((1, 9, 8, 7), np.nan, np.float32)
    file = draw_patches([Patch("a", image, {1: np.zeros((9, 8, 7), bool)})], {1: "x"}, tmp_path / "deep" / "a.png")
    assert imread(file).shape[1] == 1600
