"""Whatever native code stands for in nnU-Net's loader and data set, replaced by its user, is called or named."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pytest
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunet_loaders import nnunet_loaders

import fastnnunet_loader as fl
from fastnnunet_loader import known
from fastnnunet_loader.known.walk import Found, Walk
from fastnnunet_loader.loading.reading.cases import check_augmenter, numpy_files

DATA_LOADER = "nnunetv2.training.dataloading.data_loader"
DATA_SET = "nnunetv2.training.dataloading.nnunet_dataset"
BASE = "batchgenerators.dataloading.data_loader"
SAMPLING = ("__next__", "__iter__", "generate_train_batch", "get_indices", "get_bbox")
RULES = ("_oversample_last_XX_percent", "_probabilistic_oversampling")
READING = ("load_case", "__getitem__")

# The walk has to find at least these; what else it finds is tried as well.
LEAST = {
    f"{DATA_LOADER}:nnUNetDataLoader.generate_train_batch",
    f"{DATA_LOADER}:nnUNetDataLoader.get_bbox",
    f"{DATA_LOADER}:crop_and_pad_nd",
    f"{DATA_LOADER}:np",
    f"{BASE}:DataLoader.get_indices",
    f"{BASE}:SlimDataLoaderBase.__next__",
    f"{BASE}:SlimDataLoaderBase.__iter__",
    f"{BASE}:np",
    f"{DATA_SET}:nnUNetDatasetBlosc2.load_case",
    f"{DATA_SET}:nnUNetDatasetBlosc2.__getitem__",
    f"{DATA_SET}:load_pickle",
    f"{DATA_SET}:blosc2",
    f"{DATA_SET}:join",
    "batchgenerators.utilities.file_and_folder_operations:load_pickle",
    "acvl_utils.cropping_and_padding.bounding_boxes:crop_and_pad_nd",
    "acvl_utils.cropping_and_padding.bounding_boxes:np",
}


@dataclass
class Counter:
    calls: int = 0


def counting(value: Any, counter: Counter) -> Any:
    """Does what the original does, and looks as much like it as functools can make it."""
    if isinstance(value, ModuleType):
        return Counting(value, counter)

    @functools.wraps(value)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        counter.calls += 1
        return value(*args, **kwargs)

    return replacement


class Counting:
    """A module that somebody has put something before."""

    def __init__(self, module: ModuleType, counter: Counter) -> None:
        self.module, self.counter = module, counter

    def __getattr__(self, name: str) -> Any:
        self.counter.calls += 1
        return getattr(self.module, name)


def walked(*roots: tuple[Any, tuple[str, ...]]) -> dict[str, bool]:
    """The keys of all that is behind some roots, and whether they are only the home of what others refer to."""
    found: dict[str, str] = {}

    def visit(one: Found) -> None:
        found[one.key] = one.fingerprint

    for root, names in roots:
        Walk(visit).root(root, names)
    homes = {fingerprint[3:] for fingerprint in found.values() if fingerprint.startswith("-> ")}
    return {key: key in homes for key, fingerprint in sorted(found.items()) if fingerprint != "class"}


def place(key: str) -> tuple[Any, str]:
    """The class or module, and the name in it, of a key."""
    module, _, name = key.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = name.split(".")
    for of in classes:
        owner = getattr(owner, of)
    return owner, name


@pytest.fixture
def loader(nnunet_dataset: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    return nnunet_loaders(nnunet_dataset("default"), monkeypatch)[0]


def refusal(loader: Any) -> str:
    """Why the loader is refused; nothing where it makes a batch."""
    try:
        made = fl.DataLoader.from_nnunet(loader, threads=1, seed=1)
    except fl.NotSupportedError as error:
        return str(error)
    with made:
        next(made)
    return ""


def test_nnunets_own_is_known(loader: Any) -> None:
    assert known.changed(loader, *SAMPLING) == []
    assert known.changed(loader._data, *READING) == []
    assert refusal(loader) == ""


def test_every_member_replaced_in_its_class_or_module_is_named(loader: Any) -> None:
    keys = walked((loader, SAMPLING), (loader._data, READING), (loader.get_do_oversample, ()))
    assert set(keys) >= LEAST
    for key, is_home in keys.items():
        counter = Counter()
        owner, name = place(key)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, counting(vars(owner)[name], counter))
            said = refusal(loader)
            if not said and (is_home or name in RULES):
                next(loader)
                assert counter.calls == 0, key  # those that imported it, or the object, have it as it was
                continue
            assert name in said, key
            # A method of its class is a name that everybody looks for.
            if isinstance(owner, type):
                assert f"{owner.__name__}.{name}, wrapped in {__file__}" in said
    assert refusal(loader) == ""


@pytest.mark.parametrize("name", [*SAMPLING, "reset"])
def test_a_method_of_the_loader_replaced_on_the_object_is_named(loader: Any, name: str) -> None:
    counter = Counter()
    setattr(loader, name, counting(getattr(loader, name), counter))
    assert f"nnUNetDataLoader.{name}, replaced on this object, defined in {__file__}" in refusal(loader)


@pytest.mark.parametrize("name", READING)
def test_a_method_of_the_data_set_replaced_on_the_object_is_named(loader: Any, name: str) -> None:
    setattr(loader._data, name, counting(getattr(loader._data, name), Counter()))
    assert f"nnUNetDatasetBlosc2.{name}, replaced on this object" in refusal(loader)


@pytest.mark.parametrize("name", [*SAMPLING, *READING])
def test_a_method_of_a_subclass_is_named(loader: Any, name: str) -> None:
    of = loader._data if name in READING else loader

    class Mine(type(of)):  # type: ignore[misc]
        pass

    of.__class__ = Mine
    assert refusal(loader) == ""  # a subclass that does nothing of its own
    setattr(Mine, name, lambda self, *args, **kwargs: None)
    assert f"Mine.{name}, defined in {__file__}" in refusal(loader)


def test_attributes_looked_up_in_another_way_are_named(loader: Any) -> None:
    class Mine(type(loader)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name)

    loader.__class__ = Mine
    assert "Mine.__getattribute__, defined in" in refusal(loader)


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_of_oversampling_is_the_objects(loader: Any, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = getattr(loader, rule)
    loader.get_do_oversample = own
    with fl.DataLoader.from_nnunet(loader, threads=1, seed=1) as made:
        assert made._sampling["probabilistic_oversampling"] == (rule == RULES[1])
    # The class's, replaced after the loader was made: the object has the one that it was given.
    monkeypatch.setattr(type(loader), rule, lambda self, index: True)
    assert refusal(loader) == ""
    loader.get_do_oversample = getattr(loader, rule)
    assert f"defined in {__file__}" in refusal(loader)
    loader.get_do_oversample = lambda index: False
    assert "one of nnUNetDataLoader's rules of oversampling" in refusal(loader)


def test_the_rule_of_another_loader_is_refused(nnunet_dataset: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = nnunet_loaders(nnunet_dataset("default"), monkeypatch)
    train.get_do_oversample = val._oversample_last_XX_percent
    assert "got _oversample_last_XX_percent of another nnUNetDataLoader" in refusal(train)


def test_attributes_are_followed(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only sets attributes is not refused: they are read off."""
    cls = type(loader)
    before = cls.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        before(self, *args, **kwargs)
        self.batch_size = 3

    monkeypatch.setattr(cls, "__init__", init)
    monkeypatch.setattr(cls, "determine_shapes", lambda self: None, raising=False)
    loader.batch_size = 3
    with fl.DataLoader.from_nnunet(loader, threads=1, seed=1) as made:
        assert next(made)["data"].shape[0] == 3
    loader.infinite = False
    assert "infinite=False" in refusal(loader)


def test_another_class_under_nnunets_name(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that puts its own class into nnU-Net's module, derived from nnU-Net's or not."""
    module = importlib.import_module(DATA_LOADER)
    original = module.nnUNetDataLoader

    class Mine(original):  # type: ignore[misc, valid-type]
        def get_bbox(self, *args: Any, **kwargs: Any) -> Any:
            return super().get_bbox(*args, **kwargs)

    monkeypatch.setattr(module, "nnUNetDataLoader", Mine)
    assert refusal(loader) == ""  # it is of nnU-Net's own class, whatever the name stands for by now
    loader.__class__ = Mine
    assert "Mine.get_bbox, defined in" in refusal(loader)

    class nnUNetDataLoader:
        pass

    assert "expected nnU-Net's nnUNetDataLoader" in refusal(nnUNetDataLoader())


@pytest.mark.parametrize("kind", [NonDetMultiThreadedAugmenter, MultiThreadedAugmenter, SingleThreadedAugmenter])
def test_every_member_of_an_augmenter_is_named(kind: type) -> None:
    check_augmenter(kind)
    for key, is_home in walked((kind, ("__next__", "__iter__", "next", "restart"))).items():
        owner, name = place(key)
        before = vars(owner).get(name)
        if is_home or before is None:
            continue
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, counting(before, Counter()))
            with pytest.raises(fl.NotSupportedError, match=name):
                check_augmenter(kind)
    check_augmenter(kind)


@pytest.fixture
def installed() -> Iterator[None]:
    fl.install(threads=1, seed=1)
    yield
    fl.uninstall()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("key", [f"{DATA_LOADER}:nnUNetDataLoader.get_bbox", f"{DATA_SET}:nnUNetDatasetBlosc2.load_case"])
def test_what_is_named_stays_nnunets_and_is_called(
    loader: Any, key: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = place(key)
    counter = Counter()
    monkeypatch.setattr(owner, name, counting(vars(owner)[name], counter))
    with caplog.at_level(logging.WARNING, "fastnnunet_loader"):
        augmenter = SingleThreadedAugmenter(loader, None)
    assert type(augmenter) is SingleThreadedAugmenter
    assert f"{owner.__name__}.{name}" in caplog.text
    assert "stays nnU-Net's own" in caplog.text
    next(augmenter)
    assert counter.calls == loader.batch_size


def test_it_costs_little(loader: Any) -> None:
    """Once the sources are read, a whole loader is compared in less than 20 ms."""
    import time

    def compare() -> float:
        begin = time.thread_time()
        assert not known.changed(loader, *SAMPLING)
        assert not known.changed(loader._data, *READING)
        assert not known.changed(loader.get_do_oversample)
        for transform in loader.transforms.transforms:
            assert not known.changed(transform)
        return time.thread_time() - begin

    compare()
    assert min(compare() for _ in range(3)) < 0.02


def test_functions_and_methods_are_what_this_file_takes_them_for() -> None:
    counter = Counter()
    assert isinstance(counting(len, counter), FunctionType)
    assert isinstance(MethodType(counting(len, counter), []), MethodType)


@pytest.mark.parametrize("unpacked", [True, False])
def test_the_files_of_a_cascade_of_numpy_files(tmp_path: Path, unpacked: bool) -> None:
    """As nnUNetDatasetNumpy.load_case reads them: .npy where it is there, else a member of .npz."""
    folder, previous = tmp_path / "cases", tmp_path / "previous"
    endings = (".npz", ".npy", "_seg.npy") if unpacked else (".npz",)
    for place in (folder, previous):
        place.mkdir()
        for ending in endings:
            (place / f"case{ending}").touch()
    files = numpy_files(folder, previous, "case")
    assert Path(files.image) == folder / ("case.npy" if unpacked else "case.npz")
    assert Path(files.segmentation) == folder / ("case_seg.npy" if unpacked else "case.npz")
    assert Path(files.previous) == previous / ("case.npy" if unpacked else "case.npz")
    assert Path(numpy_files(folder, None, "case").previous) == Path()
