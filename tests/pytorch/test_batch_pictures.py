"""Pictures of the next batches, as a notebook shows them."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl
from fastnnunet_loader.preview import batches as batches_module
from fastnnunet_loader.preview.pictures import Row


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numpy_folder(tmp_path_factory.mktemp("pictures") / "cases", channels=2)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """What is drawn, besides drawing it."""
    rows: list[Row] = []
    original = batches_module.draw

    def recording(given: Any, *more: Any) -> bytes:
        rows.extend(given)
        return original(given, *more)

    monkeypatch.setattr(batches_module, "draw", recording)
    return rows


def test_a_picture_shows_the_next_batches_and_uses_none_up(root: Path, drawn: list[Row]) -> None:
    settings: dict[str, Any] = {"transforms": fl.augmentation.nnunet((8, 8, 8)), "batches_per_epoch": 4}
    with open_folder(root, **settings) as plain:
        expected = [next(plain) for _ in range(4)]
    with open_folder(root, **settings) as loader:
        first = next(iter(loader))
        state = loader.state_dict()
        picture = loader.preview(2)
        assert loader.state_dict() == state
        assert torch.equal(first["image"], expected[0]["image"])
        rest = list(loader)
    assert [row.heading for row in drawn] == ["batch 1", "batch 2"]
    for row, batch in zip(drawn, expected[1:3], strict=True):
        (line,) = row.lines
        assert [tile.title for tile in line] == batch["case"]
        for slot, tile in enumerate(line):
            assert len(tile.blocks) == 2  # channels
            for channel, block in enumerate(tile.blocks):
                at = int(re.findall(r"\[(\d+),:,:\]", block[0].heading)[0])
                assert np.array_equal(block[0].image, batch["image"][slot, channel, at])
                for label, outlined in block[0].outlined.items():
                    assert np.array_equal(outlined, batch["label"][slot, 0, at] == label)
                assert set(block[0].outlined) == {int(n) for n in batch["label"][slot].unique() if n > 0}
    for batch, other in zip(rest, expected[1:], strict=False):
        assert torch.equal(batch["image"], other["image"])
    assert picture.title == repr(loader).replace(", closed", "")


def test_a_notebook_gets_a_picture_and_a_file_is_written(root: Path, tmp_path: Path) -> None:
    with open_folder(root) as loader:
        picture = loader.preview()
    assert Image.open(io.BytesIO(picture._repr_png_())).size[0] == 1600
    html = picture._repr_html_()
    assert base64.b64decode(html.split("base64,")[1].split('"')[0]) == picture._repr_png_()
    assert 'alt="DataLoader(4 cases, ' in html
    file = picture.save(tmp_path / "new" / "batch.png")
    assert file.read_bytes() == picture._repr_png_()
    with Image.open(file) as written:
        assert written.format == "PNG"
    assert repr(picture).startswith("Preview(DataLoader(4 cases")


@pytest.mark.parametrize("what", ["slices", "no labels", "regions", "deep supervision", "device"])
def test_every_kind_of_batch_is_drawn(tmp_path: Path, drawn: list[Row], what: str) -> None:
    root = numpy_folder(tmp_path / "cases", labels=what != "no labels")
    patch = (10, 12) if what == "slices" else (8, 8, 8)
    made = {
        "regions": fl.augmentation.none(patch, regions=[(1, 2), (2,)]),
        "deep supervision": fl.augmentation.none(patch, deep_supervision_scales=[[1, 1, 1], [0.5, 0.5, 0.5]]),
    }
    to = "meta" if what == "device" else None
    with open_folder(root, patch_size=patch, transforms=made.get(what), oversample_foreground=1.0, to=to) as loader:
        picture = loader.preview()
    assert picture.png.startswith(b"\x89PNG")
    (row,) = drawn
    panels = [block[0] for tile in row.lines[0] for block in tile.blocks]
    assert len(panels) == 3
    expected = {"no labels": 0, "regions": 2}.get(what)
    assert all(len(panel.outlined) == expected if expected is not None else panel.outlined for panel in panels)
    assert all(panel.image is not None and panel.image.shape == patch[-2:] for panel in panels)


def test_skipped_cases_are_not_drawn(tmp_path: Path, drawn: list[Row]) -> None:
    root = numpy_folder(tmp_path / "cases", "npy", cases=5)
    bad = root / "case_3.npy"
    bad.write_bytes(bad.read_bytes()[:-5000])
    settings: dict[str, Any] = {"batch_size": 4, "oversample_foreground": 0, "on_bad_case": "skip", "seed": 1}
    with open_folder(root, **settings) as loader:
        loader.preview(4)
        batches = [next(loader)["case"] for _ in range(4)]
        assert loader.bad_cases  # one of the batches would have had it
    assert [[tile.title for tile in row.lines[0]] for row in drawn] == batches
    with open_folder(root, **{**settings, "on_bad_case": "raise"}) as loader, pytest.raises(fl.BadCaseError, match="case_3"):
        loader.preview(4)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_a_wrong_number_of_batches_is_refused(root: Path, wrong: Any) -> None:
    with open_folder(root) as loader, pytest.raises(ValueError, match=r"\[batches\] expected a whole number above 0, got "):
        loader.preview(wrong)


def test_without_matplotlib_it_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with open_folder(root) as loader, pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
        loader.preview()
