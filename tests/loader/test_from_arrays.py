"""Loaders of volumes in memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl


def volumes(root: Path, channels: int = 1) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of a folder, by the names of cases."""
    images, labels = {}, {}
    for file in sorted(numpy_folder(root, channels=channels).glob("*.npz")):
        with np.load(file) as arrays:
            images[file.stem], labels[file.stem] = arrays["data"], arrays["seg"]
    return images, labels


def open_arrays(images: Any, labels: Any = None, **settings: Any) -> fl.DataLoader:
    given: dict[str, Any] = {"patch_size": (8, 8, 8), "batch_size": 3, "threads": 2, "seed": 5, "pin_memory": False}
    return fl.DataLoader.from_arrays(images, labels, **{**given, **settings})


def moved(array: Any) -> Any:
    """The same values at other places of memory: axes in another order, one of them backwards."""
    other = np.ascontiguousarray(array.transpose(3, 1, 0, 2)[::-1])[::-1]
    return other.transpose(2, 1, 3, 0)


FORMS: dict[str, Any] = {
    "contiguous": lambda array: array,
    "tensors": torch.from_numpy,
    "any steps": moved,
    "float64 and int64": lambda array: array.astype(np.float64 if array.dtype.kind == "f" else np.int64),
    "views of a larger array": lambda array: np.pad(array, 3)[3:-3, 3:-3, 3:-3, 3:-3],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("patch_size", [(8, 10, 12), (10, 12)])
def test_batches_are_those_of_the_folder(tmp_path: Path, form: str, patch_size: tuple[int, ...]) -> None:
    images, labels = volumes(tmp_path / "cases", channels=2)
    made = fl.augmentation.nnunet(patch_size)
    given = [{name: FORMS[form](array) for name, array in of.items()} for of in (images, labels)]
    common = {"patch_size": patch_size, "transforms": made}
    with open_folder(tmp_path / "cases", **common) as theirs, open_arrays(*given, **common) as ours:
        for _ in range(6):
            expected, batch = next(theirs), next(ours)
            assert batch["case"] == expected["case"]
            assert torch.equal(batch["image"], expected["image"])
            assert torch.equal(batch["label"], expected["label"])
        assert ours.fingerprint == theirs.fingerprint
        assert torch.equal(ours.dataset[2]["image"], theirs.dataset[2]["image"])
        assert ours.stats().cache_bytes == 0  # nothing is copied


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_with_and_without_channels(channels: int | None, dims: int) -> None:
    shape = (12, 14, 16)[:dims]
    place = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image = place if channels is None else np.stack([place + 10_000 * i for i in range(channels)])
    for labels in (None, [place.astype(np.int16) % 7], [(place.astype(np.int16) % 7)[None]]):
        with open_arrays([image], labels, patch_size=(8,) * dims, oversample_foreground=0) as loader:
            batch = next(loader)
            assert batch["image"].shape == (3, channels or 1, *(8,) * dims)
            assert batch["case"] == ["case_0"] * 3
            assert ("label" in batch) == (labels is not None)
            for channel in range(channels or 0):
                assert torch.equal(batch["image"][:, channel], batch["image"][:, 0] + 10_000 * channel)
            if labels is not None:
                assert torch.equal(batch["label"][:, 0], (batch["image"][:, 0] % 7).to(torch.int16))


def test_arrays_are_not_copied_and_kept_as_long_as_the_loader() -> None:
    image = np.zeros((1, 16, 16, 16), np.float32)
    loader = open_arrays([image])
    assert not next(loader)["image"].any()
    image[:] = 3  # no loader promises this; it shows whose memory is read
    assert (loader.sample(1000, 0)["image"] == 3).all()
    reference = weakref.ref(image)
    del image
    gc.collect()
    assert reference() is not None
    assert (loader.sample(1001, 0)["image"] == 3).all()
    loader.close()
    del loader
    gc.collect()
    assert reference() is None


def test_a_state_continues(tmp_path: Path) -> None:
    images, labels = volumes(tmp_path / "cases")
    with open_arrays(images, labels, batches_per_epoch=3) as loader:
        next(iter(loader))
        state = loader.state_dict()
        expected = next(loader)["image"].clone()
    with open_arrays(images, labels, batches_per_epoch=3, seed=8) as loader:
        loader.load_state_dict(state)
        assert torch.equal(next(loader)["image"], expected)


IMAGE = np.zeros((1, 12, 12, 12), np.float32)
TENSOR = (1, 12, 12, 12)
LABEL = np.zeros((12, 12, 12), np.int8)
WRONG: list[tuple[Any, Any, dict[str, Any], str]] = [
    ([IMAGE, [1, 2]], None, {}, r"\[images\] expected an array of NumPy or a tensor, got list of case case_1"),
    ([IMAGE, IMAGE[0, 0]], None, {}, r"\[images\] expected shape \(C, X, Y, Z\), got \(12, 12\) of case case_1"),
    ([IMAGE, IMAGE[:, :0]], None, {}, r"\[images\] expected at least one voxel .*, got shape \(1, 0, 12, 12\) of case case_1"),
    ([IMAGE.astype(">f4")], None, {}, r"\[images\] expected numbers .* byte order, got '>f4' of case case_0"),
    ([IMAGE.astype(np.complex64)], None, {}, r"\[images\] expected numbers .*, got '<c8' of case case_0"),
    ([torch.zeros(TENSOR, dtype=torch.bfloat16)], None, {}, r"\[images\] .*, got torch.bfloat16 on cpu of case case_0"),
    ([torch.zeros(TENSOR, device="meta")], None, {}, r"\[images\] expected a CPU tensor .* on meta of case case_0"),
    ([IMAGE, np.repeat(IMAGE, 2, 0)], None, {}, r"\[images\] expected 1 channels as case case_0 has, got 2 of case case_1"),
    ([IMAGE], [LABEL[1:]], {}, r"\[labels\] expected the image's shape \(12, 12, 12\), got \(11, 12, 12\) of case case_0"),
    ([IMAGE], [LABEL.astype(np.float32)], {}, r"\[labels\] expected whole numbers, got float32 of case case_0"),
    ([IMAGE], [LABEL.astype(np.int32) + 40_000], {}, r"\[labels\] expected .*32767, got 40000 to 40000 of case case_0"),
    ([IMAGE], [], {}, r"\[labels\] expected an array for each of 1 cases, got 0"),
    ({"a": IMAGE}, {"b": LABEL}, {}, r"\[labels\] expected an array for each case, got none of case a"),
    ({"a": IMAGE}, None, {"cases": ["b"]}, r"\[cases\] expected names among the images, got 'b'"),
    ([IMAGE], None, {"cases": ["a", "b"]}, r"\[cases\] expected a name for each of 1 images, got 2"),
    ([IMAGE, IMAGE], None, {"cases": ["a", "a"]}, r"\[cases\] expected names that differ, got"),
    ([IMAGE], None, {"classes": [1]}, r"\[labels\] expected labels for classes or ignore_label, got none"),
    ([], None, {}, r"expected at least one case, got none"),
]  # fmt: skip


def test_labels_go_with_images_by_name() -> None:
    images = {name: np.full((1, 8, 8, 8), value, np.float32) for name, value in (("a", 1), ("b", 2))}
    labels = {name: image[0].astype(np.int8) for name, image in images.items()}
    with pytest.raises(ValueError, match=r"\[labels\] expected a dictionary by the names of cases, as the images are"):
        open_arrays(images, list(labels.values()), cases=["b", "a"], patch_size=(8, 8, 8)).close()
    with pytest.raises(ValueError, match=r"\[cases\] expected texts as names of cases, got \[0, 1\]"):
        open_arrays(dict(enumerate(images.values())), patch_size=(8, 8, 8)).close()
    with open_arrays(images, labels, cases=["b", "a"], patch_size=(8, 8, 8)) as loader:
        batch = next(loader)
        assert torch.equal(batch["image"], batch["label"].clamp(min=0).float())  # -1 is outside


@pytest.mark.parametrize(("images", "labels", "settings", "message"), WRONG, ids=[wrong[3][:50] for wrong in WRONG])
def test_what_does_not_fit_is_one_sentence(images: Any, labels: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_arrays(images, labels, **settings).close()


def test_threads_are_added_while_batches_are_waited_for(tmp_path: Path) -> None:
    images, labels = volumes(tmp_path / "cases")
    # Batches that take long beside handing them over, whatever else runs on the machine.
    made = {"transforms": fl.augmentation.nnunet((64, 64, 64)), "patch_size": (64, 64, 64), "batch_size": 24}
    with open_arrays(images, labels, threads=1, most_threads=2, **made) as grown:
        assert grown.stats().threads == 1
        for _ in range(200):  # nothing is done with a batch
            next(grown)
            if grown.stats().threads > 1:
                break
        assert grown.stats().threads == 2
        with open_arrays(images, labels, threads=1, **made) as fixed:
            fixed.load_state_dict(grown.state_dict())
            for _ in range(5):
                assert torch.equal(next(grown)["image"], next(fixed)["image"])
            assert fixed.stats().threads == 1
