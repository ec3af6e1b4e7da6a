"""Commands write and delete only what they made: nothing of a user's that happens to have the same name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from fastnnunet_loader.cli.command import main
from fastnnunet_loader.cli.demo import MARKER, _own_folder

LIKELY = (
    "images/scan.nii.gz",
    "predicted/segmentation.nii.gz",
    "nnunet.log",
    "patches.png",
    "nnUNet_raw/Dataset900_Brains/dataset.json",
    "nnUNet_preprocessed/Dataset900_Brains/nnUNetPlans.json",
    "nnUNet_results/Dataset900_Brains/checkpoint_final.pth",
    "stats.jsonl",
    "stats.jsonl.1",
    "metrics.prom",
    "notes.txt",
)
"""What a user may have in a folder, under names that this package uses, too."""


def everything(folder: Path) -> dict[str, str]:
    """Digests of all files, and all folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mine"
    for name in LIKELY:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"my {name}", encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


TRAIN = ["train", "1", "3d_fullres", "0", "-device", "cpu"]


@pytest.mark.parametrize(
    "command",
    [
        ["demo", "-o", "."],
        ["demo", "-o", "nnUNet_raw"],
        ["preview", "1", "3d_fullres", "0", "-o", "patches.png"],
        ["preview", "1", "3d_fullres", "0", "-o", "notes.txt"],
        [*TRAIN, "--stats", "stats.jsonl"],
        [*TRAIN, "--stats", "notes.txt"],
        [*TRAIN, "--metrics", "metrics.prom"],
        ["run", "--metrics", "notes.txt", "true"],
    ],
    ids=" ".join,
)
def test_what_is_there_stays(users: Path, nnunet_dataset: Any, capsys: Any, command: list[str]) -> None:
    nnunet_dataset("default")
    before = everything(users)
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "expected a new " in said, said
    assert everything(users) == before


def test_an_older_file_of_statistics_is_looked_at_too(users: Path, nnunet_dataset: Any, capsys: Any) -> None:
    nnunet_dataset("default")
    (users / "stats.jsonl").unlink()
    before = everything(users)
    assert main([*TRAIN, "--stats", "stats.jsonl"]) == 2
    assert "stats.jsonl.1 with other content" in capsys.readouterr().err
    assert everything(users) == before


def test_commands_that_only_look_write_nothing(users: Path, nnunet_dataset: Any, capsys: Any) -> None:
    dataset = nnunet_dataset("default")
    before = everything(users), everything(dataset.preprocessed)
    main(["doctor", "--quick", "--json", dataset.name])
    assert capsys.readouterr().out.startswith(("{", "["))
    assert (everything(users), everything(dataset.preprocessed)) == before


def test_pictures_of_previews_are_drawn_anew(tmp_path: Path, nnunet_dataset: Any) -> None:
    dataset, picture = nnunet_dataset("default"), tmp_path / "new.png"
    drawn = []
    for seed in ("1", "2"):
        assert (
            main(["preview", dataset.name, "2d", "0", "-o", str(picture), "--rows", "1", "--draws", "1", "--seed", seed]) == 0
        )
        drawn.append(picture.read_bytes())
    assert drawn[0] != drawn[1]


def test_demo_takes_folders_that_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "new"):
        assert (_own_folder(tmp_path / name) / MARKER).is_file()
    (tmp_path / "new" / "images").mkdir()  # an earlier demo's
    _own_folder(tmp_path / "new")
