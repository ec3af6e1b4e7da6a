"""Cases of the final validation that cannot be read: named, or left out; and the loaders that are opened without a training."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import blosc2
import numpy as np
import pytest
import torch.distributed as dist
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module

import fastnnunet_loader as fl
from fastnnunet_loader.loading.reading.cases import blosc2_files
from fastnnunet_loader.nnunet import reports, runs
from fastnnunet_loader.nnunet.distributed import ranks, spawning
from fastnnunet_loader.nnunet.sources import open_source
from fastnnunet_loader.nnunet.validation_cases import first_bad_file, naming_bad_cases
from fastnnunet_loader.settings import Settings


@pytest.fixture
def data(nnunet_dataset: Any, tmp_path: Path) -> Any:
    """A copy of a data set, to be damaged."""
    return nnunet_dataset("default").copy(tmp_path)


class Trainer:
    """What the validation asks of one."""

    def __init__(self, dataset: Any, previous: Path | None = None) -> None:
        self.dataset_class: Any = nnUNetDatasetBlosc2
        self.preprocessed_dataset_folder = str(dataset.folder())
        self.folder_with_segs_from_previous_stage = None if previous is None else str(previous)
        self.cases = dataset.cases()

    def do_split(self) -> tuple[list[str], list[str]]:
        return self.cases[:2], self.cases[2:]

    def load(self, case: str) -> Any:
        """As nnU-Net's final validation."""
        made = self.dataset_class(self.preprocessed_dataset_folder, None, self.folder_with_segs_from_previous_stage)
        return made.load_case(case)


DAMAGES = {"{case}.b2nd": "cut", "{case}_seg.b2nd": "cut", "{case}.pkl": "cut"}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("skip", [True, False])
def test_the_bad_file_of_a_case_is_named_or_the_case_left_out(data: Any, name: str, skip: bool) -> None:
    trainer, said = Trainer(data), []
    bad, *good = trainer.cases[2:]
    file = data.folder() / name.format(case=bad)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with naming_bad_cases(trainer, skip, False, said.append, patience=0):
        assert trainer.dataset_class.__name__ == nnUNetDatasetBlosc2.__name__
        for case in good:
            image, labels, previous, properties = trainer.load(case)
            assert isinstance(image, np.ndarray)
            assert image.shape[1:] == labels.shape[1:]
            assert previous is None and "spacing" in properties
        assert trainer.do_split() == (trainer.cases[:2], good if skip else [bad, *good])
        if skip:
            trainer.do_split()
            (text,) = said  # once, however often it is asked
            assert text.startswith(f"fastnnunet_loader: validating without case [{bad}] {file}: ")
        else:
            assert said == []
        with pytest.raises(fl.PredictionError) as raised:
            trainer.load(bad)
    assert (raised.value.case, raised.value.stage, raised.value.file) == (bad, "read", str(file))
    assert raised.value.reason
    assert raised.value.__cause__ is not None
    assert trainer.dataset_class is nnUNetDatasetBlosc2
    assert trainer.do_split()[1] == [bad, *good]


def test_where_no_case_is_left_the_first_ones_error_is_raised(data: Any) -> None:
    trainer = Trainer(data)
    for case in trainer.cases[2:]:
        (data.folder() / f"{case}_seg.b2nd").write_bytes(b"")
    with naming_bad_cases(trainer, True, False, lambda _: None, patience=0):
        with pytest.raises(fl.PredictionError) as raised:
            trainer.do_split()
        trainer.cases = trainer.cases[:2]
        assert trainer.do_split() == (trainer.cases, [])  # none to validate is no error
    first = Trainer(data).cases[2]
    assert (raised.value.case, raised.value.file) == (first, str(data.folder() / f"{first}_seg.b2nd"))
    assert raised.value.stage == "read"


def test_cases_are_judged_where_they_are_divided(data: Any) -> None:
    trainer, asked = Trainer(data), []

    def each(cases: list[str], read: Callable[[str], Any]) -> list[Any]:
        asked.append(cases)
        return [("file", "of another rank") if case == cases[1] else read(case) for case in cases]

    with naming_bad_cases(trainer, True, False, lambda _: None, each, 0):
        assert trainer.do_split()[1] == [case for number, case in enumerate(trainer.cases[2:]) if number != 1]
    assert asked == [trainer.cases[2:]]


def test_a_case_that_another_thing_is_wrong_with_is_named_too(data: Any) -> None:
    class Own(nnUNetDatasetBlosc2):  # type: ignore[misc]
        pass

    trainer = Trainer(data)
    trainer.dataset_class = Own
    with naming_bad_cases(trainer, True, False, print):
        assert trainer.dataset_class is Own  # which reads in a way of its own, perhaps
    trainer.dataset_class = nnUNetDatasetBlosc2
    with naming_bad_cases(trainer, False, False, print, patience=0):
        kind = trainer.dataset_class
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nnUNetDatasetBlosc2, "load_case", lambda *_: 1 // 0)
            with pytest.raises(fl.PredictionError) as raised:
                trainer.load(trainer.cases[2])
        assert trainer.dataset_class is kind
    assert (
        str(raised.value) == f"[{trainer.cases[2]}] expected a case, got ZeroDivisionError: integer division or modulo by zero"
    )
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_all_of_a_case_is_read(data: Any, tmp_path: Path) -> None:
    """Its last planes, its properties, and the segmentation of the stage before."""
    folder, case = data.folder(), data.cases()[0]
    properties = folder / f"{case}.pkl"
    previous = tmp_path / "previous"
    previous.mkdir()
    files = blosc2_files(folder, previous, case)
    missing = first_bad_file(files, properties)
    assert missing is not None and missing.file == str(previous / f"{case}.b2nd")
    labels = blosc2.open(urlpath=str(folder / f"{case}_seg.b2nd"), mode="r")[0]
    blosc2.asarray(np.ascontiguousarray(labels), urlpath=str(previous / f"{case}.b2nd"))
    assert first_bad_file(files, properties) is None
    assert first_bad_file(blosc2_files(folder, None, case), properties) is None
    long = np.random.default_rng(0).normal(size=(1, 150, 16, 16)).astype(np.float32)
    image = folder / f"{case}.b2nd"
    image.unlink()
    blosc2.asarray(long, urlpath=str(image), chunks=(1, 10, 16, 16), blocks=(1, 5, 16, 16))
    assert first_bad_file(files, properties) is None
    content = bytearray(image.read_bytes())
    # The last of its chunks, before the index at the end of the file.
    for at in range(int(len(content) * 0.93), int(len(content) * 0.97)):
        content[at] ^= 0xFF
    image.write_bytes(content)
    found = first_bad_file(files, properties)
    assert found is not None and found.file == str(image)

    class Attack:
        def __reduce__(self) -> Any:
            return (os.getcwd, ())

    image.unlink()
    blosc2.asarray(long, urlpath=str(image))
    properties.write_bytes(pickle.dumps({"a": Attack()}))
    found = first_bad_file(files, properties)
    assert found is not None and found.file == str(properties)
    assert first_bad_file(files, properties, unrestricted=True) is None


# Loaders without a training


NAMES = {
    ("default", "3d_fullres"): ({1: "grey", 2: "white"}, {1: (1,), 2: (2,)}, [1, 2]),
    ("regions", "3d_fullres"): ({0: "brain", 1: "white"}, {0: (1, 2), 1: (2,)}, [1, 2]),
    ("ignore", "3d_fullres"): ({1: "grey", 2: "white"}, {1: (1,), 2: (2,)}, [1, 2]),
}


@pytest.mark.parametrize(("variant", "configuration"), NAMES)
def test_a_source_names_its_labels(nnunet_dataset: Any, variant: str, configuration: str) -> None:
    dataset = nnunet_dataset(variant)
    before = dict(os.environ), trainer_module.SingleThreadedAugmenter, sorted(dataset.results.rglob("*"))
    source = open_source(dataset.name, configuration, 0)
    names, values, labels = NAMES[variant, configuration]
    assert list(source.label_names) == list(names)
    assert len(set(source.label_names.values())) == 2
    if variant != "default":
        assert source.label_names == names
    assert (source.label_values, source.foreground_labels) == (values, labels)
    assert source.spacing == dataset.plans["configurations"][configuration]["spacing"]
    source.trainer.print_to_log_file = lambda *_, **__: None  # its log has gone with its folder
    split = source.trainer.do_split()
    assert (set(source.train.indices), set(source.val.indices)) == tuple(map(set, split))
    assert (dict(os.environ), trainer_module.SingleThreadedAugmenter, sorted(dataset.results.rglob("*"))) == before
    assert not dist.is_initialized()


def test_a_source_of_two_dimensions_has_the_spacing_of_its_patches(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    source = open_source(str(dataset.id), "2d", "all")
    assert source.spacing == [float(s) for s in dataset.plans["configurations"]["2d"]["spacing"]][-2:]
    assert set(source.train.indices) == set(source.val.indices) == set(dataset.cases())


@pytest.mark.parametrize("configuration", ["3d_cascade_fullres"])
def test_a_cascades_source_has_the_stage_before(nnunet_dataset: Any, configuration: str) -> None:
    dataset = nnunet_dataset("cascade")
    folder = dataset.add_previous_stage("nnUNetTrainer")
    source = open_source(dataset.name, configuration, 0)
    assert Path(source.train._data.folder_with_segs_from_previous_stage) == folder
    assert source.train._data.load_case(source.train.indices[0])[2] is not None


def test_a_ranks_source_has_its_share_of_a_batch(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    alone = open_source(dataset.name, "3d_fullres", 0)
    shares = [open_source(dataset.name, "3d_fullres", 0, rank=rank, ranks=2) for rank in range(2)]
    assert sum(share.train.batch_size for share in shares) == alone.train.batch_size
    # Foreground is forced on the last third of the whole batch: of the last rank's sample.
    first, last = (share.train.oversample_foreground_percent for share in shares)
    assert first < last
    assert not dist.is_initialized()
    assert (ranks.rank(), ranks.ranks()) == (0, 1)


# Ranks


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("items", [0, 1, 2, 5, 6])
def test_work_is_divided_and_comes_back_in_order(monkeypatch: pytest.MonkeyPatch, count: int, items: int) -> None:
    """Each rank in turn: first it does its share, then it is given those of all."""
    shares: dict[int, list[Any]] = {}
    done: list[int] = []

    def gather(gathered: list[Any], own: list[Any]) -> None:
        shares[ranks.rank()] = own
        gathered[:] = [shares.get(number, [None] * items) for number in range(count)]

    def work(item: int) -> int:
        done.append(item)
        return 10 * item

    monkeypatch.setattr(ranks, "ranks", lambda: count)
    monkeypatch.setattr(dist, "all_gather_object", gather)
    found = []
    for number in list(range(count)) * 2:
        monkeypatch.setattr(ranks, "rank", lambda number=number: number)
        found.append(ranks.divide(list(range(items)), work))
    assert sorted(done) == sorted(2 * list(range(items)))  # each by one rank
    assert found[-1] == found[count] == [10 * item for item in range(items)]


class Context:
    """Of torch's: processes that end after a while."""

    def __init__(self, ends: list[Any]) -> None:
        self.ends, self.processes, self.error_files = ends, [SimpleNamespace(pid=1)], []

    def join(self) -> bool:
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return bool(end)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("listens", [True, False])
def test_ranks_are_started_with_one_seed_and_all_settings(monkeypatch: pytest.MonkeyPatch, seed: Any, listens: bool) -> None:
    calls: list[Any] = []
    context = Context([False, False, True])
    module = SimpleNamespace(spawn=lambda *args, **named: calls.append((args, named)) or context, other="torch's")
    settings = Settings(seed=seed, threads=3, stats="s.jsonl")
    installs: list[Any] = []
    monkeypatch.setattr(spawning, "listening", lambda: listens)
    spawned = spawning.Spawning(module, lambda: settings, installs.append)
    assert spawned.other == "torch's"
    assert spawned.spawn(print, (1, 2), 2, True, True, start_method="spawn") is None
    assert context.ends == []  # waited until the end
    assert spawned.spawn(print, args=(1,), nprocs=2, join=False) is context
    (ranked, args, nprocs, join, daemon), named = calls[0]
    assert (args, nprocs, join, daemon, named) == ((1, 2), 2, False, True, {"start_method": "spawn"})
    assert (ranked.run_ddp, ranked.listens) == (print, listens)
    assert ranked.settings == Settings(seed=ranked.settings.seed, threads=3, stats="s.jsonl")
    assert ranked.settings.seed == 5 if seed else 0 <= ranked.settings.seed < 2**63
    heard: list[str] = []
    monkeypatch.setattr(spawning, "listen", lambda: heard.append("listens"))
    order: list[Any] = []
    one = spawning.InstalledRank(order.append, ranked.settings, listens, lambda *args: order.append(args) or "returned")
    assert one(1, "a", "b") == "returned"
    assert order == [ranked.settings, (1, "a", "b")]
    assert heard == ["listens"] * listens
    assert pickle.loads(pickle.dumps(settings)) == settings
    # Without install() it is torch's own.
    calls.clear()
    context.ends = [True]
    assert spawning.Spawning(module, lambda: None, installs.append).spawn(print, (1,), 2, False, True, a=1) is context
    assert calls == [((print, (1,), 2, False, True), {"a": 1})]
    assert installs == []


def test_an_interruption_ends_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    context = Context([False, KeyboardInterrupt()])
    monkeypatch.setattr(spawning, "_end", lambda *given: ended.append(given))
    module = SimpleNamespace(spawn=lambda *_, **__: context)
    with pytest.raises(KeyboardInterrupt):
        spawning.Spawning(module, Settings, print).spawn(print, nprocs=2)
    assert ended == [(context.processes, spawning.PATIENCE)]


def test_a_rank_asks_torch_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (ranks.rank(), ranks.ranks()) == (0, 1)
    assert ranks.agree("name", 7) == 7
    assert ranks.of_ranks() == {}
    ranks.tell("name", 7)
    assert ranks.told("name") is None
    done: list[int] = []
    ranks.once("name", lambda: done.append(1))
    ranks.once("name", lambda: done.append(2))  # alone, whoever asks does it
    assert done == [1, 2]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr(dist, "get_world_size", lambda: 5)
    assert (ranks.rank(), ranks.ranks()) == (3, 5)
    monkeypatch.setattr(dist, "is_available", lambda: False)
    assert (ranks.rank(), ranks.ranks()) == (0, 1)


# What the log says of the loaders


class Log:
    """A trainer that keeps what it is told."""

    def __init__(self) -> None:
        self.local_rank, self.output_folder = 0, "folder"
        self.told: list[str] = []

    def print_to_log_file(self, text: str, **_: Any) -> None:
        self.told.append(text)


def loader(role: int, **more: Any) -> Any:
    stages = [SimpleNamespace(native=True, total=2.0), SimpleNamespace(native=False, total=6.0)]
    stats = {"samples": 20, "batches": 7, "waited": 3.0, "running": 30.0, "python_share": 0.6, "sample_time": 0.4}
    values = {**stats, **{name: value for name, value in more.items() if name in stats}}
    return SimpleNamespace(
        loader=SimpleNamespace(
            role=role,
            closed=more.get("closed", False),
            bad_cases=more.get("bad_cases", []),
            pipeline=SimpleNamespace(fallbacks=more.get("fallbacks", ["Own: it is so", "Own: and so", "Another: why"])),
            stats=lambda: SimpleNamespace(stages=stages, **values),
            reproduction=lambda bad: f"line of {bad.name}",
        )
    )


def test_the_end_of_a_training_is_told_for_every_loader_that_is_there() -> None:
    bad = SimpleNamespace(name="b", file="file", reason="it is cut")
    run, trainer = runs.Run(augmenters=[loader(0, bad_cases=[bad]), loader(1, batches=3), loader(2, closed=True)]), Log()
    run.reported.add("a")
    reports.report_at_end(run, trainer)
    assert trainer.told == [
        "fastnnunet_loader: skipping case b: [file] it is cut\nline of b",
        "fastnnunet_loader: trained without bad cases: a, b",
        "fastnnunet_loader: 7 training batches, 400.0 ms of a thread per sample, waited 3.0 s for batches in all",
        "fastnnunet_loader: 3 validation batches, 400.0 ms of a thread per sample, waited 3.0 s for batches in all",
    ]
    trainer.told.clear()
    reports.report_bad_cases(run, trainer)
    assert trainer.told == []  # each once


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, True),
        ({"waited": 1.5}, True),  # a twentieth
        ({"waited": 1.4}, False),
        ({"python_share": 0.5}, True),
        ({"python_share": 0.49}, False),
        ({"samples": 0}, False),
        ({"fallbacks": []}, False),
        ({"closed": True}, False),
    ],
)
def test_the_cost_of_python_is_told_once_where_it_is_waited_for(more: dict[str, Any], told: bool) -> None:
    run, trainer = runs.Run(augmenters=[loader(1, **more)]), Log()
    for _ in range(2):
        reports.report_python_transforms(run, trainer)
    assert len(trainer.told) == told
    if told and not more:
        assert trainer.told[0] == (
            "fastnnunet_loader, validation: the first epoch waited 3 s of 30 s for batches. Transforms in Python "
            "(Another, Own) take 300 ms of 400 ms for each sample, and hold Python's lock for part of it. With "
            "leave_to_nnunet=('validation',) in install(), or --leave-to-nnunet validation, nnU-Net's worker processes make "
            "these batches instead."
        )


def test_what_cannot_be_told_ends_no_training() -> None:
    broken = loader(0)
    broken.loader.stats = lambda: 1 // 0
    run, trainer = runs.Run(augmenters=[broken]), Log()
    reports.report_at_end(run, trainer)
    assert trainer.told == [
        "fastnnunet_loader: [report at end] ZeroDivisionError: integer division or modulo by zero; the training goes on"
    ]
    trainer.print_to_log_file = lambda *_, **__: 1 // 0  # type: ignore[method-assign]
    reports.report_at_end(run, trainer)


def test_names_of_loaders() -> None:
    run = runs.Run(augmenters=[loader(role) for role in range(4)])
    assert [name for name, _ in run.names()] == ["training", "validation", "further 1", "further 2"]
    assert [one.loader.role for _, one in run.names()] == [0, 1, 2, 3]
