"""What a loader is asked for is what it is: its arguments, its state when it is closed and opened again, and what it says."""

from __future__ import annotations

import dataclasses
import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunet_loaders import nnunet_loader, nnunet_loaders

import fastnnunet_loader as fl
from fastnnunet_loader import _core, system
from fastnnunet_loader.errors import StorageError
from fastnnunet_loader.loading import core_loader
from fastnnunet_loader.loading import loader as loader_module
from fastnnunet_loader.loading.activity import describe_activity
from fastnnunet_loader.loading.reading.cases import blosc2_files, class_locations
from fastnnunet_loader.loading.sample_lines import Origin
from fastnnunet_loader.loading.stalls import Stalls
from fastnnunet_loader.loading.state import BadCase, skipped_in
from fastnnunet_loader.sample_id import SampleId
from fastnnunet_loader.settings import in_units
from fastnnunet_loader.system import Memory
from own_transforms import Own, of_labels


@pytest.fixture
def source(nnunet_dataset: Any, monkeypatch: Any) -> Any:
    return nnunet_loaders(nnunet_dataset("default"), monkeypatch)[0]


@pytest.fixture
def small(nnunet_dataset: Any) -> Any:
    """A loader of nnU-Net's without transforms, which costs little."""
    return nnunet_loader(nnunet_dataset("default"), ComposeTransforms([]), batch_size=2)


def test_every_argument_reaches_the_loader(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the core, which is given what the loader keeps no copy of."""
    given: list[dict[str, Any]] = []
    options = core_loader._core.LoaderOptions

    def recording(**named: Any) -> Any:
        given.append(named)
        return options(**named)

    monkeypatch.setattr(core_loader._core, "LoaderOptions", recording)
    said: list[str] = []
    origin = Origin("Dataset001_A", "3d_fullres", 0, "nnUNetTrainer", "nnUNetPlans")
    asked: dict[str, Any] = {
        "threads": 3, "most_threads": 5, "seed": 2**64 - 1, "rank": 5, "role": 7, "on_bad_case": "skip", "max_skipped": 0.25,
        "patience": 4.5,
        "stall_after": 6.5, "abort_after": 8.5, "origin": origin, "report": said.append, "pin_memory": False,
    }  # fmt: skip
    of_the_core = {"prefetch": 5, "check_finite": True, "keep_blocks": False, "budget_binds": False}
    with fl.DataLoader.from_nnunet(small, memory_budget="700MB", unrestricted_pickles=True, **asked, **of_the_core) as loader:
        for name, value in asked.items():
            assert getattr(loader, name) == value, name
        assert loader.memory_budget == 700 * 2**20
        assert loader._unrestricted_pickles is True
        assert loader.batch_size == 2
        assert loader.stats().prefetch_limit == 5
        (core,) = given
        for name, value in {
            **of_the_core,
            "threads": 3,
            "most_threads": 5,
            "seed": 2**64 - 1,
            "rank": 5,
            "role": 7,
            "patience": 4.5,
        }.items():
            assert core[name] == value, name
        assert (core["skip_bad_cases"], core["max_skipped"], core["memory_budget"]) == (True, 0.25, 700 * 2**20)
        assert (core["dims"], len(core["cases"])) == (3, len(small.indices))
        assert loader.sample_id(2, 1, 3) == SampleId(2**64 - 1, 2, 1, 7, 5, 3)
        assert loader.keys == list(small.indices)
    with fl.DataLoader.from_nnunet(small, threads=2, role="val") as loader:
        assert (loader.role, loader.rank, loader.on_bad_case) == (1, 0, "raise")
        assert (loader.max_skipped, loader.patience, loader.stall_after, loader.abort_after) == (0.05, 300.0, 60.0, None)
        default = given[-1]
        assert (default["check_finite"], default["keep_blocks"], default["skip_bad_cases"]) == (False, True, False)
        assert default["budget_binds"] is False  # nobody gave one
        assert 0 <= loader.seed < 2**63
        with fl.DataLoader.from_nnunet(small, threads=2, memory_budget=2**30) as other:
            assert other.seed != loader.seed
        assert given[-1]["budget_binds"] is True
    with fl.DataLoader.from_nnunet(small, threads=2, budget_binds=True):
        assert given[-1]["budget_binds"] is True


@pytest.mark.parametrize(("threads", "limit"), [(1, 3), (2, 3), (3, 4), (8, 6)])
def test_as_many_batches_are_made_ahead_as_keep_the_threads_busy(small: Any, threads: int, limit: int) -> None:
    """Batches of two: enough for every thread, and two more."""
    with fl.DataLoader.from_nnunet(small, threads=threads, seed=1) as loader:
        assert loader.stats().prefetch_limit == limit
        assert loader.stats().threads == threads


@pytest.mark.parametrize(("free", "budget"), [(8 * 2**30, 2 * 2**30), (40 * 2**30, 10 * 2**30), (2**40, 16 * 2**30)])
def test_the_default_budget_is_a_quarter_of_the_free_memory_at_most_16_gib(
    small: Any, monkeypatch: pytest.MonkeyPatch, free: int, budget: int
) -> None:
    monkeypatch.setattr(system, "memory", lambda: Memory(2**41, free))
    assert system.default_budget() == 2 * budget
    with fl.DataLoader.from_nnunet(small, threads=1, seed=1) as loader:
        assert loader.memory_budget == budget


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threads": 0}, r"\[threads\] expected a number from 1 on, got 0"),
        ({"seed": -1}, r"\[seed\] expected a number from 0 to"),
        ({"memory_budget": "much"}, r"expected a size such as '4GB', got 'much'"),
        ({"on_bad_case": "hide"}, r"\[on_bad_case\] expected 'raise' or 'skip', got 'hide'"),
        ({"max_skipped": 2}, r"\[max_skipped\] expected a share"),
        ({"patience": -1}, r"\[patience\] expected seconds"),
        ({"stall_after": 0}, r"\[stall_after\] expected seconds above 0"),
        ({"abort_after": 0}, r"\[abort_after\] expected seconds above 0"),
        ({"role": "test"}, r"\[role\] expected 'train', 'val' or a number, got 'test'"),
    ],
)
def test_arguments_out_of_range_are_named(small: Any, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fl.DataLoader.from_nnunet(small, **{"threads": 1, **wrong})


def test_a_loader_of_no_case_is_refused(small: Any) -> None:
    small.indices = []
    with pytest.raises(ValueError, match=r"\[data loader\] expected at least one case, got none"):
        fl.DataLoader.from_nnunet(small, threads=1)


# Closed and opened again


def test_a_closed_loader_tells_its_state_and_nothing_else(small: Any) -> None:
    loader = fl.DataLoader.from_nnunet(small, threads=2, seed=5)
    assert not loader.closed
    for _ in range(3):
        next(loader)
    state = loader.state_dict()
    loader.close()
    loader.close()
    assert loader.closed
    assert loader.state_dict() == state
    assert state["step"] == 3
    for call in (
        lambda: next(loader), loader.stats, loader.dump, lambda: loader.step, lambda: loader.bad_cases,
        lambda: loader.sample(0, 0), lambda: loader.sampled(0, 0), lambda: loader.patch(0, 0),
        lambda: loader.load_state_dict(state),
    ):  # fmt: skip
        with pytest.raises(fl.LoaderClosedError, match="expected an open loader, got one that was closed"):
            call()
    assert loader.describe().startswith(f"{len(small.indices)} cases, batches of 2 x (16, 16, 16), 2 threads, seed 5, rank 0, ")
    assert fl.dump(io.StringIO()) == "no loader is open"


def test_a_close_that_is_interrupted_is_ended_by_another_thread(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: _core.Loader) -> None:
        raise KeyboardInterrupt

    loader = fl.DataLoader.from_nnunet(small, threads=2, seed=5)
    next(loader)
    core, state = loader._core, loader.state_dict()
    assert core is not None
    monkeypatch.setattr(core_loader, "end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loader.close()
    for thread in threading.enumerate():
        if thread.name == "fastnnunet_loader close":
            thread.join(20)
            assert not thread.is_alive()
    assert core.activity()[-1] == []
    with pytest.raises(fl.LoaderClosedError):
        core.next(60.0, lambda _: None)
    assert loader.closed
    assert loader.state_dict() == state


@pytest.mark.parametrize("closed_before", [True, False])
def test_a_loader_that_is_opened_again_goes_on_in_another_role(small: Any, closed_before: bool) -> None:
    with fl.DataLoader.from_nnunet(small, threads=2, seed=5, rank=1, role=4) as loader:
        expected = [next(loader)["data"].clone() for _ in range(5)]
    loader = fl.DataLoader.from_nnunet(small, threads=2, seed=5, rank=1)
    for _ in range(3):
        next(loader)
    if closed_before:
        loader.close()
    loader.reopen(role=4, memory_budget=600 * 2**20)
    assert (loader.closed, loader.role, loader.rank, loader.step) == (False, 4, 1, 3)
    assert loader.memory_budget == loader.stats().memory_budget == 600 * 2**20
    assert torch.equal(next(loader)["data"], expected[3])
    assert loader.state_dict()["step"] == 4
    assert "role 4" in fl.dump(io.StringIO())
    loader.close()
    assert (loader.state_dict()["step"], loader.state_dict()["role"]) == (4, 4)


def test_the_same_budget_changes_nothing_and_another_one_the_budget_alone(small: Any) -> None:
    with fl.DataLoader.from_nnunet(small, threads=2, seed=5, memory_budget=2**30) as whole:
        expected = [next(whole)["data"].clone() for _ in range(4)]
    with fl.DataLoader.from_nnunet(small, threads=2, seed=5, memory_budget=2**30) as loader:
        next(loader)
        core = loader._core
        loader.limit_memory(2**30)
        assert loader._core is core  # with what it has made ahead, and its cache
        loader.limit_memory(2**29)
        assert loader._core is not core
        assert loader.memory_budget == loader.stats().memory_budget == 2**29
        for batch in expected[1:]:
            assert torch.equal(next(loader)["data"], batch)


def test_a_state_gives_seed_and_step_and_leaves_rank_and_role(small: Any) -> None:
    with fl.DataLoader.from_nnunet(small, threads=1, seed=5, rank=2, role=3) as loader:
        expected = [next(loader)["data"].clone() for _ in range(3)]
    with fl.DataLoader.from_nnunet(small, threads=1, seed=5) as loader:
        for _ in range(2):
            next(loader)
        state = loader.state_dict()
    for seed in (5, 6):  # with the seed of the state, and with another
        with fl.DataLoader.from_nnunet(small, threads=1, seed=seed, rank=2, role=3) as loader:
            loader.load_state_dict(state)
            assert (loader.seed, loader.rank, loader.role, loader.step) == (5, 2, 3, 2)
            assert torch.equal(next(loader)["data"], expected[2])


@pytest.mark.parametrize("state", [None, [], "1", {}, {"version": 3}, {"version": None}])
def test_what_is_no_state_is_refused(small: Any, state: Any) -> None:
    with (
        fl.DataLoader.from_nnunet(small, threads=1, seed=5) as loader,
        pytest.raises(ValueError, match=r"\[state\] expected version 2, got "),
    ):
        loader.load_state_dict(state)


def test_a_fingerprint_is_of_cases_patches_batch_size_and_dimensions(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")

    def fingerprint(**changes: Any) -> str:
        made = nnunet_loader(dataset, ComposeTransforms([]))
        for name, value in changes.items():
            setattr(made, name, value)
        with fl.DataLoader.from_nnunet(made, threads=1, seed=changes.get("seed", 1)) as loader:
            return loader.fingerprint

    cases = list(nnunet_loader(dataset, ComposeTransforms([])).indices)
    changes: list[dict[str, Any]] = [
        {}, {"indices": cases[1:]}, {"indices": cases[::-1]}, {"patch_size": (16, 16, 18)}, {"batch_size": 3},
        {"final_patch_size": (16, 16, 14)}, {"oversample_foreground_percent": 0.75},
        {"patch_size_was_2d": True, "patch_size": (1, 16, 16), "final_patch_size": (1, 16, 16)},
    ]  # fmt: skip
    found = [fingerprint(**change) for change in changes]
    assert len(set(found)) == len(changes)
    assert found[0] == fingerprint(seed=2)


def test_skipped_cases_of_a_state_are_those_of_the_loader_with_all_that_is_known(small: Any) -> None:
    name = small.indices[1]
    stamp = _core.stamp_of_case(blosc2_files(Path(small._data.source_folder), None, name))
    assert stamp
    known = BadCase(name, "file", "reason", 7, 1, 2, stamp)
    others = [BadCase("nobody", "f", "r", 1, 0, 0, "s"), BadCase(small.indices[2], "f", "r", 3, 0, 0, "another stamp")]
    unknown = BadCase(small.indices[3], "", "found bad before the training was continued", 5)
    said: list[str] = []
    with fl.DataLoader.from_nnunet(small, threads=1, seed=5, on_bad_case="skip", report=said.append, role=3) as loader:
        state = loader.state_dict()
        assert (state["excluded"], state["skipped"]) == ({}, {})
        for bad in (known, *others):
            state["excluded"][bad.name] = bad.step
            details = dataclasses.asdict(bad)
            state["skipped"][bad.name] = {name: details[name] for name in ("file", "reason", "slot", "attempt", "stamp")}
        state["excluded"][unknown.name] = unknown.step  # as older versions wrote it
        assert set(skipped_in(state)) == {known, *others, unknown}
        loader.load_state_dict(state)
        assert loader.bad_cases == [known]
        again = loader.state_dict()
        assert again["excluded"] == {name: 7}
        assert again["skipped"] == {name: state["skipped"][name]}
        loader.reopen(role=3, memory_budget=loader.memory_budget // 2)
        assert loader.bad_cases == [known]
    assert said == [
        "fastnnunet_loader, role 3: trying 2 skipped case(s) again, because their files may have changed since:\n"
        f"  {small.indices[2]}: [f] r\n  {unknown.name}: [] {unknown.reason}"
    ]


# What it says


def test_what_threads_do_in_words() -> None:
    def said(*activity: Any) -> list[str]:
        return describe_activity(SimpleNamespace(activity=lambda: activity)).splitlines()  # type: ignore[arg-type]

    threads = [(22, 9, 1, "", "sampling", 0.26, 0.5), (11, 8, 0, "brain", "Noise", 1.04, 2.26)]
    assert said(7, 5, 1, 2, 4, threads) == [
        "batch 7 is next; 1 ready, 2 being made, 4 in memory; 2 threads at work on 5 samples that were started",
        "  thread 11: batch 8, sample 0, case brain: Noise, for 1.0 s (2.3 s in this sample)",
        "  thread 22: batch 9, sample 1, no case yet: sampling, for 0.3 s (0.5 s in this sample)",
    ]
    first = "batch 0 is next; {} ready, 0 being made, 3 in memory; 0 threads at work on {} samples that were started"
    assert said(0, 2, 0, 0, 3, []) == [
        first.format(0, 2),
        "  no thread has taken up a sample: they work for another loader, or the machine has no time for them",
    ]
    assert said(0, 0, 0, 0, 3, []) == [
        first.format(0, 0),
        "  nothing can be started: every batch that the memory budget holds is still referred to by tensors",
    ]
    assert said(0, 0, 1, 0, 3, []) == [first.format(1, 0)]


def test_what_the_threads_do_is_told_to_a_file_or_to_standard_error(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with fl.DataLoader.from_nnunet(small, threads=2, seed=5, rank=1, role=3) as loader:
        for _ in range(2):
            next(loader)
        written = io.StringIO()
        text = loader.dump(written)
        assert written.getvalue() == f"{text}\n"
        assert text.startswith("loader of role 3, rank 1, seed 5: batch 2 is next; ")
        assert capsys.readouterr() == ("", "")
        for dumped in (loader.dump, fl.dump):
            text = dumped()
            assert text.startswith("loader of role 3, rank 1, seed 5: batch 2 is next; ")
            assert capsys.readouterr() == ("", f"{text}\n")
        with fl.DataLoader.from_nnunet(small, threads=2, seed=6):
            of_both = fl.dump(io.StringIO())
        assert sorted(line.partition(":")[0] for line in of_both.splitlines() if line.startswith("loader")) == [
            "loader of role 0, rank 0, seed 6", "loader of role 3, rank 1, seed 5"
        ]  # fmt: skip


def test_a_skipped_case_is_told_with_its_sample(source: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import shutil

    folder = tmp_path / "cases"
    shutil.copytree(source._data.source_folder, folder)
    source._data.source_folder = str(folder)
    name = source.indices[2]
    (folder / f"{name}.b2nd").write_bytes(b"")
    origin = Origin("Dataset001_A", "3d_fullres", 0, "nnUNetTrainer", "nnUNetPlans", ranks=2)
    common: dict[str, Any] = {"threads": 2, "seed": 1, "rank": 1, "role": "val", "patience": 0}
    with fl.DataLoader.from_nnunet(source, on_bad_case="skip", origin=origin, **common) as loader:
        while not loader.bad_cases:
            next(loader)
        (bad,) = loader.bad_cases
        said = loader.reproduction(bad)
    assert (bad.name, bad.file) == (name, str(folder / f"{name}.b2nd"))
    assert bad.reason and bad.stamp
    where = f"seed=1, step={bad.step}, slot={bad.slot}, role='val', rank=1, ranks=2"
    more = f", attempt={bad.attempt}" if bad.attempt else ""
    code, command = said.splitlines()
    assert code == f"import fastnnunet_loader as fl; fl.reproduce('Dataset001_A', '3d_fullres', 0, {where}{more})"
    assert command.startswith("fastnnunet preview Dataset001_A 3d_fullres 0 -o sample.png --reproduce seed=1,step=")
    assert f"skipping case {name}: [{bad.file}] {bad.reason} (found at step {bad.step})\n{said}" in caplog.text
    # The same sample, alone, meets the same file, and its error has both lines.
    with fl.DataLoader.from_nnunet(source, origin=origin, **common) as loader:
        with pytest.raises(fl.BadCaseError) as met:
            loader.sample(bad.step, bad.slot, bad.attempt)
        assert (met.value.case, met.value.file) == (name, bad.file)
        assert met.value.sample == loader.sample_id(bad.step, bad.slot, bad.attempt)
        assert met.value.reproduce == code
        assert str(met.value).splitlines()[-2:] == [f"  {code}", f"  {command}"]
        with pytest.raises(fl.BadCaseError) as in_batch:
            for _ in range(60):
                next(loader)
        assert f"step={in_batch.value.step}, slot={in_batch.value.slot}, " in in_batch.value.reproduce


def test_a_budget_that_nobody_gave_is_exceeded_with_a_word(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "default_budget", lambda: 2 * 2**20)
    said: list[str] = []
    with fl.DataLoader.from_nnunet(source, threads=3, seed=1, report=said.append) as loader:
        taken = loader.memory_budget
        assert loader.stats().memory_budget == taken > 2**20
        next(loader)
    (text,) = said
    assert "the working memory of 3 threads need at least " in text
    assert f"at least {in_units(taken)}, more than this loader's share of the free memory (1.0 MiB)" in text
    with pytest.raises(fl.MemoryBudgetError):
        fl.DataLoader.from_nnunet(source, threads=3, seed=1, budget_binds=True)
    with pytest.raises(fl.MemoryBudgetError):
        fl.DataLoader.from_nnunet(source, threads=3, seed=1, memory_budget=2**20)


@pytest.mark.parametrize(("abort_after", "first"), [(None, 5.0), (3.0, 3.0), (9.0, 5.0)])
def test_when_a_late_batch_is_looked_at(abort_after: float | None, first: float) -> None:
    said: list[str] = []
    stalls = Stalls(5.0, abort_after, said.append)
    assert stalls.first_look == first
    if abort_after == 3.0:
        with pytest.raises(fl.StallError, match=r"^\[loader\] expected a batch within 3 s, got none\. doing$"):
            stalls.of_batch(3.0, "doing")
        with pytest.raises(fl.StallError, match=r"^\[loader\] expected the first cases and the first sample within 3 s"):
            stalls.of_first_cases(3.0, ())
        return
    assert stalls.of_batch(5.0, "doing") == abort_after  # when it is looked at again
    assert stalls.of_first_cases(5.0, ()) == abort_after
    assert stalls.of_first_cases(5.0, ["Own: why", "Other: why"]) == abort_after
    assert said[:2] == [
        "fastnnunet_loader: a batch has taken more than 5 s. doing",
        "fastnnunet_loader: opening the files of the first cases has taken more than 5 s.",
    ]
    assert said[2].startswith(
        "fastnnunet_loader: opening the first cases, and the first sample, have taken more than 5 s. "
        "Its transforms in Python: Own: why, Other: why"
    )
    if abort_after is not None:
        with pytest.raises(fl.StallError):
            stalls.of_batch(9.0, "doing")


# Properties of cases


def voxels(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, 4)


def test_classes_are_read_with_what_they_are() -> None:
    locations = {1: voxels((0, 1, 2, 3)), (1, 2): voxels(), (2,): [[0, 4, 5, 6]], (0, 1, 2): voxels((0, 7, 8, 9))}
    found = class_locations(Path("case.pkl"), {"class_locations": locations}, (0, 1, 2))
    regions = [([1, 2], True, False), ([2], True, False), ([0, 1, 2], True, True)]
    assert [one[:3] for one in found] == [([1], False, False), *regions]
    assert [one[3].tolist() for one in found] == [[[0, 1, 2, 3]], [], [[0, 4, 5, 6]], [[0, 7, 8, 9]]]
    # One label alone is no region, whatever the data set's key of all that is annotated is.
    assert class_locations(Path("case.pkl"), {"class_locations": {1: voxels()}}, (1,))[0][:3] == ([1], False, False)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({}, "expected 'class_locations' in the properties, got []"),
        ({"spacing": 1, 3: 2}, "expected 'class_locations' in the properties, got ['3', 'spacing']"),
        ({"class_locations": [1]}, "expected 'class_locations' in the properties, got ['class_locations']"),
        ({"class_locations": {1: np.zeros((3, 3))}}, "expected voxels of class 1 as (N, 4), got (3, 3)"),
        ({"class_locations": {1: np.zeros(4)}}, "expected voxels of class 1 as (N, 4), got (4,)"),
        ({"class_locations": {1: voxels(), "x": voxels()}}, "expected voxels of labels, got class 'x': "),
        ({"class_locations": {2: ["a"]}}, "expected voxels of labels, got class 2: "),
    ],
)
def test_classes_that_nnunet_does_not_write_are_named(properties: dict[Any, Any], said: str) -> None:
    with pytest.raises(StorageError) as raised:
        class_locations(Path("folder/case.pkl"), properties, ())
    assert raised.value.file == str(Path("folder/case.pkl"))
    assert raised.value.reason.startswith(said)
    assert str(raised.value) == f"[{Path('folder/case.pkl')}] {raised.value.reason}"


@pytest.mark.parametrize("configuration", ["2d", "3d_cascade_fullres"])
def test_a_patch_is_what_nnunet_crops(nnunet_dataset: Any, monkeypatch: Any, configuration: str) -> None:
    from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd

    variant = "cascade" if "cascade" in configuration else "default"
    source, _ = nnunet_loaders(nnunet_dataset(variant), monkeypatch, configuration)
    with fl.DataLoader.from_nnunet(source, threads=1, seed=3) as loader:
        shape = tuple(source.final_patch_size[1:] if configuration == "2d" else source.final_patch_size)
        size = f"batches of {source.batch_size} x {tuple(int(n) for n in shape)}, 1 threads, seed 3, rank 0, memory budget "
        assert loader.describe().startswith(
            f"{len(source.indices)} cases, {size}{in_units(loader.memory_budget)}, ordinary memory"
        )
        for step in range(3):
            patch = loader.patch(step, 1)
            name, forced, window = loader.sampled(step, 1)
            assert (patch.case, patch.forced_foreground, patch.window) == (name, forced, window)
            assert loader.sample(step, 1)["key"] == name
            data, seg, previous, _ = source._data.load_case(name)
            box = [list(of) for of in window]
            labels = crop_and_pad_nd(seg, box, -1, cast_cropped_to=np.int16)
            if previous is not None:
                before = crop_and_pad_nd(previous, box, -1, cast_cropped_to=np.int16)
                labels = np.concatenate([labels, before[None]])
            image = crop_and_pad_nd(data, box, 0)
            if configuration == "2d":
                image, labels = image[:, 0], labels[:, 0]
            assert (patch.image.dtype, patch.segmentation.dtype) == (np.float32, np.int16)
            np.testing.assert_array_equal(patch.image, image)
            np.testing.assert_array_equal(patch.segmentation, labels)


@pytest.mark.parametrize("kind", ["ordinary", "torch"])
def test_targets_of_every_type_keep_it_wherever_batches_are(
    nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(core_loader, "memory_kind", lambda _: kind)
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool,
    ):  # fmt: skip
        source = nnunet_loader(nnunet_dataset("default"), ComposeTransforms([Own(of_labels(lambda t, d=dtype: (t > 0).to(d)))]))
        with fl.DataLoader.from_nnunet(source, threads=1, seed=1, prefetch=1) as loader:
            target = next(loader)["target"]
            sample = loader.sample(0, 1)["target"]
        assert target.dtype is sample.dtype is dtype
        assert set(target.double().unique().tolist()) <= {0.0, 1.0}, dtype
        assert torch.equal(target[1], sample), dtype
        assert target.any()
