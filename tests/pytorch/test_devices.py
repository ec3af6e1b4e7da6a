"""Batches on a device. The device is PyTorch's "meta", which has tensors without memory and needs no accelerator."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_folders import numpy_folder, open_folder

import fastnnunet_loader as fl
from own_transforms import Data, Own


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numpy_folder(tmp_path_factory.mktemp("devices") / "cases")


def until_ready(loader: fl.DataLoader) -> None:
    """Until the batch after the next one can be copied ahead, too. The first batch has to be asked for before."""
    end = time.monotonic() + 20
    while loader.stats().ready_batches < 2:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("to", [None, "cpu", torch.device("cpu")])
def test_the_cpu_changes_nothing(root: Path, to: Any) -> None:
    with open_folder(root) as plain, open_folder(root, to=to) as loader:
        assert loader.device == torch.device("cpu")
        for _ in range(3):
            assert torch.equal(next(plain)["image"], next(loader)["image"])


def test_every_tensor_of_a_batch_moves(root: Path) -> None:
    transforms = fl.augmentation.none((8, 8, 8), deep_supervision_scales=[[1, 1, 1], [0.5, 0.5, 0.5]])
    more: dict[str, Any] = {"transforms": transforms, "per_case": {"age": [1, 2, 3, 4], "site": ["a", "b", "a", "b"]}}
    with open_folder(root, to="meta", **more) as loader, open_folder(root, **more) as plain:
        for _ in range(4):
            batch, expected = next(loader), next(plain)
            assert list(batch) == list(expected)
            assert [target.shape for target in batch["label"]] == [target.shape for target in expected["label"]]
            tensors = [batch["image"], batch["age"], *batch["label"]]
            assert {tensor.device for tensor in tensors} == {torch.device("meta")} == {loader.device}
            assert [tensor.dtype for tensor in tensors] == [torch.float32, torch.int64, torch.int16, torch.int16]
            assert (batch["case"], batch["site"]) == (expected["case"], expected["site"])


def test_a_batch_that_is_copied_ahead_has_not_been_given_yet(root: Path) -> None:
    """Step and state are those of the batches that the training has, whether or not another one is on its way."""
    with open_folder(root) as plain:
        cases = [next(plain)["case"] for _ in range(12)]
    with open_folder(root, to="meta", batches_per_epoch=6) as loader:
        iterator = iter(loader)
        assert next(iterator)["case"] == cases[0]
        for step in range(1, 4):
            until_ready(loader)
            assert next(iterator)["case"] == cases[step]
            assert loader._ahead is not None  # the copy of the next one has begun
            assert loader.step == step + 1
        state = loader.state_dict()
        assert (state["step"], state["batches_of_epoch"]) == (4, 4)
        assert [batch["case"] for batch in iterator] == cases[4:6]
        until_ready(loader)
        assert next(loader)["case"] == cases[6]
        assert loader._ahead is not None
        loader.load_state_dict(state)
        assert loader.step == 4
        assert [batch["case"] for batch in loader] == cases[4:6]
        until_ready(loader)
        assert next(loader)["case"] == cases[6]
        assert loader._ahead is not None
        loader.limit_memory(loader.memory_budget // 2)
        assert loader.step == 7
        assert next(loader)["case"] == cases[7]
        until_ready(loader)
        assert next(loader)["case"] == cases[8]
        assert loader._ahead is not None
        loader.close()
        assert loader.state_dict()["step"] == 9
        with pytest.raises(fl.LoaderClosedError):
            next(loader)
    with open_folder(root, seed=8) as other:
        other.load_state_dict(loader.state_dict())
        assert next(other)["case"] == cases[9]


def test_the_error_of_a_batch_that_is_copied_ahead_is_raised_in_its_turn(tmp_path: Path) -> None:
    """And the batch after it follows, as without copies."""
    root = numpy_folder(tmp_path / "cases", "npy", cases=6)
    bad = root / "case_4.npy"
    bad.write_bytes(bad.read_bytes()[:-5000])
    settings: dict[str, Any] = {"batch_size": 1, "oversample_foreground": 0, "seed": 3}

    def outcomes(loader: fl.DataLoader) -> list[Any]:
        seen: list[Any] = []
        with loader:
            for number in range(12):
                if number and loader.device.type == "meta":
                    until_ready(loader)
                try:
                    seen.append((next(loader)["case"], loader.step))
                except fl.BadCaseError as error:
                    seen.append((error.case, error.step, loader.step))
        return seen

    expected = outcomes(open_folder(root, **settings))
    assert {len(one) for one in expected} == {2, 3}  # some fail, and not all
    assert outcomes(open_folder(root, to="meta", **settings)) == expected


def test_a_batch_that_is_not_ready_is_not_waited_for(root: Path) -> None:
    """A batch that is there is given at once: the next one is copied ahead only if it is there, too."""
    goes_on = threading.Event()
    goes_on.set()

    def wait(data: Data) -> Data:
        assert goes_on.wait(20)
        return data

    with open_folder(root, to="meta", prefetch=2, transforms=Own(wait)) as loader:
        next(loader)
        until_ready(loader)
        goes_on.clear()
        try:
            begin = time.monotonic()
            next(loader)
            assert loader._ahead is not None
            next(loader)  # was copied ahead; the one after it waits in its transform
            assert loader._ahead is None
            assert time.monotonic() - begin < 10
        finally:
            goes_on.set()
        assert loader.step == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("cuda", r"\[to\] expected a device that torch has here, got 'cuda': torch .* finds no accelerator"),
        ("cuda:1", r"\[to\] expected a device that torch has here, got 'cuda:1'"),
        ("gpu", r"\[to\] expected a device of torch, such as 'cuda' or 'cuda:1', got 'gpu'"),
        ([], r"\[to\] expected a device of torch, .*, got \[\]"),
    ],
)
def test_a_device_that_is_not_there_is_one_sentence(root: Path, to: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_folder(root, to=to).close()
