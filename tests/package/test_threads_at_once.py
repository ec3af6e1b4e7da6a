"""Several Python threads use the package at once; in free-threaded Python really at once."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

import fastnnunet_loader as fl
from own_transforms import Own, put

THREADS = 4
PATCH = (10, 12, 14)


def together(work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns in each thread; all of them start at the same time."""
    ready = threading.Barrier(THREADS)

    def one(number: int) -> Any:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(one, range(THREADS)))


def noisy(data: dict[str, Any]) -> Any:
    """What a user's transform does: draws from the generators that belong to the process."""
    return data["image"] + torch.rand(()) + float(np.random.uniform())


def transforms(python: bool) -> Any:
    made = fl.augmentation.nnunet(PATCH)
    return ComposeTransforms([made, Own(put(image=noisy))]) if python else made


def open_loader(python: bool = False, **settings: Any) -> fl.DataLoader:
    generator = np.random.default_rng(0)
    images = {f"case_{i}": generator.normal(size=(1, 20, 24, 28)).astype(np.float32) for i in range(4)}
    labels = {name: (image > 1.5).astype(np.int16) for name, image in images.items()}
    given: dict[str, Any] = {"patch_size": PATCH, "batch_size": 2, "transforms": transforms(python), "threads": 2, "seed": 3}
    return fl.DataLoader.from_arrays(images, labels, **{**given, "pin_memory": False, **settings})


if sysconfig.get_config_var("Py_GIL_DISABLED"):

    def test_importing_leaves_the_lock_off() -> None:
        code = (
            "import sys, fastnnunet_loader as fl\nfrom fastnnunet_loader import _core, _pictures, _torch\n"
            "print(sys._is_gil_enabled())"
        )
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
        assert found.stdout.strip() == "False", found.stderr


@pytest.mark.parametrize("python", [False, True], ids=["native", "with Python"])
def test_one_pipeline(python: bool) -> None:
    pipeline = fl.compile_transforms(transforms(python))
    generator = np.random.default_rng(1)
    image = generator.normal(size=(1, 20, 24, 28)).astype(np.float32)
    labels = (image > 1).astype(np.int16)

    def sample(seed: int) -> Any:
        return pipeline(image=image, segmentation=labels, seed=seed)

    expected = [sample(seed) for seed in range(24)]
    found = together(lambda number: [sample(seed) for seed in range(number, 24, THREADS)])
    for number, made in enumerate(found):
        for one, wanted in zip(made, expected[number::THREADS], strict=True):
            assert torch.equal(one["image"], wanted["image"])
            assert torch.equal(one["segmentation"], wanted["segmentation"])


@pytest.mark.parametrize("python", [False, True], ids=["native", "with Python"])
def test_one_loader_gives_each_batch_once(python: bool) -> None:
    with open_loader(python) as loader:
        expected = [(next(loader)["image"].clone()) for _ in range(5 * THREADS)]
    with open_loader(python) as loader:
        told = together(lambda _: [next(loader)["image"].clone() for _ in range(5)])
        assert loader.state_dict()["step"] == 5 * THREADS
    left = list(expected)
    for image in (image for images in told for image in images):
        place = next(i for i, wanted in enumerate(left) if torch.equal(wanted, image))
        del left[place]
    assert left == []


def test_a_loader_for_each_thread() -> None:
    with open_loader() as loader:
        expected = [next(loader)["image"].clone() for _ in range(4)]

    def work(_: int) -> list[torch.Tensor]:
        with open_loader() as own:
            return [next(own)["image"].clone() for _ in range(4)]

    for images in together(work):
        assert all(torch.equal(one, wanted) for one, wanted in zip(images, expected, strict=True))


def test_asking_a_loader_while_it_works() -> None:
    with open_loader() as loader:

        def work(number: int) -> int:
            if number == 0:
                for _ in range(40):
                    next(loader)
                return 0
            asked = 0
            while loader.stats().batches < 40:
                loader.state_dict()
                assert loader.bad_cases == []
                asked += 1
            return asked

        assert all(together(work)[1:])


def test_closing_ends_who_waits() -> None:
    go = threading.Event()
    go.set()  # a loader is made with its first sample

    def wait(data: dict[str, Any]) -> Any:
        go.wait(30)
        return data["image"]

    slow = ComposeTransforms([fl.augmentation.nnunet(PATCH), Own(put(image=wait))])
    loader = open_loader(transforms=slow)
    go.clear()
    ended: list[BaseException] = []

    def take() -> None:
        try:
            while True:
                next(loader)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    threading.Timer(0.5, go.set).start()
    loader.close()
    thread.join(30)
    assert not thread.is_alive()
    assert [type(error) for error in ended] == [fl.LoaderClosedError]


def test_functions_of_arrays() -> None:
    generator = np.random.default_rng(2)
    image = generator.normal(size=(2, 18, 20, 22)).astype(np.float32)
    expected = fl.resample(image, (9, 31, 22), 3)
    segmented = fl.logits_to_segmentation(image, (9, 31, 22))

    def work(_: int) -> bool:
        same = np.array_equal(fl.resample(image, (9, 31, 22), 3), expected)
        return same and np.array_equal(fl.logits_to_segmentation(image, (9, 31, 22)), segmented)

    assert all(together(work))
