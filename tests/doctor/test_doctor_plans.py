"""Plans and labels by themselves: what is inherited, what is faulty, and what a loader of them needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.doctor.dataset import PLANNERS, DatasetChecks
from fastnnunet_loader.doctor.labels import label_faults, label_values
from fastnnunet_loader.doctor.plans import Configuration, fault, has_configurations, loader_memory, resolved

GOOD: dict[str, Any] = {
    "data_identifier": "x",
    "batch_size": 2,
    "patch_size": [8, 8, 8],
    "spacing": [1.0, 1.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"],
}


def test_settings_are_inherited_over_several_configurations() -> None:
    configurations = {
        "base": {"a": 1, "b": 1, "c": 1},
        "middle": {"inherits_from": "base", "b": 2, "c": 2},
        "top": {"inherits_from": "middle", "c": 3},
    }
    found = {name: value for name, value in resolved(configurations, "top").items() if name != "inherits_from"}
    assert found == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(ValueError, match="top -> middle -> base -> top"):
        resolved({**configurations, "base": {"inherits_from": "top"}}, "top")
    for nothing in ({}, {"base": "text"}):
        with pytest.raises(ValueError, match="'base' to inherit from, got none"):
            resolved({"top": {"inherits_from": "base"}, **nothing}, "top")


@pytest.mark.parametrize("name", list(GOOD))
def test_a_setting_that_is_missing_is_named(name: str) -> None:
    assert fault(GOOD) == ""
    assert fault({key: value for key, value in GOOD.items() if key != name}) == f"expected {name}, got none"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("patch_size", [8], "patch_size of 2 or 3"),
        ("patch_size", [8] * 4, "patch_size of 2 or 3"),
        ("patch_size", [8, 8, 0], "patch_size of 2 or 3"),
        ("patch_size", [8, 8, 8.5], "patch_size of 2 or 3"),
        ("patch_size", 8, "patch_size of 2 or 3"),
        ("patch_size", [8, 8], "a spacing of 2 numbers"),
        ("spacing", [1.0, 1.0], "a spacing of 3 numbers"),
        ("spacing", None, "a spacing of 3 numbers"),
        ("batch_size", 0, "batch_size from 1 on, got 0"),
        ("batch_size", 1.5, "batch_size from 1 on, got 1.5"),
        ("normalization_schemes", [], "a scheme for each channel"),
        ("normalization_schemes", "Z", "a scheme for each channel"),
    ],
)
def test_settings_that_are_wrong_are_named(name: str, value: Any, said: str) -> None:
    assert said in fault({**GOOD, name: value})


def test_settings_at_the_edge_are_good() -> None:
    assert fault({**GOOD, "batch_size": 1, "patch_size": [1, 1], "spacing": [1.0, 1.0]}) == ""


@pytest.mark.parametrize(
    ("labels", "order", "said"),
    [
        ({"background": 0, "a": 1, "b": 2}, None, []),
        ({"background": 0, "a": 1, "ignore": 2}, None, []),
        ({"background": 0, "a": [1, 2], "b": [2], "ignore": 3}, [1, 2], []),
        ({"background": 0, "a": [1], "b": [2]}, None, []),  # of one label each: no regions
        ({"background": "0", "a": "1"}, None, []),
        ({"a": 1}, None, ["'background' with value 0, got None"]),
        ({"background": 1, "a": 0}, None, ["'background' with value 0, got 1"]),
        ({"background": [0], "a": 1}, None, ["'background' with value 0"]),
        ({"background": 0, "a": 2}, None, ["0 to 1, got [0, 2]"]),
        ({"background": 0, "a": 1, "ignore": 1}, None, ["largest other, 2, got 1"]),
        ({"background": 0, "a": 1, "ignore": 3}, None, ["largest other, 2, got 3"]),
        ({"background": 0, "a": 1, "ignore": [2]}, None, ["largest other, 2, got [2]"]),
        ({"background": 0, "a": [1, 2], "b": 2}, None, ["each of 2 regions, got None"]),
        ({"background": 0, "a": [1, 2], "b": 2}, [1], ["each of 2 regions, got [1]"]),
        ({"background": 0, "a": [1, 2], "ignore": 3}, [1, 2], ["each of 1 regions"]),
        ({"background": 0, "a": [1, 5], "b": 5}, [1, 2], []),  # regions may have gaps
        ({"background": 0, "a": 2, "ignore": 9}, None, ["largest other, 3, got 9", "without a gap"]),
    ],
)
def test_labels_that_nnunet_refuses(labels: dict[str, Any], order: Any, said: list[str]) -> None:
    found = label_faults(labels, order)
    assert len(found) == len(said), found
    assert all(part in line for part, line in zip(said, found, strict=True)), found


def test_values_of_labels_are_those_of_regions_and_of_what_is_ignored() -> None:
    assert label_values({"background": 0, "a": [1, 5], "b": "2", "ignore": 6}) == {0, 1, 2, 5, 6}


def memory_of(threads: int = 4, regions: int = 0, **settings: Any) -> int:
    return loader_memory(Configuration("x", Path(), {**GOOD, **settings}), regions, threads)


def test_memory_grows_with_each_part_of_what_is_held() -> None:
    plain = memory_of()
    files = fl._core.open_files_memory
    voxels = 8**3
    per_thread = memory_of(threads=5) - plain
    assert files < per_thread < files + 40 * voxels
    assert memory_of(threads=7) - plain == pytest.approx(3 * per_thread, abs=3)
    # Two batches of float32 images; targets of int16, or of a byte for each region, at several scales.
    assert memory_of(normalization_schemes=["Z"] * 3) - plain == pytest.approx(2 * 2 * voxels * 4 * 2, abs=2)
    assert memory_of(batch_size=4) - plain == pytest.approx(2 * 2 * voxels * (4 + 2 * 8 / 7), abs=2)
    assert memory_of(regions=5) - plain == pytest.approx(2 * 2 * voxels * 3 * 8 / 7, abs=2)
    flat = {"patch_size": [32, 16], "spacing": [1.0, 1.0]}
    assert memory_of(regions=5, **flat) - memory_of(**flat) == pytest.approx(2 * 2 * 512 * 3 * 4 / 3, abs=2)
    # A patch that is turned in all directions needs a larger window than one that is turned in its plane.
    assert memory_of(patch_size=[16, 48, 48]) > memory_of(patch_size=[15, 48, 50]) > memory_of(patch_size=[4, 48, 50])


def test_plans_are_known_by_their_configurations(tmp_path: Path) -> None:
    for text, found in (('{"configurations": {}}', True), ("{}", False), ("no JSON", False), ("3", False)):
        (tmp_path / "plans.json").write_text(text, encoding="utf-8")
        assert has_configurations(tmp_path / "plans.json") == found, text
    assert not has_configurations(tmp_path / "none.json")


@pytest.mark.parametrize("planner", [*PLANNERS, "MyPlanner", None])
def test_memory_that_the_planner_aimed_at(planner: str | None) -> None:
    plans = {} if planner is None else {"experiment_planner_used": planner}
    found = DatasetChecks("1", plans=plans).gpu_memory().found
    target = PLANNERS.get(planner or "")
    assert found.startswith(f"planned by {planner or 'unknown'}" + (f" for about {target} GiB; " if target else "; "))
