"""Data sets of PyTorch as a source: read once, into a cache, and never again."""

from __future__ import annotations

import io
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fastnnunet_loader as fl

SHAPE = (20, 24, 28)


def volume(number: int, channels: int = 1) -> torch.Tensor:
    return torch.arange(channels * 20 * 24 * 28, dtype=torch.float32).reshape(channels, *SHAPE) + 100_000 * number


def labels(number: int) -> torch.Tensor:
    made = torch.zeros(SHAPE, dtype=torch.int64)
    made[4:9, 5:11, 6:13] = 300 + number % 3
    return made


READ: list[int] = []


class Volumes(torch.utils.data.Dataset[Any]):
    """Items as the test asks for them; it notes which are read."""

    def __init__(self, count: int = 4, form: str = "dictionary", plus: float = 0) -> None:
        self.count = count
        self.form = form
        self.plus = plus

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        READ.append(number)
        image, label = volume(number) + self.plus, labels(number)
        return {
            "dictionary": {"image": image, "label": label, "unused": 3},
            "images": {"image": image},
            "pair": (image, label),
            "arrays": [image.numpy().astype(np.float64), label.numpy().astype(bool)],
            "alone": (image,),
            "image": image[0],
        }[self.form]


@pytest.fixture(autouse=True)
def nothing_read() -> None:
    READ.clear()


def open_dataset(dataset: Any, cache: Path | None, **settings: Any) -> fl.DataLoader:
    given: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 3, "threads": 2, "seed": 5, "pin_memory": False}
    return fl.DataLoader.from_dataset(dataset, cache=cache, **{**given, **settings})


def test_labels_in_floats_are_labels(tmp_path: Path) -> None:
    """MONAI's LoadImage reads all files as float32."""
    items = [(volume(n), labels(n).float()) for n in range(2)]
    given: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 3, "seed": 5, "threads": 2}
    names = ["item_0", "item_1"]
    with (
        fl.DataLoader.from_dataset(items, cache=tmp_path, **given) as ours,
        fl.DataLoader.from_arrays([volume(n) for n in range(2)], [labels(n) for n in range(2)], cases=names, **given) as arrays,
    ):
        batch, expected = next(ours), next(arrays)
        assert torch.equal(batch["label"], expected["label"])
        assert batch["label"].dtype is torch.int16


@pytest.mark.parametrize("form", ["dictionary", "images", "pair", "arrays", "alone", "image"])
def test_batches_are_those_of_the_same_arrays(tmp_path: Path, form: str) -> None:
    labelled = form in ("dictionary", "pair", "arrays")
    segmentations = [labels(n).bool() if form == "arrays" else labels(n) for n in range(4)] if labelled else None
    common: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 3, "seed": 5, "threads": 2}
    names = [f"item_{n}" for n in range(4)]
    with (
        open_dataset(Volumes(form=form), tmp_path) as ours,
        fl.DataLoader.from_arrays([volume(n) for n in range(4)], segmentations, cases=names, **common) as arrays,
    ):
        assert ours.keys == names
        for _ in range(4):
            batch, expected = next(ours), next(arrays)
            assert batch["case"] == expected["case"]
            assert torch.equal(batch["image"], expected["image"])
            assert ("label" in batch) == labelled
            assert not labelled or torch.equal(batch["label"], expected["label"])


def test_items_are_read_once_and_the_first_to_see_whether_it_changed(tmp_path: Path) -> None:
    open_dataset(Volumes(), tmp_path).close()
    assert READ == [0, 1, 2, 3]
    open_dataset(Volumes(), tmp_path, patch_size=(4, 8, 8), batch_size=1).close()
    assert READ == [0, 1, 2, 3, 0]
    with open_dataset(Volumes(plus=1), tmp_path, oversample_foreground=0) as loader:  # another state of the data set
        assert READ[5:] == [0, 1, 2, 3]
        assert loader.dataset[2]["image"][0, 0, 0, 0] == 200_001
    READ.clear()
    open_dataset(Volumes(plus=2), tmp_path, cache_key="mine").close()
    assert READ == [0, 1, 2, 3]
    open_dataset(Volumes(plus=3), tmp_path, cache_key="mine").close()  # the first item tells
    assert READ == [0, 1, 2, 3] * 2
    assert len(list(tmp_path.iterdir())) == 4


def test_an_interrupted_reading_goes_on(tmp_path: Path) -> None:
    class Interrupted(Volumes):
        def __getitem__(self, number: int) -> Any:
            if number == 2 and fails:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    fails = True
    with pytest.raises(KeyboardInterrupt):
        open_dataset(Interrupted(), tmp_path, cache_key="mine")
    (folder,) = tmp_path.iterdir()
    assert sorted(file.name for file in folder.iterdir()) == [
        f"item_{n}{ending}.b2nd" for n in (0, 1) for ending in ("", "_seg")
    ]
    fails = False
    READ.clear()
    open_dataset(Interrupted(), tmp_path, cache_key="mine").close()
    assert READ == [0, 2, 3]
    (folder / "item_1.b2nd").unlink()  # labels without their image: the item was being written
    READ.clear()
    open_dataset(Interrupted(), tmp_path, cache_key="mine").close()
    assert READ == [0, 1]


def test_the_cache_is_the_users_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    open_dataset(Volumes(), None).close()
    assert len(list(tmp_path.rglob("item_*_seg.b2nd"))) == 4
    (folder,) = next(tmp_path.rglob("fastnnunet_loader")).joinpath("datasets").iterdir()
    assert (folder / "item_0.b2nd").is_file()


def test_names_values_and_keys_are_as_asked_for(tmp_path: Path) -> None:
    class Named(Volumes):
        def __getitem__(self, number: int) -> Any:
            return {"scan": volume(number), "mask": labels(number)}

    with open_dataset(
        Named(), tmp_path, cases=["d", "c", "b", "a"], image_key="scan", label_key="mask", case_key="who",
        per_case={"age": {"a": 3, "b": 2, "c": 1, "d": 0}}, cache_key="named", classes=[301], batches_per_epoch=2,
        transforms=fl.augmentation.none((8, 8, 8)), to="meta", generator=torch.Generator(), seed=None, num_workers=2,
        threads=None,
    ) as loader:  # fmt: skip
        assert loader.keys == ["d", "c", "b", "a"]
        assert [float(case["scan"][0, 0, 0, 0]) for case in loader.dataset] == [0, 100_000, 200_000, 300_000]
        for batch in loader:
            assert set(batch) == {"scan", "mask", "who", "age"}
            assert batch["scan"].device == torch.device("meta")
        assert (loader.threads, len(loader)) == (2, 2)


def test_ranks_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    open_dataset(Volumes(), tmp_path).close()
    assert READ == [0, 2, 3, 1]  # the second rank of two begins in the middle


class Failing(Volumes):
    def __getitem__(self, number: int) -> Any:
        if number == 2:
            raise KeyError("no such scan")
        return super().__getitem__(number)


class Odd(Volumes):
    """Its third item is what the test gives."""

    def __init__(self, odd: Any) -> None:
        super().__init__()
        self.odd = odd

    def __getitem__(self, number: int) -> Any:
        return self.odd if number == 2 else super().__getitem__(number)


def with_label(label: Any) -> Any:
    return {"image": volume(2), "label": label}


WRONG: list[tuple[Any, str]] = [
    ({"img": 3, "label": 4}, r"item 2: expected a dictionary with 'image', got \['img', 'label'\]"),
    ([1, 2, 3], r"item 2: expected \(image, label\) or \(image,\), got 3 values"),
    ("scan.nii.gz", r"item 2: expected a dictionary, \(image, label\) or an image, got str"),
    (volume(2)[0, 0], r"item 2: \[images\] expected shape \(C, X, Y, Z\), got \(24, 28\) of case item_2"),
    (with_label(labels(2)[1:]), r"item 2: \[labels\] expected the image's shape \(20, 24, 28\), got \(19, 24, 28\)"),
    (with_label(labels(2) + 0.5), r"item 2: \[labels\] expected whole numbers from -32768 to 32767, got 0\.5 of case item_2"),
    (
        with_label(labels(2) * torch.nan),
        r"item 2: \[labels\] expected whole numbers from -32768 to 32767, got nan of case item_2",
    ),
    (with_label(labels(2) + 40_000), r"item 2: \[labels\] expected numbers from -32768 to 32767"),
    ({"image": volume(2)}, r"item 2: expected 1 channels of 'label' as item 0 has, got 0"),
    ({"image": volume(2, 2), "label": labels(2)}, r"item 2: expected 1 channels of 'image' as item 0 has, got 2"),
]


@pytest.mark.parametrize(("odd", "message"), WRONG, ids=range(len(WRONG)))
def test_an_item_that_does_not_fit_is_named(tmp_path: Path, odd: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"\[dataset\] {message}"):
        open_dataset(Odd(odd), tmp_path)


def test_an_error_of_the_data_set_is_the_cause_of_one_that_names_the_item(tmp_path: Path) -> None:
    with pytest.raises(
        fl.FastnnUNetError, match=r"\[dataset\] item 2 of Failing was not read: KeyError: 'no such scan'"
    ) as caught:
        open_dataset(Failing(), tmp_path)
    assert isinstance(caught.value.__cause__, KeyError)


class Endless(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield volume(0)


@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        (Endless(), {}, r"\[dataset\] expected one with a length and an item for each number, got Endless"),
        (Volumes(0), {}, r"\[dataset\] expected at least one item, got none"),
        (Volumes(), {"cases": ["a"]}, r"\[cases\] expected a name for each of 4 items, got 1"),
        (Volumes(), {"cases": ["a", "b", "c", "a"]}, r"\[cases\] expected names that differ"),
        (Volumes(), {"cases": ["a", "b", "c", "../d"]}, r"\[cases\] expected names that files can have, got '../d'"),
        (Volumes(), {"cases": ["a", "b", "c", "a_seg"]}, r"\[cases\] expected names that do not end in '_seg'"),
        (Volumes(), {"cases": ["a", "b", "c", "a_target"]}, r"\[cases\] expected names that do not end in .* or '_target'"),
        (Volumes(), {"ranks": 2, "rank": 0, "seed": None}, r"\[seed\] expected one for all 2 ranks"),
        (Odd(lambda: 3), {}, r"\[dataset\] expected one that pickle can write, .* cache_key='...' of your own, got Odd: "),
        (Volumes(), {"shuffle": False}, r"\[shuffle\] expected True"),
        (Volumes(), {"to": "gpu"}, r"\[to\] expected a device"),
        (Volumes(), {"patch_size": (8,)}, r"\[patch_size\] expected 2 or 3 whole numbers"),
        (Volumes(), {"batch_size": 0}, r"\[batch_size\] expected a whole number above 0"),
    ],
)
def test_what_cannot_be_is_said_before_an_item_is_read(tmp_path: Path, dataset: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_dataset(dataset, tmp_path, **settings)
    assert READ == []


def test_one_item_at_a_time_is_in_memory(tmp_path: Path) -> None:
    """The budget holds one, and names the item that it does not hold."""
    with pytest.raises(
        fl.MemoryBudgetError, match=r"\[memory_budget\] expected at least 157.5 KiB for item 0 .*, got 97.7 KiB"
    ):
        open_dataset(Volumes(), tmp_path, memory_budget=100_000)

    class Large(Volumes):
        def __getitem__(self, number: int) -> Any:
            return np.full((1, 128, 128, 128), number, np.float32)

    tracemalloc.start()
    try:
        open_dataset(Large(6), tmp_path, cache_key="large").close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * 2**23  # of 8 MiB each; the last one is there until the next has been read


def test_progress_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnnunet_loader.loading.pytorch import datasets as module

    said: list[str] = []

    class Watched(Volumes):
        def __getitem__(self, number: int) -> Any:
            said.append(fl.dump(io.StringIO()))
            return super().__getitem__(number)

    monkeypatch.setattr(module, "_TELL_EVERY", 0)
    with caplog.at_level(logging.INFO, "fastnnunet_loader"):
        open_dataset(Watched(), tmp_path, cache_key="watched").close()
    assert said[2].startswith("reading item 2 of Watched for 0.0 s; 2 of 4 items are in the cache")
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.endswith("3 of 4 items are in the cache") for message in messages)
    assert messages[-1].startswith("4 items of Watched are in ")
    assert fl.dump(io.StringIO()) == "no loader is open"
