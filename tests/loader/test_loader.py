"""The loader on real, preprocessed nnU-Net data."""

from __future__ import annotations

import gc
import os
import pickle
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunet_loaders import nnunet_loaders

import fastnnunet_loader as fl
from datasets import KINDS_OF_DATA
from fastnnunet_loader.transforms.draws import Turn, drawing


def targets(batch: dict[str, Any]) -> list[torch.Tensor]:
    target = batch["target"]
    return target if isinstance(target, list) else [target]


def assert_equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a["keys"] == b["keys"]
    assert torch.equal(a["data"], b["data"])
    for s, t in zip(targets(a), targets(b), strict=True):
        assert s.dtype == t.dtype
        assert torch.equal(s, t)


def clone(batch: dict[str, Any]) -> dict[str, Any]:
    return {"data": batch["data"].clone(), "target": [t.clone() for t in targets(batch)], "keys": batch["keys"]}


def take(loader: fl.DataLoader, count: int) -> list[dict[str, Any]]:
    return [clone(next(loader)) for _ in range(count)]


def test_kept_blocks_are_read_once_and_change_nothing(nnunet_dataset: Any, monkeypatch: Any) -> None:
    source, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch, "3d_fullres")
    seen = []
    for keep_blocks in (True, False):
        with fl.DataLoader.from_nnunet(source, threads=1, seed=7, keep_blocks=keep_blocks) as loader:
            seen.append((take(loader, 20), loader.stats()))
    (kept, with_cache), (read, without) = seen
    for a, b in zip(kept, read, strict=True):
        assert_equal(a, b)
    assert with_cache.cache_bytes > 0
    assert with_cache.cache_hits > with_cache.cache_misses
    assert without.cache_bytes == without.cache_hits == 0
    assert with_cache.bytes_read < 0.8 * without.bytes_read  # these volumes are a chunk or two, which are read whole


@pytest.mark.parametrize(("variant", "configuration"), KINDS_OF_DATA)
def test_batches_do_not_depend_on_threads_or_prefetch(
    nnunet_dataset: Any, monkeypatch: Any, variant: str, configuration: str
) -> None:
    for role, source in zip(("train", "val"), nnunet_loaders(nnunet_dataset(variant), monkeypatch, configuration), strict=True):
        with fl.DataLoader.from_nnunet(source, threads=1, seed=7, prefetch=1, role=role) as loader:
            expected = take(loader, 12)
            assert loader.pipeline.all_native, loader.pipeline.fallbacks
        for threads, prefetch in ((2, 3), (8, 6)):
            with fl.DataLoader.from_nnunet(source, threads=threads, seed=7, prefetch=prefetch, role=role) as loader:
                for a, b in zip(take(loader, 12), expected, strict=True):
                    assert_equal(a, b)


@pytest.mark.parametrize(("variant", "configuration"), KINDS_OF_DATA)
def test_batches_have_the_form_of_nnunets(nnunet_dataset: Any, monkeypatch: Any, variant: str, configuration: str) -> None:
    train, _ = nnunet_loaders(nnunet_dataset(variant), monkeypatch, configuration)
    theirs = next(train)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=0) as loader:
        ours = next(loader)
    assert ours["data"].shape == theirs["data"].shape
    assert ours["data"].dtype == theirs["data"].dtype
    assert isinstance(ours["target"], list) == isinstance(theirs["target"], list)
    for a, b in zip(targets(ours), targets(theirs), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
    assert len(ours["keys"]) == len(theirs["keys"])


@pytest.mark.parametrize(("variant", "configuration"), KINDS_OF_DATA)
def test_a_sample_is_the_patch_of_the_file_through_the_pipeline(
    nnunet_dataset: Any, monkeypatch: Any, variant: str, configuration: str
) -> None:
    dataset = nnunet_dataset(variant)
    train, _ = nnunet_loaders(dataset, monkeypatch, configuration)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=3) as loader:
        for step in range(6):
            batch = next(loader)
            for slot, key in enumerate(batch["keys"]):
                name, forced, box = loader.sampled(step, slot)
                assert name == key
                assert forced == train.get_do_oversample(slot)
                data, seg, previous, _ = train._data.load_case(name)
                image = crop_and_pad_nd(data, [list(b) for b in box], 0)
                labels = crop_and_pad_nd(seg, [list(b) for b in box], -1, cast_cropped_to=np.int16)
                if previous is not None:
                    labels_before = crop_and_pad_nd(previous, [list(b) for b in box], -1, cast_cropped_to=np.int16)
                    labels = np.concatenate([labels, labels_before[None]])
                if configuration == "2d":
                    image, labels = image[:, 0], labels[:, 0]
                expected = loader.pipeline(image=image, segmentation=labels, seed=3, step=step, slot=slot)
                assert torch.equal(batch["data"][slot], expected["image"])
                for a, b in zip(targets(batch), expected["segmentation"], strict=True):
                    assert torch.equal(a[slot], b)


@pytest.mark.parametrize("variant", ["default", "regions", "ignore"])
def test_forced_patches_are_centred_on_stored_voxels(nnunet_dataset: Any, monkeypatch: Any, variant: str) -> None:
    train, _ = nnunet_loaders(nnunet_dataset(variant), monkeypatch)
    train.patch_size = (16, 16, 16)  # small enough to lie anywhere
    train.final_patch_size = (16, 16, 16)
    train.need_to_pad = np.zeros(3, int)
    train.transforms = None
    train.oversample_foreground_percent = 1.0
    seen: set[Any] = set()
    with fl.DataLoader.from_nnunet(train, threads=1, seed=1) as loader:
        for step in range(60):
            name, forced, box = loader.sampled(step, 0)
            assert forced
            locations = train._data.load_case(name)[3]["class_locations"]
            lower = np.array([b[0] for b in box])
            found = [
                key
                for key, voxels in locations.items()
                if key != train.annotated_classes_key
                and len(voxels)
                and (np.maximum(np.asarray(voxels)[:, 1:] - 8, 0) == lower).all(1).any()
            ]
            assert found
            seen.update(found)
    assert len(seen) >= 2


def test_cases_and_patches_follow_nnunets_distribution(nnunet_dataset: Any, monkeypatch: Any) -> None:
    from scipy.stats import chisquare, ks_2samp

    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    draws = 1500
    with fl.DataLoader.from_nnunet(train, threads=1, seed=11) as loader:
        ours = [loader.sampled(step, slot) for step in range(draws // 2) for slot in range(2)]
    counts = [sum(name == key for name, _, _ in ours) for key in loader.keys]
    assert chisquare(counts).pvalue > 1e-3
    np.random.seed(0)
    theirs: dict[bool, list[list[int]]] = {False: [], True: []}
    for draw in range(draws):
        key = train.get_indices()[0]
        data, _, _, properties = train._data.load_case(key)
        forced = bool(draw % 2)
        theirs[forced].append(train.get_bbox(data.shape[1:], forced, properties["class_locations"])[0])
    for forced in (False, True):
        lower = np.array([[b[0] for b in box] for _, f, box in ours if f == forced])
        for axis in range(3):
            assert ks_2samp(lower[:, axis], np.array(theirs[forced])[:, axis]).pvalue > 1e-3


def test_probabilistic_oversampling_and_sampling_probabilities(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch, probabilistic_oversampling=True)
    train.sampling_probabilities = np.array([0.7, 0.3, 0.0, 0.0])
    with fl.DataLoader.from_nnunet(train, threads=1, seed=2) as loader:
        sampled = [loader.sampled(step, slot) for step in range(500) for slot in range(2)]
    forced = np.mean([f for _, f, _ in sampled])
    assert abs(forced - 0.33) < 0.06
    share = np.mean([name == loader.keys[0] for name, _, _ in sampled])
    assert abs(share - 0.7) < 0.06
    assert {name for name, _, _ in sampled} == set(loader.keys[:2])


def test_resume_continues_with_the_same_batches(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=5) as loader:
        take(loader, 4)
        state = loader.state_dict()
        expected = take(loader, 4)
    assert state["step"] == 4
    restored = pickle.loads(pickle.dumps(state))
    with fl.DataLoader.from_nnunet(train, threads=1, seed=99) as loader:
        next(loader)
        loader.load_state_dict(restored)
        for a, b in zip(take(loader, 4), expected, strict=True):
            assert_equal(a, b)


def test_state_of_other_data_warns(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, val = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=1) as loader:
        state = loader.state_dict()
    with fl.DataLoader.from_nnunet(val, threads=1) as loader:
        with pytest.warns(UserWarning, match="expected the cases, patch sizes and batch size"):
            loader.load_state_dict(state)
        with pytest.raises(ValueError, match="expected version 2, got 7"):
            loader.load_state_dict({**state, "version": 7})


def test_ranks_and_roles_see_other_batches(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    means = set()
    for rank, role in ((0, "train"), (1, "train"), (0, "val"), (0, 2)):
        with fl.DataLoader.from_nnunet(train, threads=1, seed=5, rank=rank, role=role) as loader:
            means.add(round(float(next(loader)["data"].double().mean()), 9))
    assert len(means) == 4


@pytest.fixture(params=["ordinary", "torch"])
def memory_kind(request: Any, monkeypatch: Any) -> str:
    """Where batches live. Memory of torch's goes the way of pinned memory, which takes an accelerator to be had."""
    monkeypatch.setattr("fastnnunet_loader.loading.core_loader.memory_kind", lambda _: request.param)
    return str(request.param)


@pytest.mark.usefixtures("memory_kind")
def test_tensors_keep_their_memory(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=5) as loader:
        kept = [next(loader) for _ in range(6)]
        copies = [clone(batch) for batch in kept]
        view = kept[3]["data"][0, 0, 4:9]
        expected = view.clone()
        take(loader, 20)
        for a, b in zip(kept, copies, strict=True):
            assert_equal(a, b)
        used = loader.stats().batches_in_use
        del a, kept
        gc.collect()
        assert loader.stats().batches_in_use < used
        take(loader, 20)
    assert torch.equal(view, expected)  # and after close


def test_batches_are_the_same_in_memory_of_torch(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("regions"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=5) as loader:
        expected = take(loader, 4)
    monkeypatch.setattr("fastnnunet_loader.loading.core_loader.memory_kind", lambda _: "torch")
    with fl.DataLoader.from_nnunet(train, threads=2, seed=5) as loader:
        for other in expected:
            batch = next(loader)
            assert_equal(clone(batch), other)
            # Torch knows the memory as a block of its own: this is what protects copies to a device from any part of it.
            storage = batch["data"][1:].untyped_storage()
            assert storage.data_ptr() == batch["data"].data_ptr()
            assert storage.nbytes() == batch["data"].nbytes
            assert storage.resizable()


def test_memory_of_torch_is_never_written_twice(nnunet_dataset: Any, monkeypatch: Any) -> None:
    # Only torch knows when a copy to a device is done, so a block goes back to it and is asked for anew.
    monkeypatch.setattr("fastnnunet_loader.loading.core_loader.memory_kind", lambda _: "torch")
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=5) as loader:
        batch = next(loader)
        part = batch["data"][0, 0, 4:9].view(-1)
        expected, address = part.clone(), batch["data"].data_ptr()
        del batch
        assert all(next(loader)["data"].data_ptr() != address for _ in range(20))
        assert torch.equal(part, expected)


def test_nothing_is_allocated_for_batches_in_steady_state(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=5) as loader:
        addresses = set()
        for _ in range(60):
            addresses.add(next(loader)["data"].data_ptr())
        assert len(addresses) <= loader.stats().prefetch_limit + 2


# Bad input


@pytest.fixture
def damaged(nnunet_dataset: Any, tmp_path: Path, monkeypatch: Any) -> Any:
    """A copy of the preprocessed cases, and the training loader on it."""
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    folder = tmp_path / "cases"
    shutil.copytree(train._data.source_folder, folder)
    train._data.source_folder = str(folder)
    return train


def batches_until_error(loader: fl.DataLoader) -> fl.BadCaseError:
    with pytest.raises(fl.BadCaseError) as caught:
        take(loader, 60)
    return caught.value


@pytest.mark.parametrize("damage", ["truncated", "deleted", "garbage", "another shape"])
@pytest.mark.parametrize("suffix", [".b2nd", "_seg.b2nd"])
def test_a_damaged_file_is_named(damaged: Any, damage: str, suffix: str) -> None:
    name = damaged.indices[2]
    file = Path(damaged._data.source_folder) / f"{name}{suffix}"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "deleted":
        file.unlink()
    elif damage == "garbage":
        file.write_bytes(b"not what it says" * 100)
    else:
        file.unlink()
        array = np.zeros((1, 9, 9, 9), np.float32 if suffix == ".b2nd" else np.int8)
        blosc2.asarray(array, urlpath=str(file))
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1) as loader:
        error = batches_until_error(loader)
    assert error.case == name
    assert name in error.file
    assert error.reason
    assert error.seed == 1
    assert isinstance(error.__cause__, fl.StorageError)
    for part in (name, error.reason, "seed 1", f"step {error.step}"):
        assert part in str(error)


def test_damaged_properties_are_named(damaged: Any) -> None:
    file = Path(damaged._data.source_folder) / f"{damaged.indices[0]}.pkl"
    file.write_bytes(file.read_bytes()[:100])
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1) as loader:
        error = batches_until_error(loader)
    assert error.file == str(file)
    assert "expected a whole pickle" in error.reason


def test_properties_that_would_run_code_are_refused(damaged: Any, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "attacked"),))

    file = Path(damaged._data.source_folder) / f"{damaged.indices[0]}.pkl"
    file.write_bytes(pickle.dumps({"attack": Attack()}))
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1) as loader:
        error = batches_until_error(loader)
    assert f"got {os.mkdir.__module__}.mkdir" in error.reason
    assert not (tmp_path / "attacked").exists()
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1, unrestricted_pickles=True) as loader:
        error = batches_until_error(loader)
    assert "expected 'class_locations'" in error.reason
    assert (tmp_path / "attacked").exists()


def test_skip_goes_on_without_the_case_whatever_the_threads(damaged: Any, caplog: Any) -> None:
    name = damaged.indices[2]
    file = Path(damaged._data.source_folder) / f"{name}.b2nd"
    file.write_bytes(file.read_bytes()[:5000])
    runs = []
    for threads, prefetch in ((1, 1), (4, 5)):
        with fl.DataLoader.from_nnunet(damaged, threads=threads, prefetch=prefetch, seed=1, on_bad_case="skip") as loader:
            runs.append(take(loader, 30))
            assert [bad.name for bad in loader.bad_cases] == [name]
            assert loader.stats().skipped_cases == 1
            state = loader.state_dict()
            continued = take(loader, 5)
        with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1, on_bad_case="skip") as loader:
            loader.load_state_dict(state)
            for a, b in zip(take(loader, 5), continued, strict=True):
                assert_equal(a, b)
    for a, b in zip(*runs, strict=True):
        assert_equal(a, b)
        assert name not in a["keys"]
    # Once by each loader, however many batches it makes: those that met it, and those that continue and list it again.
    assert caplog.text.count(f"skipping case {name}") == 2 * len(runs)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_previous_stage_of_another_shape_is_a_bad_case(
    nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch, axis: int
) -> None:
    dataset = nnunet_dataset("cascade")
    source, _ = nnunet_loaders(dataset, monkeypatch, "3d_cascade_fullres")
    name = source.indices[0]
    (file,) = dataset.results.rglob(f"predicted_next_stage/3d_cascade_fullres/{name}.b2nd")
    labels = blosc2.open(urlpath=str(file), mode="r")[:]
    file.unlink()
    blosc2.asarray(np.ascontiguousarray(np.delete(labels, -1, axis)), urlpath=str(file))
    with fl.DataLoader.from_nnunet(source, threads=2, seed=1, on_bad_case="skip") as loader:
        take(loader, 30)
        (bad,) = loader.bad_cases
    assert bad.name == name
    assert str(file) in str(bad.file)
    assert str(labels.shape).strip("()") in bad.reason


def test_a_budget_that_nobody_gave_is_a_quarter_of_what_is_free(nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two loaders of one training take half of it."""
    source, _ = nnunet_loaders(nnunet_dataset(), monkeypatch)
    free = fl.memory().available
    with fl.DataLoader.from_nnunet(source, threads=1) as loader:
        assert loader.memory_budget == pytest.approx(min(free // 4, 16 * 2**30), rel=0.1)


def test_a_skipped_case_is_tried_again_unless_its_files_are_the_same(damaged: Any) -> None:
    name = damaged.indices[2]
    file = Path(damaged._data.source_folder) / f"{name}.b2nd"
    whole = file.read_bytes()
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1) as loader:
        good = take(loader, 40)
    file.write_bytes(whole[:5000])
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1, on_bad_case="skip") as loader:
        take(loader, 20)
        (bad,) = loader.bad_cases
        state = loader.state_dict()
        assert state["skipped"][name]["reason"] == bad.reason
        # The budget makes the loader anew; what is known of the case stays.
        loader.limit_memory(loader.memory_budget // 2)
        assert loader.bad_cases == [bad]
        assert loader.state_dict() == state
        continued = take(loader, 20)

    def resumed(state: dict[str, Any], said: list[str], **options: Any) -> fl.DataLoader:
        loader = fl.DataLoader.from_nnunet(damaged, threads=2, seed=1, report=said.append, **options)
        loader.load_state_dict(state)
        return loader

    said: list[str] = []
    with resumed(state, said, on_bad_case="skip") as loader:
        assert loader.bad_cases == [bad]
        assert said == []
        for a, b in zip(take(loader, 20), continued, strict=True):
            assert_equal(a, b)
    old = {key: value for key, value in state.items() if key != "skipped"}
    with resumed(old, said, on_bad_case="skip") as loader:  # of a version that did not know the files
        assert loader.bad_cases == []
        for a, b in zip(take(loader, 20), continued, strict=True):
            assert_equal(a, b)
        assert [again.name for again in loader.bad_cases] == [name]
    assert len(said) == 1
    with resumed(state, said, on_bad_case="raise", patience=0) as loader:
        assert loader.bad_cases == []
        assert batches_until_error(loader).case == name
    assert f"trying 1 skipped case(s) again, because on_bad_case is 'raise':\n  {name}: [{file}] " in said[1]
    file.write_bytes(whole)
    with resumed({**state, "step": 0}, said, on_bad_case="skip") as loader:
        for a, b in zip(take(loader, 40), good, strict=True):
            assert_equal(a, b)
        assert loader.bad_cases == []
    assert bad.reason in said[2]


def test_a_file_that_was_replaced_while_another_loader_had_it_open_is_read_anew(damaged: Any) -> None:
    """Loaders of as many threads share them, and their open files."""
    name = damaged.indices[0]
    file = Path(damaged._data.source_folder) / f"{name}.b2nd"
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=5, keep_blocks=False) as before:
        old = take(before, 20)
        other = blosc2.open(str(file))[:]
        file.unlink()
        blosc2.asarray(np.ascontiguousarray(other[:, ::-1]), urlpath=str(file))
        with fl.DataLoader.from_nnunet(damaged, threads=2, seed=5, keep_blocks=False, patience=0) as after:
            new = take(after, 20)
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=5, keep_blocks=False, patience=0) as alone:
        for a, b in zip(new, take(alone, 20), strict=True):
            assert_equal(a, b)
    assert any(not torch.equal(a["data"], b["data"]) for a, b in zip(old, new, strict=True))


def test_skip_has_a_limit(damaged: Any) -> None:
    bad = [damaged.indices[1], damaged.indices[2]]
    for name in bad:
        file = Path(damaged._data.source_folder) / f"{name}.b2nd"
        file.write_bytes(file.read_bytes()[:5000])
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1, on_bad_case="skip") as loader:
        with pytest.raises(fl.SampleError, match="expected at most 1 of 4 cases to be skipped") as caught:
            take(loader, 60)
        assert not isinstance(caught.value, fl.BadCaseError)
        assert all(f"\n  {name}: [" in str(caught.value) for name in bad)
        with pytest.raises(fl.SampleError, match="expected at most 1 of 4"):
            next(loader)
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1, on_bad_case="skip", max_skipped=0.5) as loader:
        take(loader, 60)
        assert [case.name for case in loader.bad_cases] == bad


def test_skip_stops_when_every_case_is_bad(damaged: Any) -> None:
    for file in Path(damaged._data.source_folder).glob("*.b2nd"):
        file.write_bytes(b"")
    with pytest.raises(fl.BadCaseError, match=damaged.indices[0]):
        fl.DataLoader.from_nnunet(damaged, threads=2, on_bad_case="skip")


def test_finite_voxels_are_checked_when_asked(damaged: Any) -> None:
    name = damaged.indices[1]
    file = Path(damaged._data.source_folder) / f"{name}.b2nd"
    array = blosc2.open(str(file))[:]
    array[0, 3::7, ::5, ::5] = np.nan
    file.unlink()
    blosc2.asarray(array, urlpath=str(file))
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1) as loader:
        take(loader, 20)
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1, check_finite=True) as loader:
        error = batches_until_error(loader)
    assert error.case == name
    assert "expected finite voxels, got nan" in error.reason


# Faults while batches flow are in tests/faults.


# Transforms in Python


class Halve(ImageOnlyTransform):
    """A user's transform: adds a random number, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        return {"shift": float(np.random.uniform()) + float(torch.rand(1))}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        self.threads.add(threading.get_ident())
        return img / 2 + params["shift"]


def with_transforms(loader: Any, *transforms: Any) -> Any:
    loader.transforms = ComposeTransforms([*loader.transforms.transforms, *transforms])
    return loader


def test_a_transform_of_the_users_runs_in_python(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with fl.DataLoader.from_nnunet(train, threads=2, seed=4) as loader:
        plain = take(loader, 6)
    mine = Halve()
    runs = []
    for threads in (1, 3):
        with fl.DataLoader.from_nnunet(
            with_transforms(train, mine) if threads == 1 else train, threads=threads, seed=4
        ) as loader:
            assert loader.pipeline.fallbacks == ["Halve: it has no native counterpart"]
            assert "Halve  [Python: it has no native counterpart]" in loader.describe()
            calls = loader.stats().python_calls
            runs.append(take(loader, 6))
            assert loader.stats().python_calls >= calls + 12
    assert threading.get_ident() not in mine.threads
    for batch, again, without in zip(*runs, plain, strict=True):
        assert_equal(batch, again)
        difference = batch["data"] - without["data"] / 2
        per_sample = difference.flatten(1)
        assert torch.allclose(per_sample, per_sample[:, :1].expand_as(per_sample), atol=1e-5)
        assert (per_sample[:, 0] > 0).all()


def test_a_sample_can_be_made_by_itself(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    for transforms in ((), (Halve(),)):
        with fl.DataLoader.from_nnunet(with_transforms(train, *transforms), threads=2, seed=5) as loader:
            batches = take(loader, 5)
            for step, slot in ((3, 1), (0, 0)):
                sample = loader.sample(step, slot)
                assert sample["key"] == batches[step]["keys"][slot]
                assert torch.equal(sample["data"], batches[step]["data"][slot])
                for a, b in zip(sample["target"], batches[step]["target"], strict=True):
                    assert torch.equal(a, b[slot])
            assert loader.step == 5
            with pytest.raises(ValueError, match="from 0 to 1, got 2"):
                loader.sample(0, 2)


class Drawing(ImageOnlyTransform):  # type: ignore[misc]
    """Draws all the time, in every way, and lets others run in between."""

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        total = 0.0
        for _ in range(50):
            drawn = torch.rand(3)
            drawn += torch.randn_like(drawn) + torch.randint(0, 9, (3,)) + torch.empty(3).uniform_() + torch.bernoulli(drawn)
            total += float(torch.nn.functional.dropout(drawn).sum()) + float(np.random.normal())
            time.sleep(0)
        return {"shift": total / 50}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        return img + params["shift"]


def test_training_and_transforms_in_python_draw_independently(nnunet_dataset: Any, monkeypatch: Any) -> None:
    def drawn_by_the_training() -> torch.Tensor:
        return torch.stack([torch.nn.functional.dropout(torch.ones(64)) + torch.rand(64) for _ in range(100)])

    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    with_transforms(train, Drawing())
    with fl.DataLoader.from_nnunet(train, threads=2, seed=4) as loader:
        undisturbed = take(loader, 6)
    torch.manual_seed(1)
    drawn = []
    with fl.DataLoader.from_nnunet(train, threads=2, seed=4) as loader:
        batches = take(loader, 1)
        for _ in range(5):
            drawn.append(drawn_by_the_training())
            while loader.stats().ready_batches == 0:
                drawn.append(drawn_by_the_training())
            batches += take(loader, 1)
    for a, b in zip(batches, undisturbed, strict=True):
        assert_equal(a, b)
    torch.manual_seed(1)
    assert len(drawn) >= 5
    for tensor in drawn:
        assert torch.equal(tensor, drawn_by_the_training())


def test_torch_draws_inside_as_the_process_would_with_this_seed() -> None:
    def drawn() -> list[torch.Tensor]:
        x = torch.rand(3)
        return [
            x, torch.randn_like(x), torch.randint(0, 5, (2,)), torch.randperm(4), torch.empty(3).uniform_(), torch.bernoulli(x),
            torch.normal(0.0, 1.0, (3,)), torch.multinomial(x, 2), torch.nn.functional.dropout(x), torch.rand_like(x),
            torch.native_dropout(x, 0.5, True)[0], torch.rand(2, out=torch.empty(2)), torch.poisson(x), torch.rand(1),
        ]  # fmt: skip

    torch.manual_seed(7)
    expected = drawn()
    state = torch.random.get_rng_state()
    with torch.no_grad(), drawing(7, Turn()):
        got = drawn()
    assert torch.equal(torch.random.get_rng_state(), state)
    for number, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert torch.equal(a, b), number


def test_generators_that_one_call_makes_differ_and_are_the_seeds() -> None:
    made = []
    for _ in range(2):
        with drawing(7, Turn()):
            made.append(
                [np.random.default_rng().random(4), np.random.default_rng().random(4), np.random.default_rng(3).random(4)]
            )
    first, second = made
    assert not np.array_equal(first[0], first[1])
    assert all(map(np.array_equal, first, second))
    assert np.array_equal(first[2], np.random.default_rng(3).random(4))


def test_a_function_that_somebody_replaces_meanwhile_stays_theirs(monkeypatch: Any) -> None:
    monkeypatch.setattr(np.random, "uniform", np.random.uniform)  # to be put back in the end
    shuffle = np.random.shuffle

    def mine(*_: Any) -> float:
        return 0.5

    with drawing(7, Turn()):
        np.random.uniform = mine
    assert np.random.uniform is mine
    assert np.random.shuffle is shuffle


class Seeding(ImageOnlyTransform):  # type: ignore[misc]
    """Seeds the generators of the process, as some do."""

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        return img + float(np.random.uniform())


def test_a_transform_that_seeds_does_not_seed_the_training(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    # Before there is a loader: it tries a transform as soon as it makes batches.
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with fl.DataLoader.from_nnunet(with_transforms(train, Seeding()), threads=2, seed=4) as loader:
        take(loader, 3)
        time.sleep(0.2)  # until what is made ahead is made
        assert torch.equal(torch.random.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1])
        assert random.getstate() == states[2]


def test_callable_scalars_are_part_of_the_seed(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    transform = MultiplicativeBrightnessTransform(lambda image, channel: np.random.uniform(1, 2) * image.ndim, False, 1)
    with_transforms(train, transform)
    runs = []
    for threads in (1, 3):
        with fl.DataLoader.from_nnunet(train, threads=threads, seed=4) as loader:
            assert loader.pipeline.all_native
            runs.append(take(loader, 4))
    for a, b in zip(*runs, strict=True):
        assert_equal(a, b)


def test_a_loader_with_sampling_of_its_own_is_refused(nnunet_dataset: Any, monkeypatch: Any) -> None:
    train, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch)

    class Mine(type(train)):  # type: ignore[misc]
        def get_bbox(self, *args: Any, **kwargs: Any) -> Any:
            return super().get_bbox(*args, **kwargs)

    train.__class__ = Mine
    with pytest.raises(fl.NotSupportedError, match=r"own sampling, got Mine\.get_bbox, defined in .*test_loader\.py:\d+"):
        fl.DataLoader.from_nnunet(train)
    with pytest.raises(fl.NotSupportedError, match="expected nnU-Net's nnUNetDataLoader, got list"):
        fl.DataLoader.from_nnunet([1, 2])


class Keeping(ImageOnlyTransform):  # type: ignore[misc]
    """Keeps what it is shown, as one that mixes samples does."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        self.kept.append((img, img.clone()))
        return img


@pytest.mark.parametrize("native_after", [False, True])
def test_what_a_transform_in_python_keeps_is_not_written_again(
    nnunet_dataset: Any, monkeypatch: Any, native_after: bool
) -> None:
    source, _ = nnunet_loaders(nnunet_dataset("default"), monkeypatch, "3d_fullres")
    keeping = Keeping()
    tree = source.transforms.transforms
    # Before the first transform that works in place, or after all of them.
    monkeypatch.setattr(source.transforms, "transforms", [tree[0], keeping] if not native_after else [keeping, tree[0]])
    with fl.DataLoader.from_nnunet(source, threads=2, seed=3) as loader:
        for _ in range(6):
            next(loader)
    assert len(keeping.kept) >= 12
    for shown, then in keeping.kept:
        assert torch.equal(shown, then)


def test_the_channels_of_most_cases_count(damaged: Any) -> None:
    first = damaged.indices[0]
    file = Path(damaged._data.source_folder) / f"{first}.b2nd"
    image = blosc2.open(urlpath=str(file), mode="r")[:]
    file.unlink()
    blosc2.asarray(np.concatenate([image, image]), urlpath=str(file))
    with fl.DataLoader.from_nnunet(damaged, threads=1, seed=1, on_bad_case="skip") as loader:
        for _ in range(12):
            assert next(loader)["data"].shape[1] == 1
        assert [bad.name for bad in loader.bad_cases] == [first]
        assert "expected 1 channels" in loader.bad_cases[0].reason


def test_properties_with_another_class_are_a_bad_case_with_its_cause(damaged: Any) -> None:
    file = Path(damaged._data.source_folder) / f"{damaged.indices[0]}.pkl"
    properties = pickle.loads(file.read_bytes())
    properties["class_locations"]["white matter"] = properties["class_locations"].pop(1)
    file.write_bytes(pickle.dumps(properties))
    with fl.DataLoader.from_nnunet(damaged, threads=2, seed=1) as loader:
        error = batches_until_error(loader)
    assert error.file == str(file)
    assert "'white matter'" in error.reason
    assert isinstance(error.__cause__, fl.StorageError)
    assert isinstance(error.__cause__.__cause__, ValueError)
