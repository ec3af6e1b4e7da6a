"""Data sets are found by name and by number as nnU-Net finds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

from fastnnunet_loader.doctor.dataset import DatasetChecks
from fastnnunet_loader.errors import CommandError
from fastnnunet_loader.folders import dataset_folder, dataset_name, dataset_number

ROOTS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
FOLDERS = {
    "nnUNet_raw": ["Dataset001_A", "Dataset002_B", "Dataset005_raw only", "Dataset007", "Dataset020_B", "Dataset030_A"],
    "nnUNet_preprocessed": [
        "Dataset001_A",
        "Dataset002_B_backup",
        "Dataset1000_large",
        "DatasetXYZ_backup",
        "Dataset008old_H",
        ".Dataset009_I",
    ],
    "nnUNet_results": ["Dataset001_A", "Dataset003_model only", "dataset004_small letters", "Dataset0055_five", "backup"],
}
FILES = ["Dataset001_A.zip", "Dataset006_a file", ".DS_Store"]


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for root in ROOTS:
        monkeypatch.setenv(root, str(tmp_path / root))
        for name in FOLDERS[root]:
            (tmp_path / root / name).mkdir(parents=True)
        for name in FILES:
            (tmp_path / root / name).touch()
    (tmp_path / "nnUNet_preprocessed" / "Dataset040_link").symlink_to(tmp_path / "nnUNet_raw" / "Dataset001_A")
    return tmp_path


GIVEN = [
    "1", "001", "01", " 1 ", "+1", "2", "3", "4", "5", "6", "7", "8", "9", "20", "30", "40", "55", "100", "1000", "0", "-1",
    "1.0", "", "A", "Dataset001_A", "Dataset999_none", "DatasetXYZ_backup", "Dataset", "dataset001_A", "001_A", "1e0", "1_0",
]  # fmt: skip


@pytest.mark.parametrize("unset", [None, *ROOTS])
@pytest.mark.parametrize("given", GIVEN)
def test_names_are_nnunets(roots: Path, monkeypatch: pytest.MonkeyPatch, given: str, unset: str | None) -> None:
    if unset is not None:
        monkeypatch.delenv(unset)
    try:
        wanted = str(maybe_convert_to_dataset_name(given))
    except (RuntimeError, ValueError):
        with pytest.raises(CommandError, match=r"^\[-d\] expected .* got "):
            dataset_name(given, "-d")
    else:
        assert dataset_name(given, "-d") == wanted


def test_messages_name_what_is_there(roots: Path) -> None:
    preprocessed = roots / "nnUNet_preprocessed"
    with pytest.raises(CommandError) as error:
        dataset_name("2")
    assert str(roots / "nnUNet_raw" / "Dataset002_B") in str(error.value)
    assert str(preprocessed / "Dataset002_B_backup") in str(error.value)
    with pytest.raises(CommandError, match="Dataset001_A, Dataset002_B, "):
        dataset_name("999")
    # It is raw only.
    with pytest.raises(CommandError, match="expected a preprocessed data set, got '20'"):
        dataset_folder("20", preprocessed)
    for given in ("..", "Dataset001_A/..", "Dataset001_A.zip"):
        with pytest.raises(CommandError):
            dataset_folder(given, preprocessed)
    assert dataset_folder("1", preprocessed) == preprocessed / "Dataset001_A"
    assert dataset_folder("DatasetXYZ_backup", preprocessed).name == "DatasetXYZ_backup"


@pytest.mark.parametrize(
    ("name", "number"), [("Dataset001_A", 1), ("Dataset1000_large", 1000), ("Dataset008old", 8), ("DatasetXYZ", "DatasetXYZ")]
)
def test_number_of_a_folder(name: str, number: int | str) -> None:
    assert dataset_number(Path(name)) == number


@pytest.mark.parametrize("command", ["train", "bench", "preview", "predict"])
def test_every_command_finds_them_alike(roots: Path, command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from fastnnunet_loader.cli import command as cli

    (tmp_path / "images").mkdir()
    more = {
        "train": ["2", "3d_fullres", "0"],
        "bench": ["2", "3d_fullres", "0"],
        "preview": ["2", "3d_fullres", "0", "-o", str(tmp_path / "x.png")],
        "predict": ["-d", "2", "-c", "3d_fullres", "-i", str(tmp_path / "images"), "-o", str(tmp_path / "out")],
    }[command]
    assert cli.main([command, *more]) == 2
    wanted = "expected a number that one data set has, got 2: Dataset002_B, Dataset002_B_backup"
    assert wanted in capsys.readouterr().err
    assert wanted in DatasetChecks("2").find().found, "doctor, too"
