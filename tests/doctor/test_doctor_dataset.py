"""Plans, labels, splits and memory of a data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from damaging import bad, checks_of

import fastnnunet_loader as fl
from fastnnunet_loader.doctor import Verdict, exit_code
from fastnnunet_loader.doctor.dataset import DatasetChecks
from fastnnunet_loader.doctor.plans import loader_memory


@pytest.fixture
def here(nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of the default data set, and the environment that names it."""
    copy = nnunet_dataset("default").copy(tmp_path / "copy")
    for name, value in copy.env.items():
        monkeypatch.setenv(name, value)
    return copy


def change(dataset: Any, file: str, changing: Callable[[Any], Any]) -> Path:
    path: Path = dataset.preprocessed / dataset.name / file
    content = json.loads(path.read_text(encoding="utf-8"))
    replaced = changing(content)
    path.write_text(json.dumps(content if replaced is None else replaced), encoding="utf-8")
    return path


def test_unknown_data_set_is_told_with_those_that_exist(here: Any) -> None:
    checks = DatasetChecks("999")
    found = checks.find()
    assert found.verdict is Verdict.FAIL
    assert "'999'" in found.found
    assert here.name in found.found
    assert not list(checks.tasks())


def test_data_set_by_number(here: Any) -> None:
    assert str(here.preprocessed / here.name) in DatasetChecks(str(here.id)).find().found


def test_unset_folder_is_named(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_preprocessed")
    assert "export nnUNet_preprocessed=" in DatasetChecks(here.name).find().found


def test_unknown_plans_and_configuration(here: Any) -> None:
    check = bad(checks_of(here, plans_name="Other"))["plans"]
    assert check.mend == "-p nnUNetPlans"
    check = bad(checks_of(here, "3d_huge"))["plans"]
    assert "'3d_huge'" in check.found
    assert "3d_fullres" in check.found


def test_plans_that_are_cut_off(here: Any) -> None:
    file = here.preprocessed / here.name / "nnUNetPlans.json"
    file.write_text(file.read_text(encoding="utf-8")[:1000], encoding="utf-8")
    check = bad(checks_of(here))["plans"]
    assert check.verdict is Verdict.FAIL
    assert str(file) in check.found


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("patch_size", [32], "patch_size"),
        ("spacing", [4.0, 4.0], "spacing of 3 numbers"),
        ("batch_size", 0, "batch_size"),
        ("inherits_from", "3d_fullres", "3d_fullres -> 3d_fullres"),
        ("inherits_from", "nowhere", "'nowhere'"),
    ],
)
def test_faulty_configuration_is_named(here: Any, key: str, value: Any, said: str) -> None:
    change(here, "nnUNetPlans.json", lambda plans: plans["configurations"]["3d_fullres"].update({key: value}))
    (line,) = bad(checks_of(here))["plans"].details
    assert line.startswith("3d_fullres: ")
    assert said in line


def test_configuration_that_is_not_preprocessed(here: Any) -> None:
    for file in here.folder("2d").iterdir():
        file.unlink()
    every = {check.name: check for check in checks_of(here, None)}
    assert every["preprocessed cases"].verdict is Verdict.NOTE
    asked = bad(checks_of(here, "2d"))["preprocessed cases"]
    assert asked.verdict is Verdict.FAIL
    assert asked.mend == f"nnUNetv2_preprocess -d {here.id} -plans_name nnUNetPlans -c 2d"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": {"grey": 1, "white": 2}}, "'background'"),
        ({"labels": {"background": 0, "grey": 1, "white": 3}}, "[0, 1, 3]"),
        ({"labels": {"background": 0, "grey": 1, "white": 2, "ignore": 5}}, "'ignore'"),
        ({"labels": {"background": 0, "brain": [1, 2], "white": 2}}, "regions_class_order"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "expected 1 channels"),
    ],
)
def test_faulty_description_is_named(here: Any, changes: dict[str, Any], said: str) -> None:
    change(here, "dataset.json", lambda description: description.update(changes))
    (line,) = bad(checks_of(here))["dataset.json"].details
    assert said in line


def test_a_description_with_too_few_channels_is_named(nnunet_dataset: Any, tmp_path: Path, monkeypatch: Any) -> None:
    copy = nnunet_dataset("two_channels").copy(tmp_path / "copy")
    monkeypatch.setenv("nnUNet_preprocessed", copy.env["nnUNet_preprocessed"])
    change(copy, "dataset.json", lambda description: description.update(channel_names={"0": "T1"}))
    checks = DatasetChecks(copy.name, configuration="3d_fullres")
    for step in (checks.find, checks.read_plans):
        step()
    assert checks.read_description().details == ("3d_fullres: expected 2 channels, as the plans normalize, got 1: T1",)


def test_description_without_labels(here: Any) -> None:
    change(here, "dataset.json", lambda description: {"channel_names": {}})
    check = bad(checks_of(here))["dataset.json"]
    assert "'labels'" in check.found


def test_case_of_the_splits_that_is_not_on_disk(here: Any) -> None:
    change(here, "splits_final.json", lambda splits: splits[1]["train"].append("brain_777"))
    checks = checks_of(here)
    check = bad(checks)["splits"]
    assert check.verdict is Verdict.FAIL
    assert check.details == ("3d_fullres: case brain_777 is in the splits, but not on disk",)
    assert exit_code(checks) == 2


def test_doubtful_splits_warn(here: Any) -> None:
    case = here.cases()[0]

    def doubtful(splits: Any) -> None:
        for fold in splits:
            fold["val"] = [name for name in fold["val"] if name != case] or fold["train"][-1:]
            fold["train"] = [name for name in fold["train"] if name != case]

    change(here, "splits_final.json", doubtful)
    check = bad(checks_of(here))["splits"]
    assert check.verdict is Verdict.WARNING
    assert any("in no fold" in line and case in line for line in check.details)
    assert any("for training and for validation" in line for line in check.details)


def test_fold_without_validation(here: Any) -> None:
    change(here, "splits_final.json", lambda splits: splits[3].update(val=[]))
    assert "fold 3: no case for validation" in bad(checks_of(here))["splits"].details


def test_no_splits_and_too_few_cases_for_them(here: Any) -> None:
    (here.preprocessed / here.name / "splits_final.json").unlink()
    assert not bad(checks_of(here))
    for name in here.cases()[:2]:
        for file in here.folder().glob(f"{name}*"):
            file.unlink()
    assert bad(checks_of(here))["splits"].details == ("3d_fullres: 4 cases",)


def test_plan_that_asks_for_more_memory_than_there_is(here: Any) -> None:
    change(here, "nnUNetPlans.json", lambda plans: plans["configurations"]["3d_fullres"].update(patch_size=[4096] * 3))
    check = bad(checks_of(here))["memory, 3d_fullres"]
    assert check.verdict is Verdict.FAIL
    assert "TiB" in check.found


@pytest.mark.parametrize(("variant", "threads"), [("default", 24), ("anisotropic", 24), ("regions", 24), ("two_channels", 24)])
def test_estimate_of_memory_is_near_what_the_loader_asks_for(nnunet_dataset: Any, variant: str, threads: int) -> None:
    from fastnnunet_loader.nnunet.sources import open_source

    dataset = nnunet_dataset(variant)
    checks = DatasetChecks(dataset.name, configuration="3d_fullres")
    for step in (checks.find, checks.read_plans, checks.read_description):
        step()
    estimate = loader_memory(checks.configurations[0], checks.regions, threads)
    with pytest.raises(fl.MemoryBudgetError, match="expected at least") as refused:
        fl.DataLoader.from_nnunet(
            open_source(dataset.name, "3d_fullres", 0).train, threads=threads, seed=0, memory_budget=1, pin_memory=False
        )
    needed = int(str(refused.value).split("at least ")[1].split(" MiB")[0]) * 2**20
    # Open files are a known part of both, and the most of it for patches as small as these.
    files = threads * fl._core.open_files_memory
    assert estimate - files == pytest.approx(needed - files, rel=0.35)


def test_cascade_without_and_with_predictions(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("cascade")

    def check() -> Any:
        return next(c for c in checks_of(dataset, "3d_cascade_fullres") if c.name.startswith("cascade"))

    assert check().verdict is Verdict.NOTE
    folder = dataset.add_previous_stage()
    assert check().verdict is Verdict.OK
    (folder / f"{dataset.cases()[0]}.b2nd").unlink()
    assert check().verdict is Verdict.WARNING
    assert dataset.cases()[0] in check().details[0]


def test_data_set_is_left_as_it_was(here: Any) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in here.preprocessed.parent.rglob("*") if p.is_file()}

    before = state()
    checks_of(here, None)
    assert state() == before


def test_a_loader_that_fits_with_fewer_threads_is_told_how_many(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnnunet_loader.doctor import dataset

    checks = DatasetChecks(here.name, configuration="3d_fullres")
    for step in (checks.find, checks.read_plans, checks.read_description):
        step()
    (configuration,) = checks.configurations
    monkeypatch.setattr(dataset, "default_threads", lambda: 6)
    for threads, verdict, mend in (
        (6, Verdict.OK, ""),
        (5, Verdict.WARNING, "fastnnunet train ... --threads 5"),
        (2, Verdict.WARNING, "fastnnunet train ... --threads 2"),
        (0, Verdict.WARNING, "docker run --memory=...    (more memory)"),
    ):
        # One budget for two loaders.
        needed = loader_memory(configuration, checks.regions, threads)
        monkeypatch.setattr(dataset, "default_budget", lambda needed=needed: 2 * needed + 2)
        check = checks.memory(configuration)
        assert (check.verdict, check.mend) == (verdict, mend), threads
        assert "with 6 threads" in check.found


def test_predictions_of_other_plans_are_not_those_of_the_stage_before(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("cascade")
    checks = DatasetChecks(dataset.name, configuration="3d_cascade_fullres")
    checks.find()
    checks.read_plans()
    (configuration,) = checks.configurations
    folder = dataset.add_previous_stage("SomeTrainer")
    found = checks.previous_stage(configuration)
    assert found.verdict is Verdict.OK
    assert str(folder) in found.found
    model = folder.parents[1]
    for name in ("SomeTrainer__OtherPlans__3d_lowres", "SomeTrainer__nnUNetPlans__3d_fullres"):
        model = model.rename(model.with_name(name))
        found = checks.previous_stage(configuration)
        assert (found.verdict, found.found) == (Verdict.NOTE, "no predictions of 3d_lowres yet")
        assert found.mend == f"fastnnunet train {dataset.name} 3d_lowres FOLD    (all folds)"


def test_many_cases_that_no_fold_uses_are_cut_short(here: Any) -> None:
    def one_fold(splits: Any) -> Any:
        return [{"train": splits[0]["val"], "val": splits[0]["val"][:1]}]

    change(here, "splits_final.json", one_fold)
    for number in range(12):
        (here.folder() / f"unused_{number:02d}.b2nd").touch()
    checks = DatasetChecks(here.name, configuration="3d_fullres")
    for step in (checks.find, checks.read_plans):
        step()
    check = checks.read_splits()
    assert check.verdict is Verdict.WARNING
    assert check.found.startswith("1 folds of ")
    (unused,) = (line for line in check.details if "in no fold" in line)
    assert unused.endswith(" ...")
    assert unused.count(",") == 10  # after "on disk", and between ten names
    assert any(line.startswith("fold 0: for training and for validation: ") for line in check.details)


def test_all_configurations_are_checked_and_shared_files_once(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("cascade")
    checks = DatasetChecks(dataset.name)
    checks.find()
    names = []
    for name, work in checks.tasks():
        names.append(name)
        if name in ("plans", "dataset.json"):
            work()
    # 3d_cascade_fullres has the cases of 3d_fullres.
    assert [name for name in names if name.startswith("files, ")] == ["files, 3d_cascade_fullres", "files, 3d_lowres"]
    assert [name for name in names if name.startswith("memory, ")] == [
        f"memory, {c}" for c in ("3d_cascade_fullres", "3d_fullres", "3d_lowres")
    ]
    assert [name for name in names if name.startswith("cascade, ")] == ["cascade, 3d_cascade_fullres"]
    assert names.count("GPU memory") == names.count("splits") == 1


def test_cases_that_configurations_share_are_preprocessed_by_the_one_that_has_them(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("cascade")
    checks = DatasetChecks(dataset.name, quick=True)
    for step in (checks.find, checks.read_plans, checks.read_description):
        step()
    checks.labels = frozenset({0})  # so that the others are bad
    shared = [c for c in checks.configurations if c.name in ("3d_cascade_fullres", "3d_fullres")]
    for order in (shared, shared[::-1]):
        (check,) = (check for check in checks.files(order) if check.name.startswith("voxels, "))
        assert check.name == f"voxels, {order[0].name}, {order[1].name}"
        assert f"nnUNetv2_preprocess -d {dataset.id} -plans_name nnUNetPlans -c 3d_fullres " in check.mend


@pytest.mark.parametrize(
    ("planner", "memories", "verdict"),
    [
        ("nnUNetPlannerResEncL", (24, 24), Verdict.OK),
        ("nnUNetPlannerResEncL", (22, 48), Verdict.OK),  # of 24, as such GPUs have it
        ("nnUNetPlannerResEncL", (48, 16), Verdict.WARNING),
        ("nnUNetPlannerResEncL", (16, 48), Verdict.WARNING),
        ("ExperimentPlanner", (16, 48), Verdict.OK),
        ("MyPlanner", (1, 2), Verdict.OK),
    ],
)
def test_the_smallest_gpu_is_what_a_plan_has_to_fit(
    monkeypatch: pytest.MonkeyPatch, planner: str, memories: tuple[int, ...], verdict: Verdict
) -> None:
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: len(memories))
    monkeypatch.setattr(cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=memories[index] * 2**30))
    checks = DatasetChecks("1", plans={"experiment_planner_used": planner}, folder=Path("Dataset001_x"))
    check = checks.gpu_memory()
    assert check.verdict is verdict
    assert check.found.endswith(f"; the smallest GPU has {min(memories)}.0 GiB")
    if verdict is Verdict.WARNING:
        assert check.mend == f"nnUNetv2_plan_and_preprocess -d 1 -gpu_memory_target {min(memories)}"
