"""Class locations that no preprocessing found: where they are kept, and when they are found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_folders import numpy_folder, open_folder, write_case

from fastnnunet_loader import _core
from fastnnunet_loader.loading.scripts import locations as module


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The segmentations that classes were looked for in."""
    calls: list[Path] = []
    original = _core.find_class_locations

    def recording(file: Path, *args: Any, **kwargs: Any) -> Any:
        calls.append(Path(file))
        return original(file, *args, **kwargs)

    monkeypatch.setattr(module._core, "find_class_locations", recording)
    return calls


def run(root: Path, **settings: Any) -> list[Any]:
    with open_folder(root, oversample_foreground=1.0, **settings) as loader:
        return [next(loader)["image"].clone().numpy() for _ in range(6)]


def test_they_are_found_once_and_kept_beside(tmp_path: Path, found: list[Path]) -> None:
    root = numpy_folder(tmp_path / "cases")
    first = run(root)
    assert len(found) == len(set(found)) == 4
    assert sorted(file.name.split(".")[0] for file in (root / "class_locations").iterdir()) == [f"case_{i}" for i in range(4)]
    again = run(root)
    assert len(found) == 4
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_they_are_found_again_for_other_labels_other_classes_and_damaged_files(tmp_path: Path, found: list[Path]) -> None:
    root = numpy_folder(tmp_path / "cases", "npy", cases=1)
    run(root)
    run(root, classes=[1])
    assert len(found) == 2
    run(root)
    run(root, classes=[1])
    assert len(found) == 2
    labels = np.load(root / "case_0_seg.npy")
    labels[0, 1, 1, 1] = 5
    np.save(root / "case_0_seg.npy", labels)
    run(root)
    assert len(found) == 3
    for file in (root / "class_locations").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    run(root)
    assert len(found) == 4


def test_a_voxel_of_a_large_file_is_not_missed(tmp_path: Path, found: list[Path]) -> None:
    """Of a file that is not compressed, the digest is of parts only."""
    root = tmp_path / "cases"
    root.mkdir()
    labels = np.zeros((1, 64, 64, 64), np.int8)
    labels[0, 8, 8, 8] = 1
    write_case(root, "case_0", np.zeros(labels.shape, np.float32), labels, "npy")
    run(root)
    labels[0, 40, 41, 42] = 2
    np.save(root / "case_0_seg.npy", labels)
    run(root)
    assert len(found) == 2


def test_a_read_only_folder_is_left_alone(tmp_path: Path, found: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "users_cache", lambda: tmp_path / "cache")
    root = numpy_folder(tmp_path / "cases")
    (root / "class_locations").write_text("a file, so that nothing can be written below it", encoding="utf-8")
    run(root)
    run(root)
    assert len(found) == 4
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 4


def test_a_cache_folder_may_be_given(tmp_path: Path, found: list[Path]) -> None:
    root = numpy_folder(tmp_path / "cases")
    run(root, cache=tmp_path / "cache")
    run(root, cache=tmp_path / "cache")
    assert len(found) == 4
    assert not (root / "class_locations").exists()
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 4


def test_where_nothing_can_be_kept_they_are_found_each_time(
    tmp_path: Path, found: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = numpy_folder(tmp_path / "cases")
    for place in (root / "class_locations", tmp_path / "cache"):
        place.write_text("", encoding="utf-8")
    monkeypatch.setattr(module, "users_cache", lambda: tmp_path / "cache")
    run(root)
    run(root)
    assert len(found) == 8
