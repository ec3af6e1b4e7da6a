"""The command that draws what the network will see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from fastnnunet_loader.cli.command import main

TRAINER = "nnUNetTrainer"


def preview(dataset: Any, configuration: str, file: Path, *arguments: str) -> Any:
    """The picture's pixels, (rows, columns, 3) from 0 to 1."""
    assert main(["preview", dataset.name, configuration, "0", "-o", str(file), *arguments]) == 0
    return imread(file)[..., :3]


def pure(pixels: Any, red: float, green: float, blue: float) -> int:
    """How many pixels have exactly this colour."""
    return int((np.abs(pixels - np.array([red, green, blue]) / 255).max(axis=-1) < 0.5 / 255).sum())


@pytest.mark.parametrize(
    ("variant", "configuration", "columns"),
    [
        ("default", "3d_fullres", ["--stages", "--targets"]),
        ("default", "2d", ["--draws", "6"]),
        ("anisotropic", "3d_fullres", []),
        ("regions", "3d_fullres", ["--draws", "2", "--targets"]),
        ("two_channels", "3d_fullres", ["--draws", "1"]),
        ("cascade", "3d_cascade_fullres", []),
    ],
)
def test_every_kind_of_data_set_is_drawn(
    nnunet_dataset: Any, tmp_path: Path, variant: str, configuration: str, columns: list[str]
) -> None:
    dataset = nnunet_dataset(variant)
    if variant == "cascade":
        dataset.add_previous_stage(TRAINER)
    before = sorted(dataset.results.rglob("*"))
    pixels = preview(dataset, configuration, tmp_path / "deep" / "patches.png", "--rows", "2", *columns)
    assert pixels.shape[1] == 1600
    pixels = pixels[:-70]  # without the legend
    # Titles are white, outlines have the colours of two labels or regions.
    assert pure(pixels, 255, 255, 255) > 500
    assert pure(pixels, 0xFF, 0x5A, 0x5F) > 100
    assert pure(pixels, 0x35, 0xD0, 0xBA) > 100
    assert sorted(dataset.results.rglob("*")) == before


def test_the_same_seed_draws_the_same_picture(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")

    def drawn(*arguments: str) -> Any:
        return preview(dataset, "2d", tmp_path / "x.png", "--rows", "1", "--draws", "2", *arguments)

    one = drawn("--seed", "1")
    assert np.array_equal(one, drawn("--seed", "1"))
    for other in (drawn("--seed", "2"), drawn("--seed", "1", "--step", "2"), drawn("--seed", "1", "--val")):
        assert one.shape != other.shape or not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["99", "2d", "0"], "[DATASET] expected"),
        (["1", "4d", "0"], "[CONFIG] expected"),
        (["1", "2d", "0", "--rows", "300"], "[picture] expected at most 65535 pixels of height"),
    ],
)
def test_wrong_arguments_are_named(nnunet_dataset: Any, tmp_path: Path, capsys: Any, arguments: list[str], said: str) -> None:
    nnunet_dataset("default")
    assert main(["preview", *arguments, "-o", str(tmp_path / "x.png")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--draws", "0"], ["--rows", "-1"], ["--step", "-1"], ["--stages", "--draws", "2"]])
def test_numbers_out_of_range_are_refused(tmp_path: Path, capsys: Any, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["preview", "1", "2d", "0", "-o", str(tmp_path / "x.png"), *arguments])
    assert ended.value.code == 2
    assert arguments[-2] in capsys.readouterr().err


def test_a_fold_that_is_none_is_refused(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["preview", "1", "2d", "x", "-o", str(tmp_path / "x.png")])
    assert "FOLD: expected a number or 'all', got 'x'" in capsys.readouterr().err


def test_the_line_of_an_error_draws_its_sample(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    one = preview(dataset, "2d", tmp_path / "one.png", "--reproduce", "seed=3,step=4,slot=0")
    assert np.array_equal(one, preview(dataset, "2d", tmp_path / "two.png", "--seed", "3", "--step", "4", "--rows", "1"))
    again = preview(dataset, "2d", tmp_path / "again.png", "--reproduce", "seed=3,step=4,slot=0,attempt=1")
    assert one.shape != again.shape or not np.array_equal(one, again)


@pytest.mark.parametrize("sample", ["seed=1,step=2", "seed=1,step=2,slot=x", "seed=1,step=2,slot=0,colour=3", "7"])
def test_samples_that_are_not_told_whole_are_refused(tmp_path: Path, capsys: Any, sample: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["preview", "1", "2d", "0", "-o", str(tmp_path / "x.png"), "--reproduce", sample])
    assert ended.value.code == 2
    assert sample in capsys.readouterr().err


def test_the_line_of_a_validation_sample_draws_it(nnunet_dataset: Any, tmp_path: Path, capsys: Any) -> None:
    dataset = nnunet_dataset("default")
    sample = "seed=3,step=4,slot=0"
    validation = preview(dataset, "2d", tmp_path / "one.png", "--seed", "3", "--step", "4", "--rows", "1", "--val")
    assert np.array_equal(validation, preview(dataset, "2d", tmp_path / "two.png", "--reproduce", f"{sample},role=val"))
    # Ranks share each batch: slots count in the whole of it.
    batch = int(dataset.plans["configurations"]["2d"]["batch_size"])
    half = f"seed=3,step=4,slot={batch // 2}"
    rank = preview(dataset, "2d", tmp_path / "rank.png", "--reproduce", f"{half},rank=1,ranks=2")
    assert np.array_equal(rank, preview(dataset, "2d", tmp_path / "alone.png", "--reproduce", half))
    capsys.readouterr()
    arguments = ["preview", dataset.name, "2d", "0", "-o", str(tmp_path / "x.png"), "--reproduce"]
    assert main([*arguments, f"{sample},rank=1,ranks=2"]) == 2
    told = f"[--reproduce] expected a slot from {batch // 2} to {batch - 1} of rank 1, got 0"
    assert told in capsys.readouterr().err
    assert main([*arguments, f"seed=3,step=4,slot={batch}"]) == 2
    assert f"[--reproduce] expected a slot below {batch}, got {batch}" in capsys.readouterr().err
    assert main([*arguments, f"seed=3,step=4,slot={batch - 1}"]) == 0
