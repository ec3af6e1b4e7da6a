"""A matrix of wrong inputs and the doors that they come in by: each is one sentence with case, file, expected and found."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_folders import open_folder, write_case

import fastnnunet_loader as fl

IMAGE = np.random.default_rng(0).normal(size=(1, 12, 12, 12)).astype(np.float32)
LABELS = (IMAGE > 0).astype(np.int8)
TENSOR = torch.from_numpy(IMAGE)

WRONG: dict[str, tuple[Any, Any]] = {
    "shape of the labels": (IMAGE, LABELS[:, 1:]),
    "axes of the image": (IMAGE[0, 0], LABELS),
    "no voxels": (IMAGE[:, :0], LABELS[:, :0]),
    "channels of the image": (np.concatenate([IMAGE, IMAGE]), LABELS),
    "channels of the labels": (IMAGE, np.concatenate([LABELS, LABELS])),
    "dtype of the image": (IMAGE.astype(np.complex64), LABELS),
    "text": (np.full(IMAGE.shape, "a"), LABELS),
    "labels of fractions": (IMAGE, LABELS + np.float32(0.5)),
    "labels that int16 does not hold": (IMAGE, LABELS.astype(np.int32) + 40_000),
    "missing labels": (IMAGE, None),
}
"""The second of two cases; the first is right."""


def message(error: BaseException) -> str:
    return str(error).splitlines()[0]


def by_arrays(root: Path, image: Any, labels: Any) -> str:
    with (
        pytest.raises(ValueError, match=r"expected .*got ") as met,
        fl.DataLoader.from_arrays([IMAGE, image], [LABELS, labels], patch_size=(8, 8, 8), batch_size=2),
    ):
        pass
    assert "case_1" in str(met.value)
    return message(met.value)


def by_folder(root: Path, image: Any, labels: Any) -> str:
    write_case(root, "case_0", IMAGE, LABELS, "npy")
    write_case(root, "case_1", image, labels, "npy")
    with pytest.raises(fl.BadCaseError) as met, open_folder(root, oversample_foreground=1.0, patience=0) as loader:
        for _ in range(10):
            next(loader)
    assert met.value.case == "case_1"
    assert Path(met.value.file).name in ("case_1.npy", "case_1_seg.npy")
    return message(met.value)


class Items(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        return self.items[number]


def by_dataset(root: Path, image: Any, labels: Any) -> str:
    items = Items((IMAGE, LABELS), (image, labels))
    with pytest.raises(ValueError, match=r"^\[dataset\] item 1: .*expected .*got ") as met:
        fl.DataLoader.from_dataset(items, patch_size=(8, 8, 8), batch_size=2, cache=root, cache_key="wrong")
    return message(met.value)


def by_packing(root: Path, image: Any, labels: Any) -> str:
    for number, (one, other) in enumerate([(IMAGE, LABELS), (image, labels)]):
        for folder, array in (("images", one), ("labels", other)):
            (root / folder).mkdir(exist_ok=True)
            if array is not None:
                np.save(root / folder / f"case_{number}.npy", array)
    with pytest.raises(fl.PreprocessingError) as met:
        fl.pack(root / "images", root / "out", labels=root / "labels", threads=1, say=lambda _: None)
    assert (met.value.case, met.value.others) == ("case_1", ())
    assert Path(met.value.file).name == "case_1.npy"
    assert (root / "out" / "case_0.b2nd").is_file()  # the other case is packed
    return message(met.value)


DOORS: dict[str, Callable[..., str]] = {
    "from_arrays": by_arrays,
    "from_folder": by_folder,
    "from_dataset": by_dataset,
    "pack": by_packing,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_named(wrong: str, door: str, tmp_path: Path) -> None:
    if (wrong, door) == ("axes of the image", "pack"):
        pytest.skip("an image of two axes is one of planes, and its labels are of another size")
    said = DOORS[door](tmp_path, *WRONG[wrong])
    assert re.search(r"expected .*got |cannot be opened", said), said
    assert "Error:" not in said.replace("PreprocessingError:", ""), said  # nobody else's words


def arrays(*given: Any, **settings: Any) -> Any:
    return fl.DataLoader.from_arrays(*given, **{"patch_size": (8, 8, 8), "batch_size": 2, "threads": 1, **settings})


def dataset(root: Path, *items: Any, **settings: Any) -> Any:
    given = {"patch_size": (8, 8, 8), "batch_size": 2, "threads": 1, "cache": root, **settings}
    return fl.DataLoader.from_dataset(Items(*items), **given)


ARGUMENTS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda _: arrays(None), r"[images] expected a list or a dictionary of arrays, got NoneType"),
    (lambda _: arrays(image for image in [IMAGE]), r"[images] expected a list or a dictionary of arrays, got generator"),
    (lambda _: arrays("cases"), r"[images] expected a list or a dictionary of arrays, got 'cases'; from_folder reads files"),
    (lambda _: arrays([TENSOR.to_sparse()]), "[images] expected a CPU tensor of a dtype that NumPy has, got sparse_coo "),
    (lambda _: arrays([TENSOR.to(torch.float8_e4m3fn)]), "NumPy has, got torch.float8_e4m3fn on cpu of case case_0"),
    (lambda _: arrays([np.ma.masked_less(IMAGE, 0)]), "[images] expected an array without masked voxels, got "),
    (lambda _: arrays([IMAGE], cases="a"), "[cases] expected a list of names, got 'a'"),
    (lambda _: arrays([IMAGE] * 2, cases={"a", "b"}), "[cases] expected a list of names, got {"),
    (lambda _: arrays([IMAGE], batch_size=None), "[batch_size] expected a whole number above 0, got None"),
    (lambda _: arrays([IMAGE], [LABELS], oversample_foreground="all"), "[oversample_foreground] expected a share from 0 to 1"),
    (lambda _: arrays([IMAGE], [LABELS], ignore_label=1.5), "[ignore_label] expected a label from 0 "),
    (lambda _: arrays([IMAGE], [LABELS], classes=[1.5]), "[classes] expected labels, or tuples of labels for regions, "),
    (lambda _: arrays([IMAGE], sampling_probabilities=["a"]), "[sampling_probabilities] expected a number for each case, got"),
    (lambda _: arrays([IMAGE], seed=1.5), "[seed] expected a number from 0 to 2**64 - 1, got 1.5"),
    (lambda _: arrays([IMAGE], threads="all"), "[threads] expected a number from 1 on, got 'all'"),
    (lambda _: arrays([IMAGE], prefetch=-1), "[prefetch] expected a number from 1 on, got -1"),
    (lambda _: arrays([IMAGE], role=-1), "[role] expected 'train', 'val' or a number, got -1"),
    (lambda _: arrays([IMAGE], image_key=3), "[keys] expected texts as names, got 3"),
    (lambda _: arrays([IMAGE], per_case=[1]), "[per_case] expected a dictionary of names and values, got list"),
    (lambda _: arrays([IMAGE], per_case={"age": 3}), "[per_case] expected 'age' of 1 cases, got 3 for all of them"),
    (lambda _: arrays([IMAGE], per_case={"age": [None]}), "an array or a text as 'age', got None of case case_0"),
    (lambda _: arrays([IMAGE] * 2, per_case={"age": ["x", 1]}), "[per_case] expected a number or an array as 'age', got 'x'"),
    (lambda _: arrays([IMAGE], transforms="nnunet"), "[transforms] expected batchgeneratorsv2's, or what "),
    (lambda _: open_folder(None), "[folder] expected the path of a folder, got None"),  # type: ignore[arg-type]
    (lambda root: dataset(root, IMAGE, per_case={"age": [1, 2]}), "[per_case] expected 'age' of 1 cases, got 2 values"),
    (lambda root: dataset(root, IMAGE, classes=[1.5]), "[classes] expected labels, or tuples of labels for regions, "),
    (lambda root: dataset(root, IMAGE, batches_per_epoch=0), "[batches_per_epoch] expected a whole number above 0, or None"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), ARGUMENTS, ids=[said[:40] for _, said in ARGUMENTS])
def test_an_argument_of_another_type_is_one_sentence(make: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as met:
        make(tmp_path)
    assert "\n" not in str(met.value)
    assert not list(tmp_path.iterdir())  # and nothing was read


def test_an_argument_that_no_loader_has_is_named_with_the_likely_one(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^\[workers\] expected an argument of this loader, .*; is it num_workers\?$"):
        arrays([IMAGE], workers=2)
    with pytest.raises(TypeError, match=r"^\[targets\] expected an argument of this loader, got one that it does not have$"):
        dataset(tmp_path, IMAGE, targets=True)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(fl.StorageError, match=r"file\] expected a cache that folders can be made in, got "):
        dataset(tmp_path / "file", IMAGE)
    with pytest.raises(ValueError, match=r"^\[cache\] expected a folder, got the file .*file$"):
        open_folder(tmp_path, cache=tmp_path / "file")


def test_a_target_without_its_image_is_no_image(tmp_path: Path) -> None:
    for number in range(2):
        write_case(tmp_path, f"case_{number}", IMAGE, None, "npy")
        write_case(tmp_path, f"case_{number}_target", IMAGE, None, "npy")
    (tmp_path / "case_1.npy").unlink()
    with pytest.raises(fl.StorageError, match=r"expected the image of case_1_target\.npy, as other targets have, got none"):
        open_folder(tmp_path)
    with open_folder(tmp_path, cases=["case_0"], targets=True) as loader:
        assert "target" in next(loader)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator")
def test_pinned_memory_without_an_accelerator_is_ordinary_memory() -> None:
    """As in torch's loader, scripts ask for it on every machine."""
    with (
        pytest.warns(UserWarning, match=r"^\[pin_memory\] expected an accelerator, got only the CPU"),
        arrays([IMAGE], pin_memory=True) as loader,
    ):
        assert not next(loader)["image"].is_pinned()
        assert not loader.pin_memory


def test_transforms_of_another_library_are_named_with_what_translates_them() -> None:
    compose = type("Compose", (), {"__module__": "monai.transforms.compose", "__call__": lambda _, data: data})()
    with pytest.raises(ValueError, match=r"got monai's Compose; fl\.augmentation\.from_monai translates it$"):
        arrays([IMAGE], transforms=compose)
