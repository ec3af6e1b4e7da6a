"""Loaders of folders: without nnU-Net, and the same batches as with it."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
import torch
from nnunet_loaders import nnunet_loaders
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl
from datasets import KINDS_OF_DATA

PACKAGE = Path(fl.__file__).parents[1]


def flat(batch: dict[str, Any], image: str, label: str, case: str) -> tuple[Any, list[Any], Any]:
    target = batch[label]
    return batch[image], target if isinstance(target, list) else [target], batch[case]


def assert_same(theirs: fl.DataLoader, ours: fl.DataLoader, count: int = 5) -> None:
    for _ in range(count):
        data, targets, keys = flat(next(theirs), "data", "target", "keys")
        image, labels, cases = flat(next(ours), "image", "label", "case")
        assert cases == keys
        assert torch.equal(image, data)
        for label, target in zip(labels, targets, strict=True):
            assert label.dtype == target.dtype
            assert torch.equal(label, target)


@pytest.mark.parametrize(("variant", "configuration"), KINDS_OF_DATA)
def test_batches_are_those_of_nnunets_loader(nnunet_dataset: Any, monkeypatch: Any, variant: str, configuration: str) -> None:
    """With its transforms, and with those that are built without a trainer."""
    dataset = nnunet_dataset(variant)
    train, val = nnunet_loaders(dataset, monkeypatch, configuration)
    previous = train._data.folder_with_segs_from_previous_stage
    dims = 2 if train.patch_size_was_2d else 3
    patch = tuple(int(n) for n in train.final_patch_size[-dims:])
    for role, source in (("train", train), ("val", val)):
        settings: dict[str, Any] = {
            "patch_size": patch, "batch_size": source.batch_size, "cases": list(source.indices), "previous_stage": previous,
            "oversample_foreground": source.oversample_foreground_percent, "ignore_label": 3 if variant == "ignore" else None,
        }  # fmt: skip
        common: dict[str, Any] = {"seed": 11, "threads": 2, "role": role, "pin_memory": False}
        built = {
            "deep_supervision_scales": source.transforms.transforms[-1].ds_scales,
            "cascade_labels": [1, 2] if variant == "cascade" else None,
            "regions": [(1, 2), (2,)] if variant == "regions" else None,
            "ignore_label": settings["ignore_label"],
        }
        if role == "train":
            masked = variant in ("two_channels",) and [
                bool(n) for n in dataset.plans["configurations"][configuration]["use_mask_for_norm"]
            ]
            made = fl.augmentation.nnunet(patch, **built, use_mask_for_norm=masked or None)
        else:
            made = fl.augmentation.none(patch, **built)
        initial = tuple(int(n) for n in source.patch_size[-dims:])
        for given in ({"transforms": source.transforms, "initial_patch_size": initial}, {"transforms": made}):
            with (
                fl.DataLoader.from_nnunet(source, **common) as theirs,
                fl.DataLoader.from_folder(dataset.folder(configuration), **settings, **given, **common) as ours,
            ):
                assert ours.fingerprint == theirs.fingerprint
                assert_same(theirs, ours)


WITHOUT_NNUNET = """
import sys
sys.modules["nnunetv2"] = None  # as if it were not installed: every import of it, or of a part of it, is an error
import fastnnunet_loader as fl
transforms = fl.augmentation.nnunet((8, 8, 8), trainer="nnUNetTrainerDA5")
with fl.DataLoader.from_folder(sys.argv[1], patch_size=(8, 8, 8), batch_size=2, batches_per_epoch=3, transforms=transforms,
                               seed=1, threads=1) as loader:
    batches = list(loader)
    state = loader.state_dict()
    loader.load_state_dict(state)
    print(loader, loader.stats().batches, loader.describe().count("native"), sep="\\n")
assert len(batches) == 3
assert [name for name in sys.modules if name.split(".")[0] == "nnunetv2"] == ["nnunetv2"]
"""


def test_nnunet_is_imported_nowhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NNUNET, str(numpy_folder(tmp_path / "cases"))],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True, encoding="utf-8", check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("DataLoader(4 cases, batches of 2 x (8, 8, 8), 3 an epoch, 1 threads, seed 1, rank 0, ")


@pytest.mark.parametrize("ending", ["b2nd", "npy", "npz"])
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch_size", [(8, 10, 12), (10, 12)])
def test_every_kind_of_folder(tmp_path: Path, ending: str, labels: bool, channels: int, patch_size: tuple[int, ...]) -> None:
    """Voxels are those of the case, at one place for all channels and the labels."""
    root = numpy_folder(tmp_path / "cases", ending, labels=labels, channels=channels)
    with open_folder(root, patch_size=patch_size) as loader:
        for step in range(4):
            batch = next(loader)
            assert set(batch) == ({"image", "label", "case"} if labels else {"image", "case"})
            assert batch["image"].shape == (3, channels, *patch_size)
            for slot, name in enumerate(batch["case"]):
                case, forced, window = loader.sampled(step, slot)
                assert case == name
                assert forced == (labels and slot == 2)
                outside = [(max(-low, 0), max(high - size, 0)) for (low, high), size in zip(window, (20, 24, 28), strict=True)]
                padded = np.pad(whole(root, name, ending, "data"), [(0, 0), *outside])
                inside = tuple(
                    slice(low + before, high + before) for (low, high), (before, _) in zip(window, outside, strict=True)
                )
                expected = padded[(slice(None), *inside)].reshape(channels, *patch_size)
                assert np.array_equal(batch["image"][slot], expected)
                if labels:
                    assert batch["label"].shape == (3, 1, *patch_size)
                    padded = np.pad(whole(root, name, ending, "seg"), [(0, 0), *outside], constant_values=-1)
                    assert np.array_equal(batch["label"][slot], padded[(slice(None), *inside)].reshape(1, *patch_size))
                    if forced:
                        assert (batch["label"][slot] > 0).any()


def whole(root: Path, name: str, ending: str, member: str) -> Any:
    if ending == "npz":
        with np.load(root / f"{name}.npz") as arrays:
            return arrays[member]
    file = root / f"{name}{'_seg' if member == 'seg' else ''}.{ending}"
    return np.load(file) if ending == "npy" else blosc2.open(urlpath=str(file), mode="r")[:]


def test_an_augmentation_runs_without_labels(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases", labels=False)
    made = fl.augmentation.nnunet((8, 8, 8), deep_supervision_scales=[[1, 1, 1], [0.5, 0.5, 0.5]])
    with open_folder(root, transforms=made) as loader:
        for _ in range(5):
            batch = next(loader)
            assert set(batch) == {"image", "case"}
            assert torch.isfinite(batch["image"]).all()


def test_a_length_makes_epochs_and_none_makes_an_endless_iterator(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases")
    with open_folder(root) as loader:
        assert iter(loader) is loader
        assert len(list(itertools.islice(loader, 7))) == 7
        with pytest.raises(TypeError, match="batches_per_epoch"):
            len(loader)
        assert loader
    with open_folder(root) as endless, open_folder(root, batches_per_epoch=3) as loader:
        assert len(loader) == 3
        seen = [batch["image"].clone() for _ in range(2) for batch in loader]
        assert len(seen) == 6  # two epochs, the second one goes on
        next(iter(loader))  # a loop that ends early
        assert len(list(loader)) == 3
        expected = [next(endless)["image"].clone() for _ in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))


@pytest.mark.parametrize("at", [0, 2, 4, 6])
def test_a_state_continues_within_an_epoch(tmp_path: Path, at: int) -> None:
    root = numpy_folder(tmp_path / "cases")

    def rest(loader: fl.DataLoader) -> list[list[torch.Tensor]]:
        return [[batch["image"].clone() for batch in loader] for _ in range(3)]

    with open_folder(root, batches_per_epoch=4) as loader:
        whole_epochs, part = divmod(at, 4)
        for _ in range(whole_epochs):
            list(loader)
        iterator = iter(loader)
        for _ in range(part):
            next(iterator)
        state = loader.state_dict()
        begun = list(iterator)
        expected = [[batch["image"].clone() for batch in begun], *rest(loader)]
    with open_folder(root, batches_per_epoch=4, seed=99) as loader:
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        found = [[batch["image"].clone() for batch in loader], *rest(loader)]
    if part == 0 and at:  # the end of an epoch, or the beginning of the next one
        assert len(found[0]) == 4
    assert [len(epoch) for epoch in found] == [len(epoch) for epoch in expected]
    for a, b in zip(itertools.chain(*found), itertools.chain(*expected), strict=True):
        assert torch.equal(a, b)


def test_what_belongs_to_a_case_comes_along(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases")
    names = [f"case_{i}" for i in (2, 0, 3)]
    given = {
        "age": [20, 0, 30],
        "weight": {name: float(i) for i, name in zip((2, 0, 3, 7), [*names, "other"], strict=True)},
        "onehot": torch.eye(3)[[2, 0, 1]],
        "site": ["b", "a", "c"],
    }
    with open_folder(root, cases=names, per_case=given) as loader:
        assert loader.keys == names
        for _ in range(4):
            batch = next(loader)
            numbers = [int(name[-1]) for name in batch["case"]]
            assert batch["age"].tolist() == [10 * n for n in numbers]
            assert batch["age"].dtype == torch.int64
            assert batch["weight"].tolist() == numbers
            assert batch["weight"].dtype == torch.float32
            assert batch["onehot"].argmax(1).tolist() == [{2: 2, 0: 0, 3: 1}[n] for n in numbers]
            assert batch["site"] == [{2: "b", 0: "a", 3: "c"}[n] for n in numbers]


def test_keys_are_as_asked_for(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases")
    with open_folder(root, image_key="img", label_key="mask", case_key="subject") as loader:
        assert set(next(loader)) == {"img", "mask", "subject"}
        assert set(loader.sample(0, 0)) == {"img", "mask", "subject"}


def test_properties_decide_where_there_are_some(nnunet_dataset: Any, tmp_path: Path) -> None:
    """Classes of CASE.pkl, unless others are asked for or it has none."""
    dataset = nnunet_dataset("default")
    root = tmp_path / "cases"
    shutil.copytree(dataset.folder(), root)
    with open_folder(root, oversample_foreground=1.0) as loader:
        next(loader)
    assert not (root / "class_locations").exists()
    with open_folder(root, oversample_foreground=1.0, classes=[(1, 2)]) as loader:
        next(loader)
    assert (root / "class_locations").exists()
    with open_folder(root, oversample_foreground=1.0, classes=[2]) as loader:
        assert all((batch["label"][:, :, 4, 4, 4] == 2).all() for batch in itertools.islice(loader, 5))


def test_it_answers_what_pytorchs_loader_is_asked(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases", channels=2)
    with open_folder(root, per_case={"age": [5, 6, 7, 8]}, batches_per_epoch=2) as loader:
        assert (loader.batch_size, loader.num_workers, loader.drop_last, loader.pin_memory) == (3, 0, True, False)
        assert len(loader.dataset) == 4
        item = loader.dataset[1]
        assert (item["case"], item["age"]) == ("case_1", 6)
        assert np.array_equal(item["image"], whole(root, "case_1", "npz", "data"))
        assert np.array_equal(item["label"], whole(root, "case_1", "npz", "seg"))
        assert [one["case"] for one in loader.dataset] == loader.keys
        assert [one["case"] for one in loader.dataset[-2:]] == loader.keys[-2:]
        assert repr(loader).startswith("DataLoader(4 cases, batches of 3 x (8, 8, 8), 2 an epoch")
    assert "closed" in repr(loader)
    images = numpy_folder(tmp_path / "images", labels=False)
    with open_folder(images) as loader:
        assert set(loader.dataset[0]) == {"image", "case"}
        assert loader.patch(0, 0).segmentation.shape == (0, 8, 8, 8)
        assert "without end" in repr(loader)


def test_ranks_of_a_group_make_each_batch_together(tmp_path: Path) -> None:
    """Without being told which rank they are."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    root = numpy_folder(tmp_path / "cases")
    with open_folder(root, batch_size=6) as loader:
        alone = next(loader)["image"].clone()
    dist.init_process_group("fake", rank=1, world_size=2, store=FakeStore())
    try:
        with open_folder(root) as loader, open_folder(root, rank=0) as told:
            assert (loader.rank, told.rank) == (1, 0)
            assert (loader.batch_size, loader.global_batch_size) == (3, 6)
            assert torch.equal(next(loader)["image"], alone[3:])
            assert torch.equal(next(told)["image"], alone[:3])
    finally:
        dist.destroy_process_group()


def test_ranks_of_torchrun_share_the_machine_before_there_is_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = numpy_folder(tmp_path / "cases")
    with open_folder(root, threads=None) as alone:
        budget = alone.memory_budget
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    with open_folder(root, threads=None) as loader, open_folder(root, rank=1, threads=2, memory_budget="1GB") as told:
        assert (loader.rank, loader.threads) == (3, 1)
        assert loader.memory_budget < 0.3 * budget
        assert (told.rank, told.threads, told.memory_budget) == (1, 2, 2**30)


def test_values_of_a_case_are_found_by_its_name(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    root = numpy_folder(tmp_path / "cases")
    names = [f"case_{i}" for i in (2, 0, 3, 1)]
    ages = pandas.Series([20.0, 0.0, 30.0, 10.0], index=names)
    with open_folder(root, per_case={"age": ages}, batch_size=6) as loader:
        batch = next(loader)
        assert batch["age"].tolist() == [10.0 * int(name[-1]) for name in batch["case"]]
        made = loader.sample(0, 0)
        assert made["age"] == 10.0 * int(made["case"][-1])


def test_settings_that_nnunet_has_are_followed(tmp_path: Path) -> None:
    root = numpy_folder(tmp_path / "cases")
    with open_folder(root, sampling_probabilities=[0, 1, 0, 0], batch_size=8) as loader:
        assert set(next(loader)["case"]) == {"case_1"}
    with open_folder(root, probabilistic_oversampling=True, oversample_foreground=0.5, batch_size=8) as loader:
        forced = [[loader.sampled(step, slot)[1] for slot in range(8)] for step in range(20)]
        assert len({sum(of) for of in forced}) > 1
    with open_folder(root, oversample_foreground=0.25, batch_size=8) as loader:
        assert [loader.sampled(0, slot)[1] for slot in range(8)] == [False] * 6 + [True] * 2
