"""Cases that are skipped: when they are tried again, and what an error says of a sample that was drawn again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunet_loaders import nnunet_loader

import fastnnunet_loader as fl
from fastnnunet_loader import _core
from fastnnunet_loader.loading.reading.cases import blosc2_files
from fastnnunet_loader.loading.sample_lines import Origin
from own_transforms import Data, Own


def copied(source: Any, folder: Path) -> Any:
    shutil.copytree(source._data.source_folder, folder)
    source._data.source_folder = str(folder)
    return source


@pytest.fixture
def small(nnunet_dataset: Any, tmp_path: Path) -> Any:
    """A loader of nnU-Net's without transforms, whose cases are copies."""
    return copied(nnunet_loader(nnunet_dataset("default"), ComposeTransforms([]), batch_size=1), tmp_path / "cases")


@pytest.mark.parametrize("which", ["image", "segmentation", "previous", "properties"])
def test_a_skipped_case_is_tried_again_where_any_of_its_files_is_another(small: Any, tmp_path: Path, which: str) -> None:
    folder, name = Path(small._data.source_folder), small.indices[0]
    previous = tmp_path / "previous"
    previous.mkdir()
    shutil.copy(folder / f"{name}_seg.b2nd", previous / f"{name}.b2nd")
    files = blosc2_files(folder, previous, name)
    path = folder / f"{name}.pkl" if which == "properties" else Path(getattr(files, which))
    stamp = _core.stamp_of_case(files)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert _core.stamp_of_case(files) != stamp
    path.write_bytes(whole)
    assert _core.stamp_of_case(files) == stamp
    path.unlink()
    assert _core.stamp_of_case(files) not in (stamp, "")


@pytest.mark.parametrize("ending", [".b2nd", "_seg.b2nd", ".pkl"])
def test_a_repaired_case_is_read_when_the_training_goes_on(small: Any, ending: str) -> None:
    name = small.indices[0]
    file = Path(small._data.source_folder) / f"{name}{ending}"
    whole = file.read_bytes()
    common: dict[str, Any] = {"threads": 1, "seed": 1, "on_bad_case": "skip"}
    file.write_bytes(b"neither")
    with fl.DataLoader.from_nnunet(small, **common) as loader:
        while not loader.bad_cases:
            next(loader)
        state = loader.state_dict()
    with fl.DataLoader.from_nnunet(small, **common) as loader:
        loader.load_state_dict(state)
        assert [bad.name for bad in loader.bad_cases] == [name]
    file.write_bytes(whole)
    with fl.DataLoader.from_nnunet(small, **common) as loader:
        loader.load_state_dict(state)
        assert loader.bad_cases == []


def test_an_error_of_a_sample_that_was_drawn_again_makes_it_again(nnunet_dataset: Any, tmp_path: Path) -> None:
    failing: list[bool] = []

    def fails(data: Data) -> Data:
        if failing:
            raise ValueError("does not like it")
        return data

    source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([Own(fails)]), batch_size=1)
    source = copied(source, tmp_path / "cases")
    name = source.indices[0]
    origin = Origin("Dataset001_A", "3d_fullres", 0, "nnUNetTrainer", "nnUNetPlans")

    def opened() -> fl.DataLoader:
        return fl.DataLoader.from_nnunet(source, threads=1, seed=1, on_bad_case="skip", patience=0, origin=origin)

    with opened() as loader:
        step = next(n for n in range(200) if loader.sampled(n, 0)[0] == name and loader.sampled(n, 0, 1)[0] != name)
    (Path(source._data.source_folder) / f"{name}.b2nd").write_bytes(b"")
    with opened() as loader:
        loader.load_state_dict({**loader.state_dict(), "step": step})
        failing.append(True)
        with pytest.raises(fl.SampleError, match="does not like it") as met:
            next(loader)
        error = met.value
        assert (error.seed, error.step, error.slot, error.attempt) == (1, step, 0, 1)
        assert error.sample == loader.sample_id(step, 0, 1)
        assert error.reproduce.endswith(f"seed=1, step={step}, slot=0, attempt=1)")
        # The same address, made alone, fails alike and says the same.
        with pytest.raises(fl.SampleError, match="does not like it") as again:
            loader.sample(step, 0, 1)
        assert again.value.reproduce == error.reproduce


@pytest.mark.parametrize("oversample", [0.0, 0.33, 1.0])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_loader_opens_where_its_first_sample_is_forced(nnunet_dataset: Any, batch_size: int, oversample: float) -> None:
    """With a Python transform the first sample is made to learn what comes out: where it is forced, it needs locations."""
    source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([Own(lambda data: data)]), batch_size=batch_size)
    source.oversample_foreground_percent = oversample
    with fl.DataLoader.from_nnunet(source, threads=1, seed=1) as loader:
        assert loader.sampled(0, 0)[1] == (round(batch_size * (1 - oversample)) == 0)
        assert len(next(loader)["keys"]) == batch_size
